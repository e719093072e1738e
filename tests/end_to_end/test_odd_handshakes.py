"""Handshakes that RFC 6455 does not allow, and that servers and mitmproxy accept all the same."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx
from mitmproxy.proxy.layer import NextLayer

from support.event_log import Recordings
from support.raw_handshakes import SWITCHING
from support.raw_peers import HANDSHAKE_KEY, RawEnd, RawServer, accepting
from support.servers import serving_raw
from wirewright import Proxy, WebSocketRoute
from wirewright.capture.reader import Capture
from wirewright.mitm import request_start
from wirewright.mitm.admission import LARGEST_HANDSHAKE

USUAL = {
    b"Host": b"app.test",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": HANDSHAKE_KEY.encode(),
}

USUAL_HEAD = b"GET /live HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % each for each in USUAL.items()) + b"\r\n"

REQUESTS: dict[str, tuple[bytes, dict[bytes, bytes | None]]] = {
    "an IPv4 address of five parts": (b"GET", {b"Host": b"1.2.3.4.5"}),
    "an empty label": (b"GET", {b"Host": "ä..b".encode()}),
    "a label that is too long": (b"GET", {b"Host": "ä".encode() * 64}),
    "a host that is not UTF-8": (b"GET", {b"Host": b"\xe4.test"}),
    "a host with a fragment": (b"GET", {b"Host": b"app.test#"}),
    "a host with a query": (b"GET", {b"Host": b"app.test?"}),
    "half an IPv6 address": (b"GET", {b"Host": b"[::1"}),
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
async def tunnel(port: int, url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection through CONNECT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    authority = url.removeprefix("ws://").encode()
    try:
        writer.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.close()


@asynccontextmanager
async def asking(port: int, url: str, head: bytes) -> AsyncIterator[tuple[bytes, RawEnd]]:
    """The head of the answer to a request through CONNECT (empty if there is none), and the app's end."""
    async with tunnel(port, url) as (reader, writer):
        writer.write(head)
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            answer = b""
        yield answer, RawEnd(reader, writer, masks=True, headers="")


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


@pytest.mark.parametrize(
    ("beginning", "error"),
    [(b"\0", "net::ERR_INVALID_HTTP_RESPONSE"), (b"HTTP/1.1 101 ", "net::ERR_CONNECTION_CLOSED")],
    ids=["no HTTP", "a head without an end"],
)
async def test_endless_answer_is_a_short_error(
    proxy: Proxy, recordings: Recordings, beginning: bytes, error: str
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(beginning + bytes(1 << 20))
        await writer.drain()
        writer.close()

    async with serving_raw(answer) as url, tunnel(proxy.port, url) as (reader, writer):
        writer.write(USUAL_HEAD)
        page = await reader.read()
        assert page.startswith(b"HTTP/1.1 502 ")
        assert len(page) < 10_000
        seen = await recordings.first()
        await seen.closed.wait()
    assert seen.events[0] == ("socketerror", f"Error during WebSocket handshake: {error}")


@pytest.mark.parametrize("status", [b"-1", b"1234", b"99999999999999999999999"])
async def test_status_that_is_not_of_three_digits_is_recorded_as_0(
    proxy: Proxy, recordings: Recordings, status: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "session.db"
    proxy.start_capture(file)
    answer = b"HTTP/1.1 %b Odd\r\nContent-Length: 0\r\n\r\n" % status
    async with (
        RawServer(answer=answer) as server,
        asking(proxy.port, server.url, USUAL_HEAD) as (answered, _),
    ):
        assert answered == answer
        seen = await recordings.first()
        await seen.closed.wait()
        assert seen.ws.status == 0
    proxy.stop_capture()
    with Capture(file) as capture:
        (socket,) = capture.sockets()
        assert (socket.status, socket.error) == (0, seen.events[0][1])


# Request lines that mitmproxy takes for another protocol


class Watching:
    """An addon before all others, which counts the bytes by which mitmproxy has to know the protocol."""

    def __init__(self) -> None:
        self._looked = asyncio.Condition()
        self._seen = 0
        ctx.master.addons.add(self)
        chain = ctx.master.addons.chain
        chain.insert(0, chain.pop(chain.index(self)))

    async def next_layer(self, undecided: NextLayer) -> None:
        async with self._looked:
            self._seen = len(undecided.data_client() + undecided.data_server())
            self._looked.notify_all()

    async def until(self, seen: int) -> None:
        """Return once mitmproxy has looked at so many bytes."""
        async with self._looked:
            await self._looked.wait_for(lambda: self._seen >= seen)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"\r\n" + USUAL_HEAD],
        [b"\r\n", b"\n\r\n" + USUAL_HEAD],
        [USUAL_HEAD[:1], USUAL_HEAD[1:]],
        [USUAL_HEAD[:3], USUAL_HEAD[3:]],
        [USUAL_HEAD[:10], USUAL_HEAD[10:]],
        [b"\r\n" + USUAL_HEAD[:2], USUAL_HEAD[2:5], USUAL_HEAD[5:]],
        [b"POS", USUAL_HEAD.replace(b"GET", b"T")],
    ],
    ids=["empty line", "empty lines", "letter", "method", "half a line", "three pieces", "POST"],
)
async def test_request_line_in_pieces_or_after_empty_lines_is_routed(
    proxy: Proxy, pieces: list[bytes]
) -> None:
    proxy.route_web_socket("**/live", lambda ws: ws.reject(403))
    watching = Watching()
    async with RawServer() as server, tunnel(proxy.port, server.url) as (reader, writer):
        for number, piece in enumerate(pieces, 1):
            writer.write(piece)
            if number < len(pieces):
                await watching.until(len(b"".join(pieces[:number])))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
        assert server.sockets == 0


async def test_other_protocols_in_a_tunnel_are_forwarded_as_they_come(proxy: Proxy) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    for sent in (b"\r\nhello\r\n", b"x", b"Get", b"\x00\x01", b"PING"):
        async with serving_raw(echo) as url, tunnel(proxy.port, url) as (reader, writer):
            writer.write(sent)
            assert await reader.readexactly(len(sent)) == sent


def greeting(words: bytes, may_greet: asyncio.Event) -> Callable[..., Coroutine[Any, Any, None]]:
    """A server that speaks first, and then sends all that it gets back."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_greet.wait()
        writer.write(words)
        while data := await reader.read(1 << 20):
            writer.write(data)
        writer.close()

    return accept


@pytest.fixture
def at_once(proxy: Proxy) -> asyncio.Event:
    """For a server that speaks first, to which mitmproxy connects before the app has sent anything."""
    assert proxy.port
    ctx.options.update(connection_strategy="eager")  # mitmproxy's default
    event = asyncio.Event()
    event.set()
    return event


@pytest.mark.parametrize("words", [b"\r\n", b"220 app.test\r\n", b"\x00"], ids=["line", "SMTP", "NUL"])
@pytest.mark.parametrize(
    "pieces",
    [[USUAL_HEAD], [b"\r\n" + USUAL_HEAD], [b"P", b"OST" + USUAL_HEAD[3:]], [b"\r\n", b"GE", USUAL_HEAD[2:]]],
    ids=["at once", "empty line", "POST in pieces", "three pieces"],
)
async def test_request_to_a_server_that_speaks_first_is_cut_if_there_are_routes(
    proxy: Proxy,
    at_once: asyncio.Event,
    words: bytes,
    pieces: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxy.route_web_socket("**/never", lambda ws: ws.reject(403))
    async with (
        serving_raw(greeting(words, at_once)) as url,
        tunnel(proxy.port, url) as (reader, writer),
    ):
        assert await reader.readexactly(len(words)) == words
        for piece in pieces[:-1]:
            writer.write(piece)
            assert await reader.readexactly(len(piece)) == piece
        writer.write(pieces[-1])
        with suppress(ConnectionError):
            assert await reader.read() == b""
    assert f"{url.removeprefix('ws://')}: the connection is cut: it has an HTTP request" in caplog.text


async def test_request_to_a_server_that_speaks_first_passes_without_routes(
    proxy: Proxy, at_once: asyncio.Event
) -> None:
    async with serving_raw(greeting(b"x", at_once)) as url, tunnel(proxy.port, url) as (reader, writer):
        assert await reader.readexactly(1) == b"x"
        writer.write(USUAL_HEAD)
        assert await reader.readexactly(len(USUAL_HEAD)) == USUAL_HEAD


@pytest.mark.parametrize(
    "options",
    [{"tcp_hosts": ["127.0.0.1"]}, {"ignore_hosts": ["127.0.0.1"], "show_ignored_hosts": True}],
    ids=["tcp_hosts", "ignore_hosts"],
)
async def test_request_passes_as_tcp_if_the_user_says_so(
    proxy: Proxy, at_once: asyncio.Event, options: dict[str, Any]
) -> None:
    proxy.route_web_socket("**", lambda ws: ws.reject(403))
    ctx.options.update(**options)
    async with serving_raw(greeting(b"x", at_once)) as url, tunnel(proxy.port, url) as (reader, writer):
        writer.write(USUAL_HEAD)
        assert await reader.readexactly(1 + len(USUAL_HEAD)) == b"x" + USUAL_HEAD


@pytest.mark.parametrize(
    "sent",
    [b"EHLO app.test\r\n", b"GETS\r\n", b"\r\n\r\n", b"G\r\nGET / HTTP/1.1\r\n"],
    ids=["SMTP", "longer word", "empty lines", "second line"],
)
async def test_other_protocols_of_servers_that_speak_first_are_forwarded(
    proxy: Proxy, at_once: asyncio.Event, sent: bytes
) -> None:
    proxy.route_web_socket("**", lambda ws: ws.reject(403))
    async with (
        serving_raw(greeting(b"220\r\n", at_once)) as url,
        tunnel(proxy.port, url) as (reader, writer),
    ):
        assert await reader.readexactly(5) == b"220\r\n"
        writer.write(sent)
        assert await reader.readexactly(len(sent)) == sent


async def test_server_that_speaks_within_a_request_line_is_routed(proxy: Proxy) -> None:
    proxy.route_web_socket("**/live", lambda ws: ws.reject(403))
    ctx.options.update(connection_strategy="eager")  # mitmproxy's default
    watching, may_greet = Watching(), asyncio.Event()
    async with (
        serving_raw(greeting(b"\r\n", may_greet)) as url,
        tunnel(proxy.port, url) as (reader, writer),
    ):
        writer.write(USUAL_HEAD[:6])
        await watching.until(6)
        may_greet.set()
        await watching.until(8)
        writer.write(USUAL_HEAD[6:])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 403 ")


async def test_request_line_that_is_too_long_for_mitmproxy_is_cut_if_there_are_routes(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.route_web_socket("**/live*", lambda ws: ws.reject(403))
    watching = Watching()
    async with RawServer() as server, tunnel(proxy.port, server.url) as (reader, writer):
        line = b"GET /live?" + b"x" * request_start.LONGEST_LINE
        writer.write(line)
        await watching.until(len(line))
        writer.write(USUAL_HEAD.removeprefix(b"GET /live"))
        with suppress(ConnectionError):
            assert await reader.read() == b""
    assert "the connection is cut: it has an HTTP request" in caplog.text


# Many header fields

MANY = 60_000


@pytest.mark.once("the number of fields tries our own code")
@pytest.mark.parametrize(
    "name", [lambda _: b"X-Count", lambda number: b"X-%d" % number], ids=["same name", "other names"]
)
async def test_handshake_with_many_fields_costs_no_more_than_each_field_once(
    proxy: Proxy, recordings: Recordings, name: Callable[[int], bytes], tmp_path: Path
) -> None:
    """If a field cost a walk through all others, this would take longer than the time limit of a test."""
    proxy.route_web_socket("**/live", lambda ws: ws.connect_to_server(headers={"X-Route": "1"}))
    proxy.start_capture(tmp_path / "session.db")
    fields = b"".join(b"%b: 1\r\n" % name(number) for number in range(MANY))
    head = USUAL_HEAD.removesuffix(b"\r\n") + fields + b"\r\n"
    answer = accepting().removesuffix(b"\r\n") + fields + b"\r\n"
    async with (
        RawServer(answer=answer) as server,
        asking(proxy.port, server.url, head) as (answered, app),
    ):
        assert answered == answer
        end = await server.end()
        assert end.headers.count(": 1\r\n") == MANY + 1
        await app.send("hello")
        assert await end.message() == "hello"
        ws = (await recordings.first()).ws
        request, response = ws.request_headers, ws.response_headers
        assert response is not None
        assert request["x-route"] == "1"
        assert len(request) - len(USUAL) - 1 == len(response) - 3 == (1 if name(0) == name(1) else MANY)
    proxy.stop_capture()


@pytest.mark.parametrize("is_url", [True, False], ids=["URL", "header"])
async def test_handshake_that_is_too_large_for_a_route_is_not_forwarded(
    proxy: Proxy, recordings: Recordings, caplog: pytest.LogCaptureFixture, *, is_url: bool
) -> None:
    proxy.route_web_socket("**/live*", lambda ws: ws.connect_to_server())
    large = b"x" * LARGEST_HANDSHAKE
    async with RawServer() as server:
        target = server.url.replace("ws", "http", 1).encode() + b"/live"
        line, _, fields = USUAL_HEAD.partition(b"\r\n")
        line = line.replace(b"/live", target + b"?%b" % large if is_url else target)
        fields = fields if is_url else b"X-Large: %b\r\n" % large + fields
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(line + b"\r\n" + fields)
        with suppress(ConnectionError):
            assert b" 101 " not in await reader.read()
        writer.close()
        assert server.sockets == 0
        await (await recordings.first()).closed.wait()
    assert "a route may be for it, and it has more than 1,048,576 bytes" in caplog.text


async def test_large_handshake_that_no_route_is_for_is_forwarded(proxy: Proxy) -> None:
    proxy.route_web_socket("**/other", lambda ws: ws.reject(403))
    head = USUAL_HEAD.removesuffix(b"\r\n") + b"X-Large: %b\r\n\r\n" % (b"x" * LARGEST_HANDSHAKE)
    async with RawServer() as server, asking(proxy.port, server.url, head) as (answer, _):
        assert b" 101 " in answer


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
    early = b"what the server sends"
    answered = b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n"
    async with (
        RawServer(answer=answered, early=early) as server,
        asking(proxy.port, server.url, USUAL_HEAD) as (answer, app),
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
