"""What crosses a real proxy, byte by byte: what the ends say, and what we say between them."""

import asyncio
import os
import socket as tcp
import struct
from collections.abc import AsyncIterator, Callable
from functools import partial
from operator import eq
from pathlib import Path

import pytest
import websockets
from mitmproxy import ctx, http
from websockets.asyncio.server import ServerConnection

from support.event_log import Recording, Recordings
from support.frames import Peer
from support.raw_peers import RawEnd, RawServer, RawSocket, raw_app, raw_socket
from support.servers import serving
from wirewright import Error, Proxy, WebSocket, launch
from wirewright.values import FrameEvent
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode

pytestmark = pytest.mark.layers

COMPRESSED = "permessage-deflate"


@pytest.fixture
async def socket(proxy: Proxy, recordings: Recordings) -> AsyncIterator[RawSocket]:
    async with raw_socket(proxy.port) as opened:
        yield opened


@pytest.fixture
def seen(socket: RawSocket, recordings: Recordings) -> Recording:
    return recordings.only


@pytest.fixture
def ws(seen: Recording) -> WebSocket:
    return seen.ws


# Byte for byte


def frames_of_every_kind(compression: Compression | None, end: RawEnd) -> list[bytes]:
    """Frames as no proxy would write them: in pieces, with lengths and masks of the app's own."""
    encode = end.encode
    frames = [
        encode(Opcode.TEXT, b"hello"),
        encode(Opcode.TEXT, b"\xc3", fin=False) + encode(Opcode.PING, b"between")[:3],
        encode(Opcode.PING, b"between")[3:] + encode(Opcode.CONTINUATION, b"", fin=False),
        encode(Opcode.CONTINUATION, b"\xa9"),
        encode(Opcode.BINARY, b""),
        encode(Opcode.PONG, b"unasked"),
        encode(Opcode.BINARY, os.urandom(200_000)),
    ]
    if compression is not None:
        peer = Peer(compression=compression)
        for text in (b"again and again " * 1000, b"again and again"):
            packed = peer.deflate(text)
            frames.append(encode(Opcode.TEXT, packed[:5], fin=False, rsv1=True))
            frames.append(encode(Opcode.CONTINUATION, packed[5:]))
    return frames


@pytest.mark.wire("it frames, masks and compresses anew")
@pytest.mark.parametrize("extensions", ["", COMPRESSED])
@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
async def test_frames_cross_as_they_are(proxy: Proxy, extensions: str, heard: bool) -> None:
    if heard:
        Recordings(proxy)
    async with raw_socket(proxy.port, extensions=extensions) as socket:
        for source, destination in socket.legs():
            frames = frames_of_every_kind(Compression() if extensions else None, source)
            for frame in frames:
                await source.write(frame)
                assert await destination.read(len(frame)) == frame
            await source.write(*frames)
            whole = b"".join(frames)
            assert await destination.read(len(whole)) == whole


async def test_what_comes_with_the_101_crosses_and_is_reported(proxy: Proxy, recordings: Recordings) -> None:
    early = Peer().text("early") + Peer().binary(b"\x0a")
    async with RawServer(early=early) as server, raw_app(proxy.port, server.url) as app:
        assert await app.read(len(early)) == early
        assert recordings.only.events == [("framereceived", "early"), ("framereceived", b"\x0a")]
        assert [type(payload) for _, payload in recordings.only.events] == [str, bytes]


@pytest.mark.wire("it passes on nothing that it cannot read")
async def test_what_breaks_the_protocol_crosses_as_it_is(socket: RawSocket, seen: Recording) -> None:
    for source, destination in socket.legs():
        broken = source.encode(0x3, b"?") + b"no frame at all" + os.urandom(100_000)
        await source.write(broken)
        assert await destination.read(len(broken)) == broken
    assert seen.events == [("socketerror", "Unrecognized frame opcode: 3")]


def close(end: RawEnd) -> None:
    end.hang_up()


def half_close(end: RawEnd) -> None:
    end.writer.write_eof()


def reset(end: RawEnd) -> None:
    raw = end.writer.get_extra_info("socket")
    raw.setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, struct.pack("ii", 1, 0))
    end.writer.transport.abort()


@pytest.mark.parametrize("lose", [close, half_close, reset])
@pytest.mark.parametrize("by_app", [True, False], ids=["by the app", "by the server"])
async def test_lost_connection_is_lost_on_the_other_side_too(
    socket: RawSocket, seen: Recording, lose: Callable[[RawEnd], None], by_app: bool
) -> None:
    source, destination = socket.legs()[not by_app]
    await source.send("last words")
    assert await destination.message() == "last words"
    lose(source)
    assert await destination.rest() == b""
    await seen.closed.wait()
    ended = seen.ws
    assert (ended.close_code, ended.closed_by) == (1006, "client" if by_app else "server")


# What nobody listens to


@pytest.mark.parametrize("by_app", [True, False], ids=["from the app", "from the server"])
async def test_history_has_what_nobody_listened_to(proxy: Proxy, by_app: bool) -> None:
    async with proxy.expect_websocket() as opened, raw_socket(proxy.port) as socket:
        ws = await opened.value
        source, destination = socket.legs()[not by_app]
        messages: list[str | bytes] = ["short", b"\x00", "long " * 20_000, "", "é"]
        for message in messages:
            await source.send(message)
            assert await destination.message() == message
        event: FrameEvent = "framesent" if by_app else "framereceived"
        for message in messages:
            assert await ws.wait_for_event(event, partial(eq, message), history=True) == message
        flow = ws.flow
        assert [m.text if m.is_text else m.content for m in flow.websocket.messages] == messages


async def test_bad_text_is_a_failure_where_somebody_waits_for_one(proxy: Proxy) -> None:
    async with proxy.expect_websocket() as opened, raw_socket(proxy.port) as socket:
        ws = await opened.value
        async with ws.expect_event("socketerror") as failed:
            await socket.server.write(socket.server.encode(Opcode.TEXT, b"\xff"))
        assert await failed.value == "Could not decode a text frame as UTF-8."


# What we say


async def from_everywhere(call: Callable[[str], object]) -> list[str]:
    """Call from the loop, from tasks and from threads, one after another; the messages in that order."""
    called: list[str] = []

    def say(name: str) -> None:
        called.append(f"{name} {len(called)}")
        call(called[-1])

    async def task() -> None:
        say("task")
        await asyncio.sleep(0)
        say("task, later")

    for _ in range(3):
        say("loop")
        await asyncio.to_thread(say, "thread")
        say("loop")
        await asyncio.ensure_future(task())
        await asyncio.to_thread(say, "thread")
        await asyncio.to_thread(say, "thread again")
    return called


@pytest.mark.parametrize("close_from_thread", [True, False])
async def test_messages_and_close_arrive_in_the_order_of_the_calls(
    socket: RawSocket, ws: WebSocket, close_from_thread: bool
) -> None:
    for end, send in ((socket.app, ws.send_to_client), (socket.server, ws.send_to_server)):
        called = await from_everywhere(send)
        assert [await end.message() for _ in called] == called
    ws.send_to_client("last")
    ws.send_to_server("last")
    if close_from_thread:
        await asyncio.to_thread(ws.close, 3000, "bye")
    else:
        ws.close(3000, "bye")
    for end in (socket.app, socket.server):
        assert await end.message() == "last"
        assert await end.ending() == (3000, "bye")


async def test_each_of_many_threads_has_its_own_order(socket: RawSocket, ws: WebSocket) -> None:
    def send(thread: int) -> None:
        for number in range(50):
            ws.send_to_client(f"{thread} {number}")

    await asyncio.gather(*(asyncio.to_thread(send, thread) for thread in range(4)))
    received = [str(await socket.app.message()).split() for _ in range(200)]
    for thread in range(4):
        assert [int(number) for name, number in received if name == str(thread)] == list(range(50))


@pytest.mark.wire("it merges the two: a defect of mitmproxy")
@pytest.mark.parametrize("by_app", [True, False], ids=["from the app", "from the server"])
async def test_what_we_say_never_goes_into_a_message_that_is_under_way(
    socket: RawSocket, seen: Recording, by_app: bool
) -> None:
    source, destination = socket.legs()[not by_app]
    send = seen.ws.send_to_server if by_app else seen.ws.send_to_client
    whole = source.encode(Opcode.TEXT, b"the", fin=False) + source.encode(Opcode.CONTINUATION, b"irs")
    for cut in (1, len(whole) // 2, len(whole) - 1):
        await source.write(whole[:cut])
        assert await destination.read(cut) == whole[:cut]
        called = await from_everywhere(send)
        await source.write(whole[cut:])
        assert await destination.read(len(whole) - cut) == whole[cut:]
        assert [await destination.message() for _ in called] == called
        event = "framesent" if by_app else "framereceived"
        assert seen.events == [(event, "theirs"), *((event, name) for name in called)]
        seen.events.clear()


async def test_long_message_of_ours_leaves_the_windows_of_the_ends_as_they_were(proxy: Proxy) -> None:
    recordings = Recordings(proxy)
    ours, theirs = os.urandom(20_000).hex(), "again and again " * 200
    async with (
        serving() as url,
        websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        ws = recordings.only.ws
        assert COMPRESSED in (ws.response_headers or {})["sec-websocket-extensions"]
        for _ in range(3):
            await client.send(theirs)
            assert await client.recv() == theirs
            ws.send_to_client(ours)
            assert await client.recv() == ours
            ws.send_to_server(ours)
            assert await client.recv() == ours


async def test_listener_may_answer(socket: RawSocket, ws: WebSocket) -> None:
    ws.on("framereceived", lambda payload: ws.send_to_server(f"{payload}?") if payload == "one" else None)
    await socket.server.write(
        socket.server.encode(Opcode.TEXT, b"one"), socket.server.encode(Opcode.TEXT, b"two")
    )
    assert await socket.server.message() == "one?"
    assert [await socket.app.message(), await socket.app.message()] == ["one", "two"]


@pytest.mark.wire("it sends nothing of a frame before it is whole")
async def test_close_from_outside_ends_a_side_with_half_a_frame_without_one(
    socket: RawSocket, ws: WebSocket
) -> None:
    half = socket.server.encode(Opcode.TEXT, b"half")[:3]
    await socket.server.write(half)
    assert await socket.app.read(3) == half
    ws.close(3000, "bye")
    assert await socket.app.rest() == b""
    assert await socket.server.ending() == (3000, "bye")


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "lost"])
async def test_dead_socket_says_so_to_whoever_wants_to_send(
    socket: RawSocket, seen: Recording, closed: bool
) -> None:
    if closed:
        seen.ws.close()
    else:
        socket.app.hang_up()
    await seen.closed.wait()
    ws = seen.ws
    calls = (partial(ws.send_to_client, "x"), partial(ws.send_to_server, b"x"), ws.close)
    for call in calls:
        with pytest.raises(Error, match=f"^Socket closed: {ws.close_code}$"):
            call()
        with pytest.raises(Error, match=f"^Socket closed: {ws.close_code}$"):
            await asyncio.to_thread(call)


# Whom others hold up


class Hanging:
    """An addon that takes forever over what passes at `/slow`."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        if flow.request.path == "/slow":
            self.asked.set()
            await self.go_on.wait()


async def test_other_sockets_go_on_while_an_addon_takes_its_time(proxy: Proxy) -> None:
    addon = Hanging()
    ctx.master.addons.add(addon)
    async with raw_socket(proxy.port, path="/slow") as slow, raw_socket(proxy.port) as quick:
        await slow.app.send("held")
        await addon.asked.wait()
        for source, destination in (*quick.legs(), *quick.legs()):
            await source.write(source.encode(Opcode.PING, b"?"))
            await source.send("quick")
            assert (await destination.frame()).opcode == Opcode.PING
            assert await destination.message() == "quick"
        addon.go_on.set()
        assert await slow.server.message() == "held"


# Sizes


class Looking:
    """An addon that might change messages, and so has them held."""

    def websocket_message(self, flow: http.HTTPFlow) -> None: ...


async def echo_in_fragments(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(list(message) if isinstance(message, str) else message)


@pytest.mark.parametrize("carried", ["passed on", "held", "by the hooks lane"])
async def test_messages_of_all_sizes_cross(confdir: Path, carried: str) -> None:
    options = {"ws_lane": "hooks" if carried == "by the hooks lane" else "auto"}
    large, text = os.urandom(20_000_000), "0123456789" * 30
    async with launch(port=0, confdir=confdir, options=options) as proxy, serving(echo_in_fragments) as url:
        recordings, app = Recordings(proxy), f"http://127.0.0.1:{proxy.port}"
        if carried == "held":
            ctx.master.addons.add(Looking())
        client = await websockets.connect(url, proxy=app, max_size=None, compression=None)
        for message in (b"", large, b""):
            await client.send(message)
            assert await client.recv() == message
        await client.send(list(text))
        parts = [str(part) async for part in client.recv_streaming()]
        assert "".join(parts) == text
        assert len(parts) == (1 if carried == "held" else 301)  # `websockets` ends with an empty one
        await client.close()
    sent = [b"", large, b"", text]
    assert recordings.only.frames == [
        (event, message) for message in sent for event in ("framesent", "framereceived")
    ]
