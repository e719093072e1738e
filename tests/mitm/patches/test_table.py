"""Where mitmproxy's internals are other than expected, the hooks lane takes over."""

import inspect
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from mitmproxy.addonmanager import AddonManager
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.hooks import UpdateHook
from mitmproxy.http import Response
from mitmproxy.net.http.http1 import read
from mitmproxy.proxy.layers import http, websocket
from mitmproxy.proxy.layers.http._http1 import Http1Connection
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.test import taddons

from support.servers import serving
from wirewright import Error, Proxy, launch
from wirewright.mitm.addon import WirewrightAddon
from wirewright.mitm.layers.hold_mode import HoldMode
from wirewright.mitm.layers.open_socket import OpenSocket
from wirewright.mitm.layers.pass_mode import PassMode
from wirewright.mitm.layers.wire_layer import WireLayer
from wirewright.mitm.patches import installation
from wirewright.mitm.patches.installation import missing_internal
from wirewright.mitm.patches.table import SPLICE_TABLE, TABLE, Internal
from wirewright.mitm.splice import takeover
from wirewright.mitm.wire_socket import WireSocket
from wirewright.state import control

CHANGES = [row for row in TABLE if row.replace is not None]
CALLED = [row for row in TABLE if row.takes is not None]
LANE = "Wirewright carries WebSockets by mitmproxy's own layer (ws_lane=hooks): "
LAYERS = "Wirewright carries WebSockets through mitmproxy's layers (ws_splice=false): this mitmproxy has no "


def stock_objects() -> list[object]:
    """mitmproxy's objects in the places of all changes."""
    return [getattr(*installation._owner(row)) for row in CHANGES]


@pytest.fixture(autouse=True)
def taken_back() -> Iterator[None]:
    before = stock_objects()
    yield
    assert stock_objects() == before
    assert not installation.is_installed()


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def with_parameter(stock: Callable[..., object], name: str, **default: Any) -> Callable[..., object]:
    """The same function with one more parameter."""

    def function(*args: Any, **named: Any) -> object:
        named.pop(name, None)
        return stock(*args, **named)

    signature = inspect.signature(stock)
    more = inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, **default)
    parameters = [*signature.parameters.values(), more]
    parameters.sort(key=lambda each: each.default is not inspect.Parameter.empty)
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def change(row: Internal, monkeypatch: pytest.MonkeyPatch, **default: Any) -> None:
    """Give what a row names one more parameter, with or without a default."""
    owner, name = installation._owner(row)
    monkeypatch.setattr(owner, name, with_parameter(getattr(owner, name), "more", **default))


async def echo_through(proxy: Proxy) -> None:
    """A message passes to a server and back, and is reported."""
    async with serving() as url, proxy.expect_websocket() as opened:
        client = await websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")
        ws = await opened.value
        async with ws.expect_event("framereceived") as frame:
            await client.send("hello")
        assert await frame.value == "hello"
        await client.close()


# The table


def test_nothing_is_missing_here() -> None:
    assert missing_internal() is None
    assert missing_internal(SPLICE_TABLE) is None


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def inject(self: Proxyserver, event: object, more: object) -> None: ...

    monkeypatch.setattr(Proxyserver, "inject_event", inject)
    assert missing_internal() == "mitmproxy.addons.proxyserver.Proxyserver.inject_event(event)"


@pytest.mark.parametrize("row", [row for row in SPLICE_TABLE if row.takes is not None], ids=str)
async def test_layers_carry_open_sockets_where_splicing_misses_something(
    row: Internal, confdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(row, monkeypatch)
    async with launch(port=0, confdir=confdir) as proxy:
        assert warnings_of(caplog) == [LAYERS + str(row)]
        await echo_through(proxy)


async def test_layers_carry_open_sockets_where_a_module_is_gone(
    confdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, takeover.__name__, None)
    monkeypatch.delattr("wirewright.mitm.splice.takeover")
    async with launch(port=0, confdir=confdir) as proxy:
        (warning,) = warnings_of(caplog)
        assert warning.startswith(LAYERS)
        await echo_through(proxy)


@pytest.mark.parametrize(
    ("owner", "attribute", "named"),
    [
        (websocket, "WebsocketLayer", "mitmproxy.proxy.layers.websocket.WebsocketLayer(context, flow)"),
        (http, "websocket", "mitmproxy.proxy.layers.http.websocket.WebsocketLayer(context, flow)"),
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
    with monkeypatch.context() as patch:
        patch.delattr(owner, attribute)
        assert missing_internal() == named


@pytest.mark.parametrize("row", CALLED, ids=str)
def test_new_parameter_is_accepted_if_it_has_a_default(row: Internal) -> None:
    with pytest.MonkeyPatch.context() as patch:
        change(row, patch, default=None)
        assert missing_internal() is None
    with pytest.MonkeyPatch.context() as patch:
        change(row, patch)
        missing = missing_internal()
        assert missing is not None
        assert missing.split(".")[-1] == str(row).split(".")[-1]  # the first of two rows for one class


def test_parameters_in_another_order_are_not_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_layer(flow: object, context: object) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(websocket, "WebsocketLayer", make_layer)
        assert missing_internal() == "mitmproxy.proxy.layers.websocket.WebsocketLayer(context, flow)"


def test_keyword_only_parameter_is_not_accepted_for_one_that_takes_a_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read_line(*, line: bytes) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(read, "_read_request_line", read_line)
        assert missing_internal() == "mitmproxy.net.http.http1.read._read_request_line(line)"


def test_install_and_uninstall_may_be_repeated() -> None:
    before = stock_objects()
    for _ in range(2):
        installation.install()
        assert installation.is_installed()
        assert all(new is not old for new, old in zip(stock_objects(), before, strict=True))
    for _ in range(2):
        installation.uninstall()
        assert stock_objects() == before


def test_change_that_cannot_be_made_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(AddonManager, "trigger_event")
        with pytest.raises(AttributeError):
            installation.install()
        installation.uninstall()


# At load


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


async def test_new_required_parameter_sends_sockets_to_the_hooks_lane(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, confdir: object
) -> None:
    with monkeypatch.context() as patch:
        change(next(row for row in CHANGES if "make_pipe" in row.target), patch)
        before = stock_objects()
        async with launch(port=0, confdir=str(confdir)) as proxy:
            assert warnings_of(caplog) == [
                f"{LANE}this mitmproxy has no mitmproxy.proxy.layers.http._http1.Http1Connection.make_pipe()"
            ]
            assert stock_objects() == before
            await echo_through(proxy)


async def test_new_optional_parameters_keep_sockets_on_the_wire(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, confdir: object
) -> None:
    with monkeypatch.context() as patch:
        for row in CHANGES:
            if row.takes is not None and not row.target.endswith(
                ":WebsocketLayer"
            ):  # which our layers inherit from
                change(row, patch, default=None)
        before = stock_objects()
        async with launch(port=0, confdir=str(confdir)) as proxy:
            assert warnings_of(caplog) == []
            assert installation.is_installed()
            await echo_through(proxy)
        assert stock_objects() == before


class Handler:
    """The uses that the replacements make of a connection and of an addon manager."""

    client = None
    transports: dict[object, object] = {}  # noqa: RUF012
    wakeup_timer: set[object] = set()  # noqa: RUF012
    response = Response.make(200)
    chain = ()


@pytest.mark.parametrize("row", [row for row in CHANGES if row.takes and "Layer" not in row.target], ids=str)
async def test_values_of_new_optional_parameters_are_passed_on(row: Internal) -> None:
    given: list[object] = []

    def note(*_: object, more: object = None) -> None:
        given.append(more)

    def generator(*args: object, more: object = None) -> Iterator[None]:
        note(more=more)
        yield from ()

    async def coroutine(*args: object, more: object = None) -> None:
        note(more=more)

    original = getattr(*installation._owner(row))
    stock: Callable[..., object] = note
    if inspect.iscoroutinefunction(original):
        stock = coroutine
    elif inspect.isgeneratorfunction(original):
        stock = generator
    arguments = {
        "self": Handler(),
        "connection": object(),
        "event": UpdateHook([]),
        "line": b"",
        "status_code": 502,
        "message": "",
    }
    assert row.replace is not None
    assert row.takes is not None
    replacement: Any = row.replace(stock)
    result = replacement(*(arguments[name] for name in row.takes), more="new")
    if inspect.isawaitable(result):
        await result
    elif result is not None:
        assert list(result) == []
    assert given == ["new"]


async def test_layer_that_raises_sends_sockets_to_the_hooks_lane(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, confdir: object
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("no such state")

    with monkeypatch.context() as patch:
        patch.setattr(WireLayer, "_read", broken)
        before = stock_objects()
        async with launch(port=0, confdir=str(confdir)) as proxy:
            assert warnings_of(caplog) == [
                f"{LANE}a socket that was tried in memory failed (LookupError: no such state)"
            ]
            assert stock_objects() == before
            await echo_through(proxy)


@pytest.mark.parametrize(
    ("part", "step"),
    [
        (OpenSocket, "close_arrived"),
        (PassMode, "_messages_passed"),
        (HoldMode, "_offer_held"),
        (OpenSocket, "_report_end"),
    ],
)
async def test_layer_that_leaves_something_out_sends_sockets_to_the_hooks_lane(
    part: type, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(part, step, lambda *_, **__: iter(()))
    before = stock_objects()
    with taddons.context(WirewrightAddon()) as tctx:
        (warning,) = warnings_of(caplog)
        assert warning.startswith(f"{LANE}a socket that was tried in memory failed (TrialError: ")
        assert stock_objects() == before
        tctx.master.addons.clear()


async def test_socket_that_raises_sends_sockets_to_the_hooks_lane_with_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(WireSocket, "start")
    with taddons.context(WirewrightAddon()) as tctx:
        (record,) = caplog.records
        assert record.getMessage().startswith(f"{LANE}a socket that was tried in memory failed (Attr")
        tctx.master.addons.clear()


async def test_layer_that_mitmproxy_does_not_use_sends_sockets_to_the_hooks_lane(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Other:
        WebsocketLayer = websocket.WebsocketLayer

    monkeypatch.setattr(http, "websocket", Other)
    with taddons.context(WirewrightAddon()) as tctx:
        (warning,) = warnings_of(caplog)
        assert warning == (
            f"{LANE}a socket that was tried in memory failed "
            "(TrialError: mitmproxy's HTTP layer does not make Wirewright's layer)"
        )
        tctx.master.addons.clear()


async def test_trial_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    opened: list[object] = []
    control.proxy.on("websocket", opened.append)
    with taddons.context(WirewrightAddon()) as tctx:
        assert installation.is_installed()
        assert (opened, control.proxy.web_sockets, caplog.records) == ([], [], [])
        tctx.master.addons.clear()
    control.proxy.remove_listener("websocket", opened.append)


def test_addon_loads_into_a_mitmproxy_without_the_patched_classes() -> None:
    code = (
        "from mitmproxy.proxy.layers import websocket\n"
        "from mitmproxy.proxy.layers.http import _http1\n"
        "del websocket.WebsocketLayer, _http1.Http1Connection\n"
        "from mitmproxy.test import taddons\n"
        "from wirewright.mitm.addon import WirewrightAddon\n"
        "from wirewright.mitm.patches.installation import is_installed\n"
        "with taddons.context(WirewrightAddon()):\n"
        "    print(is_installed())\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ended.stdout == "False\n"
