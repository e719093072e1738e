"""mitmproxy's hooks, and the events that become of them."""

import asyncio
import gc
import io
import time
from collections.abc import AsyncIterator

import pytest
from mitmproxy import http
from mitmproxy.addons.script import load_script
from mitmproxy.hooks import RunningHook
from mitmproxy.io import FlowReader, FlowWriter
from mitmproxy.test import tflow

from support.addon_hooks import Hooks, addon_context
from support.event_log import Recordings
from support.processes import ADDON
from wirewright import WebSocket
from wirewright.mitm import addon, handshake_hooks
from wirewright.mitm.patches.error_page import MAX_MESSAGE
from wirewright.model.handshake import Headers
from wirewright.state import proxy
from wirewright.values import Direction


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with addon_context() as tctx:
        yield Hooks(tctx)


# The handshake


async def test_socket_is_reported_with_its_request(hooks: Hooks) -> None:
    hooks.flow.request.path = "/live?a=b"
    await hooks.requestheaders()
    ws = hooks.seen.ws
    assert ws.url == "ws://example.com/live?a=b"
    assert ws.request_headers["sec-websocket-version"] == "13"
    assert ws.client_address == ("127.0.0.1", 22)
    assert ws.flow is hooks.flow
    assert (ws.status, ws.response_headers, ws.opened_at, ws.is_closed()) == (None, None, None, False)
    assert proxy.web_sockets == [ws]


@pytest.mark.parametrize(
    ("scheme", "port", "host", "url"),
    [
        ("http", 80, "example.com", "ws://example.com/ws"),
        ("https", 443, "example.com", "wss://example.com/ws"),
        ("https", 8443, "Example.com:8443", "wss://example.com:8443/ws"),
        ("https", 8443, "[::1]:8443", "wss://[::1]:8443/ws"),
    ],
)
async def test_url_is_the_one_that_the_app_asked_for(
    hooks: Hooks, scheme: str, port: int, host: str, url: str
) -> None:
    request = hooks.flow.request
    request.scheme, request.port, request.headers["host"] = scheme, port, host
    await hooks.requestheaders()
    assert hooks.seen.ws.url == url


@pytest.mark.parametrize("upgrade", [None, "h2c"])
async def test_other_requests_are_no_sockets(hooks: Hooks, upgrade: str | None) -> None:
    if upgrade is None:
        del hooks.flow.request.headers["upgrade"]
    else:
        hooks.flow.request.headers["upgrade"] = upgrade
    await hooks.requestheaders()
    await hooks.request()
    await hooks.response(200)
    assert hooks.sockets == 0


async def test_header_fields_of_other_requests_are_not_converted(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    stock = handshake_hooks._headers

    def make(message: http.Request | http.Response) -> Headers:
        made.append(message)
        return stock(message)

    monkeypatch.setattr(handshake_hooks, "_headers", make)
    hooks.flow.request.headers["upgrade"] = "h2c"
    await hooks.requestheaders()
    await hooks.request()
    await hooks.response(200)
    assert made == []
    other = Hooks(hooks.tctx)
    await other.requestheaders()
    assert made == [other.flow.request]


async def test_nothing_is_reported_where_mitmproxy_does_not_handle_websockets(hooks: Hooks) -> None:
    hooks.tctx.options.update(websocket=False)
    await hooks.requestheaders()
    await hooks.request()
    await hooks.response(101, connection="Upgrade")
    assert hooks.sockets == 0


async def test_async_handlers_run_up_to_their_first_await_before_the_handshake_goes_on(hooks: Hooks) -> None:
    reached: list[str] = []

    async def handler(ws: WebSocket) -> None:
        reached.append(ws.url)
        await asyncio.Event().wait()
        reached.append("too far")

    proxy.on("websocket", handler)
    await hooks.requestheaders()
    assert reached == ["ws://example.com/ws"]


async def test_request_headers_are_those_that_go_to_the_server(hooks: Hooks) -> None:
    await hooks.requestheaders()
    hooks.flow.request.headers["x-added"] = "by an addon"
    assert "x-added" not in hooks.seen.ws.request_headers
    await hooks.request()
    assert hooks.seen.ws.request_headers["x-added"] == "by an addon"


async def test_answer_opens_the_socket(hooks: Hooks) -> None:
    before = time.time()
    ws = (await hooks.open()).ws
    assert ws.status == 101
    assert ws.response_headers is not None
    assert ws.response_headers["upgrade"] == "websocket"
    assert ws.opened_at is not None
    assert before <= ws.opened_at <= time.time()
    assert hooks.seen.events == []


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (404, {}, "Error during WebSocket handshake: Unexpected response code: 404"),
        (200, {}, "Error during WebSocket handshake: Unexpected response code: 200"),
        (401, {}, "HTTP Authentication failed; no valid credentials available"),
        (101, {"x": "y"}, "Error during WebSocket handshake: 'Upgrade' header is missing"),
        (
            101,
            {"upgrade": "h2c"},
            "Error during WebSocket handshake: 'Upgrade' header value is not 'WebSocket': h2c",
        ),
    ],
)
async def test_refused_handshake_fails_the_socket(
    hooks: Hooks, status: int, headers: dict[str, str], text: str
) -> None:
    await hooks.requestheaders()
    await hooks.request()
    await hooks.response(status, **headers)
    ws = hooks.seen.ws
    assert hooks.seen.events == [("socketerror", text), ("close", None)]
    assert (ws.status, ws.opened_at, ws.close_code, ws.close_reason) == (status, None, None, None)
    assert ws.closed_by == "server"
    assert proxy.web_sockets == []


@pytest.mark.parametrize(
    ("message", "connected", "text"),
    [
        ("server closed connection", True, "Connection closed before receiving a handshake response"),
        (
            "[Errno 111] Connect call failed",
            False,
            "Error in connection establishment: net::ERR_CONNECTION_REFUSED",
        ),
        ("something else", False, "Error in connection establishment: something else"),
        ("x" * 1_000_000, False, "Error in connection establishment: " + "x" * MAX_MESSAGE),
    ],
)
async def test_error_before_an_answer_fails_the_socket(
    hooks: Hooks, message: str, connected: bool, text: str
) -> None:
    await hooks.requestheaders()
    await hooks.request()
    await hooks.error(message, connected=connected)
    assert hooks.seen.events == [("socketerror", text), ("close", None)]
    ws = hooks.seen.ws
    assert (ws.status, ws.opened_at, ws.close_code, ws.close_reason) == (None, None, None, None)
    assert proxy.web_sockets == []


# The end


@pytest.mark.parametrize(
    ("code", "reason", "by_client", "closed_by"),
    [
        (1000, "bye", True, "client"),
        (1000, "done", False, "server"),
        (1005, "", True, "client"),
        (1006, None, False, "server"),
        (3000, "custom", None, "proxy"),
    ],
)
async def test_end_closes_the_socket(
    hooks: Hooks, code: int, reason: str | None, by_client: bool | None, closed_by: str
) -> None:
    seen = await hooks.open()
    await hooks.end(code, reason, by_client)
    assert seen.events == [("close", None)]
    assert (seen.ws.close_code, seen.ws.close_reason) == (code, reason or "")
    assert seen.ws.closed_by == closed_by
    assert seen.ws.closed_at is not None
    assert proxy.web_sockets == []
    await hooks.client_disconnected()
    assert seen.events == [("close", None)]


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (1002, "Invalid opcode 0x3", "Unrecognized frame opcode: 3"),
        (1002, "Reserved bit set unexpectedly", "One or more reserved bits are on"),
        (1007, "'utf-8' codec can't decode byte 0xff", "Could not decode a text frame as UTF-8."),
        (
            1002,
            "remote CLOSE with local-only reason",
            "Received a broken close frame containing a reserved status code.",
        ),
    ],
)
async def test_violation_fails_the_socket(hooks: Hooks, code: int, reason: str, text: str) -> None:
    seen = await hooks.open()
    await hooks.end(code, reason, False)
    assert seen.events == [("socketerror", text), ("close", None)]
    assert (seen.ws.close_code, seen.ws.closed_by) == (code, "proxy")


async def test_app_that_refuses_the_servers_key_fails_the_socket(hooks: Hooks) -> None:
    seen = await hooks.open(accept="wrong")
    await hooks.end(1006, None, True)
    text = "Error during WebSocket handshake: Incorrect 'Sec-WebSocket-Accept' header value"
    assert seen.events == [("socketerror", text), ("close", None)]


async def test_app_that_takes_a_wrong_key_loses_its_connection_like_any_other(hooks: Hooks) -> None:
    seen = await hooks.open(accept="wrong")
    await hooks.message("hello")
    await hooks.end(1006, None, True)
    assert seen.events == [("framesent", "hello"), ("close", None)]


async def test_socket_ends_with_its_connection_whatever_happened(hooks: Hooks) -> None:
    seen = await hooks.open()
    await hooks.client_disconnected()
    assert seen.events == [("close", None)]
    assert (seen.ws.close_code, seen.ws.close_reason, seen.ws.closed_by) == (1006, "", "client")


async def test_handshake_ends_with_its_connection_whatever_happened(hooks: Hooks) -> None:
    await hooks.requestheaders()
    await hooks.client_disconnected()
    assert hooks.seen.events[-1] == ("close", None)
    assert (hooks.seen.ws.close_code, hooks.seen.ws.close_reason) == (None, None)
    assert proxy.web_sockets == []


async def test_other_connections_keep_their_sockets(hooks: Hooks) -> None:
    seen = await hooks.open()
    await Hooks(hooks.tctx).client_disconnected()
    assert seen.events == []
    assert proxy.web_sockets == [seen.ws]


# Flows from a file


async def test_loaded_flow_is_reported_as_it_was(hooks: Hooks) -> None:
    recorded = tflow.twebsocketflow(close_code=1001, close_reason="away")
    file = io.BytesIO()
    FlowWriter(file).add(recorded)
    file.seek(0)
    (loaded,) = FlowReader(file).stream()
    await hooks.tctx.master.load_flow(loaded)
    assert hooks.seen.events == [
        ("framesent", b"hello binary"),
        ("framesent", "hello text"),
        ("framereceived", "it's me"),
        ("close", None),
    ]
    ws = hooks.seen.ws
    assert (ws.status, ws.close_code, ws.close_reason, ws.closed_by) == (101, 1001, "away", "server")


async def test_cycled_flow_is_reported_without_updates(hooks: Hooks) -> None:
    flow = tflow.twebsocketflow()
    recordings = Recordings(proxy)
    await hooks.tctx.cycle(hooks.tctx.master.addons.get("wirewright"), flow)
    assert [name for name, _ in recordings.only.events] == [
        "framesent",
        "framesent",
        "framereceived",
        "close",
    ]


# This file again


async def test_open_socket_goes_on_when_the_addon_is_loaded_again(hooks: Hooks) -> None:
    seen = await hooks.open()
    addons = hooks.tctx.master.addons
    addons.remove(addons.get("wirewright"))
    again = load_script(str(ADDON))
    assert again is not None
    addons.add(again)
    await addons.invoke_addon(again, RunningHook())
    await hooks.message("sent")
    await hooks.message("received", direction=Direction.RECEIVED)
    await hooks.end(1000, "bye", True)
    assert seen.events == [("framesent", "sent"), ("framereceived", "received"), ("close", None)]


@pytest.mark.parametrize(("already", "is_frozen"), [(0, True), (375, True), (110_000, False)])
def test_objects_of_the_start_are_left_out_of_garbage_collection_once(
    monkeypatch: pytest.MonkeyPatch, already: int, is_frozen: bool
) -> None:
    """Python 3.12 itself leaves out a few hundred."""
    frozen = []
    monkeypatch.setattr(gc, "get_freeze_count", lambda: already)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    addon._freeze_objects()
    assert bool(frozen) == is_frozen
