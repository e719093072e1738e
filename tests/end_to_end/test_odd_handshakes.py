"""Handshakes that RFC 6455 does not allow, and that servers and mitmproxy accept all the same."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.heads import SWITCHING
from support.raw import HANDSHAKE_KEY, RawEnd, RawServer
from support.recording import Recordings
from wirewright import Proxy, WebSocketRoute
from wirewright.capture.reader import Capture

USUAL = {
    b"Host": b"app.test",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": HANDSHAKE_KEY.encode(),
}

REQUESTS: dict[str, tuple[bytes, dict[bytes, bytes | None]]] = {
    "an IPv4 address of five parts": (b"GET", {b"Host": b"1.2.3.4.5"}),
    "an empty label": (b"GET", {b"Host": "ä..b".encode()}),
    "a label that is too long": (b"GET", {b"Host": "ä".encode() * 64}),
    "a host that is not UTF-8": (b"GET", {b"Host": b"\xe4.test"}),
    "a host with a fragment": (b"GET", {b"Host": b"app.test#"}),
    "a host with a query": (b"GET", {b"Host": b"app.test?"}),
    "no host": (b"GET", {b"Host": None}),
    "Connection: close": (b"GET", {b"Connection": b"close"}),
    "no Connection": (b"GET", {b"Connection": None}),
    "Upgrade with a version": (b"GET", {b"Upgrade": b"websocket/13"}),
    "Upgrade to several protocols": (b"GET", {b"Upgrade": b"h2c, WebSocket"}),
    "POST": (b"POST", {}),
    "POST with a body": (b"POST", {b"Content-Length": b"4"}),
    "another version": (b"GET", {b"Sec-WebSocket-Version": b"8"}),
    "no version": (b"GET", {b"Sec-WebSocket-Version": None}),
}


@pytest.fixture(params=REQUESTS)
def request_head(request: pytest.FixtureRequest) -> bytes:
    """The head of each odd request in turn, and its body."""
    method, changes = REQUESTS[request.param]
    fields = {name: value for name, value in (USUAL | changes).items() if value is not None}
    lines = b"".join(b"%b: %b\r\n" % field for field in fields.items())
    body = b"x" * int(fields.get(b"Content-Length", b"0"))
    return b"%b /live HTTP/1.1\r\n%b\r\n%b" % (method, lines, body)


@asynccontextmanager
async def asking(port: int, url: str, head: bytes) -> AsyncIterator[tuple[bytes, RawEnd]]:
    """The head of the answer to a request through CONNECT (empty if there is none), and the app's end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    authority = url.removeprefix("ws://").encode()
    try:
        writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            answer = b""
        yield answer, RawEnd(reader, writer, masks=True, headers="")
    finally:
        writer.close()


async def test_odd_handshake_is_seen(proxy: Proxy, recordings: Recordings, request_head: bytes) -> None:
    async with RawServer() as server, asking(proxy.port, server.url, request_head) as (answer, app):
        assert answer.startswith(b"HTTP/1.1 101 ")
        end = await server.end()
        await app.send("hello")
        assert await end.message() == "hello"
        await end.send("world")
        assert await app.message() == "world"
        seen = await recordings.first()
        assert await seen.until(2) == [("framesent", "hello"), ("framereceived", "world")]
        assert seen.ws.url.startswith("ws://")
        assert seen.ws.url.endswith("/live")
        seen.ws.url.encode()


async def test_odd_handshake_is_routed(proxy: Proxy, request_head: bytes) -> None:
    proxy.route_web_socket("**/live", lambda ws: ws.reject(403))
    async with RawServer() as server, asking(proxy.port, server.url, request_head) as (answer, _):
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert server.sockets == 0


async def test_messages_of_an_odd_handshake_go_through_its_route(proxy: Proxy, request_head: bytes) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(lambda message: server.send(f"{message!s} from the route"))

    proxy.route_web_socket("**/live", handler)
    async with RawServer() as server, asking(proxy.port, server.url, request_head) as (answer, app):
        assert answer.startswith(b"HTTP/1.1 101 ")
        await app.send("hello")
        assert await (await server.end()).message() == "hello from the route"


async def test_odd_handshake_is_recorded(
    proxy: Proxy, recordings: Recordings, request_head: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "session.db"
    proxy.start_capture(file)
    async with RawServer() as server, asking(proxy.port, server.url, request_head) as (_, app):
        await app.send("hello")
        await (await server.end()).message()
        await (await recordings.first()).until(1)
        app.hang_up()
        await recordings.only.closed.wait()
    proxy.stop_capture()
    with Capture(file) as capture:
        (socket,) = capture.sockets()
        assert socket.url == recordings.only.ws.url
        assert [frame.payload for frame in capture.frames(socket=socket.id)][:1] == ["hello"]


# Answers that no handshake asked for, or that do not accept one

SENT = b"what the app sends"

TO_OTHER_REQUESTS = {
    "a request with a version": b"GET /live HTTP/1.1\r\nHost: app.test\r\nSec-WebSocket-Version: 13\r\n\r\n",
    "a request": b"GET /live HTTP/1.1\r\nHost: app.test\r\n\r\n",
    "a request for another protocol": (
        b"GET /live HTTP/1.1\r\nHost: app.test\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    ),
}


@pytest.mark.parametrize("head", TO_OTHER_REQUESTS.values(), ids=TO_OTHER_REQUESTS.keys())
async def test_websocket_that_no_handshake_asked_for_is_cut(
    proxy: Proxy, recordings: Recordings, head: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        RawServer(answer=SWITCHING + b"\r\n") as server,
        asking(proxy.port, server.url, head) as (answer, app),
    ):
        assert answer == b""
        assert await app.rest() == b""
        assert await (await server.end()).rest() == b""
    assert recordings.all == []
    assert "the handshake is stopped: no handshake asked for a WebSocket" in caplog.text


@pytest.mark.parametrize(
    "fields",
    [b"Connection: Upgrade\r\n", b"Upgrade: websocket/13\r\n", b"Upgrade: h2c\r\n"],
    ids=["no protocol", "a version", "another protocol"],
)
async def test_bytes_after_a_101_that_does_not_accept_the_handshake_are_not_forwarded(
    proxy: Proxy, recordings: Recordings, fields: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"GET /live HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % field for field in USUAL.items()) + b"\r\n"
    early = b"what the server sends"
    answered = b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n"
    async with (
        RawServer(answer=answered, early=early) as server,
        asking(proxy.port, server.url, head) as (answer, app),
    ):
        assert answer == answered
        app.writer.write(SENT)
        assert await app.rest() == b""
        assert await (await server.end()).rest() == b""
    seen = await recordings.first()
    assert [name for name, _ in await seen.until(2)] == ["socketerror", "close"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(
        "the WebSocket is cut: the server did not accept the handshake" in warning for warning in warnings
    )


async def test_other_protocols_are_none_of_ours(proxy: Proxy, recordings: Recordings) -> None:
    head = b"GET /live HTTP/1.1\r\nHost: app.test\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
    answered = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"
    async with RawServer(answer=answered) as server, asking(proxy.port, server.url, head) as (answer, app):
        assert answer == answered
        await app.send("hello")
        assert await (await server.end()).message() == "hello"
    assert recordings.all == []
