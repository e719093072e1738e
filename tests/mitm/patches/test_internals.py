"""Where mitmproxy's insides are other than expected, the hooks lane takes over."""

import logging

import pytest
import websockets
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.net.http.http1 import read
from mitmproxy.proxy.layers import http, websocket
from mitmproxy.proxy.layers.http._http1 import Http1Connection
from mitmproxy.proxy.server import ConnectionHandler

from support.servers import serving
from wirewright import Error, launch
from wirewright.mitm.patches.internals import missing_internal


def test_nothing_is_missing_here() -> None:
    assert missing_internal() is None


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def inject(self: Proxyserver, event: object, more: object) -> None: ...

    monkeypatch.setattr(Proxyserver, "inject_event", inject)
    assert missing_internal() == "mitmproxy.addons.proxyserver.Proxyserver.inject_event(event)"


@pytest.mark.parametrize(
    ("owner", "attribute", "named"),
    [
        (websocket, "WebsocketLayer", "mitmproxy.proxy.layers.websocket.WebsocketLayer(context, flow)"),
        (http, "websocket", "mitmproxy.proxy.layers.http's use of that class"),
        (http, "HttpLayer", "mitmproxy.proxy.layers.http.HttpLayer.connections"),
        (Http1Connection, "make_pipe", "mitmproxy.proxy.layers.http._http1.Http1Connection.make_pipe()"),
        (
            ConnectionHandler,
            "handle_connection",
            "mitmproxy.proxy.server.ConnectionHandler.handle_connection(connection)",
        ),
        (ConnectionHandler, "drain_writers", "mitmproxy.proxy.server.ConnectionHandler.drain_writers()"),
        (AddonManager, "trigger_event", "mitmproxy.addonmanager.AddonManager.trigger_event(event)"),
        (read, "_read_request_line", "mitmproxy.net.http.http1.read._read_request_line(line)"),
    ],
)
def test_what_is_gone_is_named(
    owner: object, attribute: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(owner, attribute)
    assert missing_internal() == named


async def test_hooks_lane_takes_over_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, confdir: object
) -> None:
    monkeypatch.delattr(http.HttpLayer, "__annotations__")
    async with launch(port=0, confdir=str(confdir)) as proxy, serving() as url:
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings == [
            "Wirewright carries WebSockets by mitmproxy's own layer (ws_lane=hooks): this mitmproxy has no "
            "mitmproxy.proxy.layers.http.HttpLayer.connections"
        ]
        async with proxy.expect_websocket() as opened:
            client = await websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")
        ws = await opened.value
        async with ws.expect_event("framereceived") as frame:
            await client.send("hello")
        assert await frame.value == "hello"
        with pytest.raises(Error, match="cannot close a socket from outside"):
            ws.close()
        await client.close()
