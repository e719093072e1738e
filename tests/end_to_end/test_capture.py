"""Captures of real sockets through a real proxy, on both lanes."""

import asyncio
import operator
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from mitmproxy import ctx, exceptions
from mitmproxy.http import HTTPFlow
from websockets.asyncio.server import ServerConnection

from support.event_log import Recordings
from support.raw_peers import raw_socket
from support.routes import NOWHERE, app
from support.servers import serving
from wirewright import Error, Proxy, WebSocketRoute, launch
from wirewright.capture import CaptureError, FrameFlag
from wirewright.capture import open as open_capture
from wirewright.capture.write_queue import QUEUE_BYTES
from wirewright.values import Payload
from wirewright.wire.frames import Opcode

Seen = tuple[str, Payload, FrameFlag, Payload | None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


def messages(path: Path) -> list[Seen]:
    """All messages of a capture."""
    with open_capture(path) as capture:
        return [
            (frame.direction, frame.payload, frame.flags, frame.original)
            for frame in capture.frames()
            if frame.is_message
        ]


def plain(direction: str, payload: Payload) -> Seen:
    return direction, payload, FrameFlag.NONE, None


async def test_messages_of_both_directions_are_recorded(
    proxy: Proxy, recordings: Recordings, path: Path
) -> None:
    proxy.start_capture(path)
    async with raw_socket(proxy.port) as socket:
        for message in ("text é", b"\x00\xff", "", "x" * 70_000):
            for source, destination in socket.legs():
                await source.send(message)
                assert await destination.message() == message
        await socket.app.send_close(3000, "bye")
        assert await socket.server.ending() == (3000, "bye")
        await socket.server.send_close(3000, "bye")
    await recordings.only.closed.wait()
    proxy.stop_capture()
    assert messages(path) == [
        plain(direction, message)
        for message in ("text é", b"\x00\xff", "", "x" * 70_000)
        for direction in ("sent", "received")
    ]
    with open_capture(path) as capture:
        (recorded,) = capture.sockets()
    assert (recorded.url, recorded.status) == (recordings.only.ws.url, 101)
    assert (recorded.close_code, recorded.close_reason, recorded.closed_by) == (3000, "bye", "client")
    assert recorded.closed_ns is not None


@pytest.mark.wire("mitmproxy's hooks tell of no control frames")
async def test_control_frames_are_recorded(proxy: Proxy, path: Path, recordings: Recordings) -> None:
    proxy.start_capture(path)
    async with raw_socket(proxy.port) as socket:
        for opcode in (Opcode.PING, Opcode.PONG):
            await socket.server.write(socket.server.encode(opcode, b"?"))
            assert (await socket.app.frame()).opcode == opcode
        recordings.only.ws.close(3000, "ours")
        assert await socket.app.ending() == (3000, "ours")
    await recordings.only.closed.wait()
    proxy.stop_capture()
    with open_capture(path) as capture:
        frames = [(frame.direction, frame.opcode, frame.payload, frame.flags) for frame in capture.frames()]
    assert frames[:2] == [("received", 9, b"?", FrameFlag.NONE), ("received", 10, b"?", FrameFlag.NONE)]
    assert ("received", 8, b"\x0b\xb8ours", FrameFlag.INJECTED) in frames


class Meddling:
    name = "meddling"

    def websocket_message(self, flow: HTTPFlow) -> None:
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        if message.content == b"drop":
            message.drop()
        elif message.content == b"change":
            message.content = b"changed"


async def test_what_an_addon_makes_of_messages_is_recorded(
    proxy: Proxy, path: Path, recordings: Recordings
) -> None:
    ctx.master.addons.add(Meddling())
    proxy.start_capture(path)
    async with raw_socket(proxy.port) as socket:
        for source, destination in socket.legs():
            for message in ("drop", "change", "keep"):
                await source.send(message)
            assert [await destination.message() for _ in range(2)] == ["changed", "keep"]
        recordings.only.ws.send_to_server("ours")
        assert await socket.server.message() == "ours"
    await recordings.only.closed.wait()
    proxy.stop_capture()
    assert messages(path) == [
        *(
            seen
            for direction in ("sent", "received")
            for seen in (
                (direction, "drop", FrameFlag.DROPPED, None),
                (direction, "changed", FrameFlag.CHANGED, "change"),
                plain(direction, "keep"),
            )
        ),
        ("sent", "ours", FrameFlag.INJECTED, None),
    ]


async def test_what_a_route_makes_of_messages_is_recorded(
    proxy: Proxy, path: Path, recordings: Recordings
) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        async def later(message: Payload) -> None:
            await asyncio.sleep(0)
            if message != "drop":
                server.send(f"{message!s}!" if message == "change" else message)

        ws.on_message(later)

    proxy.route_web_socket("**", handler)
    proxy.start_capture(path)
    async with raw_socket(proxy.port) as socket:
        for message in ("drop", "change", "keep"):
            await socket.app.send(message)
        assert [await socket.server.message() for _ in range(2)] == ["change!", "keep"]
    await recordings.only.closed.wait()
    proxy.stop_capture()
    assert messages(path) == [
        ("sent", "drop", FrameFlag.DROPPED, None),
        ("sent", "change!", FrameFlag.CHANGED, "change"),
        plain("sent", "keep"),
    ]


@pytest.mark.wire("mitmproxy's hooks tell of no control frames")
async def test_frames_of_one_read_keep_their_order(proxy: Proxy, path: Path, recordings: Recordings) -> None:
    proxy.start_capture(path)
    async with raw_socket(proxy.port) as socket:
        encode = socket.server.encode
        frames = [
            encode(opcode, payload)
            for opcode, payload in (
                (Opcode.PING, b"1"),
                (Opcode.TEXT, b"2"),
                (Opcode.PONG, b"3"),
                (Opcode.TEXT, b"4"),
                (Opcode.CLOSE, b"\x03\xe8"),
            )
        ]
        await socket.server.write(b"".join(frames))
        assert await socket.app.read(len(b"".join(frames))) == b"".join(frames)
    await recordings.only.closed.wait()
    proxy.stop_capture()
    with open_capture(path) as capture:
        assert [frame.opcode for frame in capture.frames() if frame.direction == "received"] == [
            9,
            1,
            10,
            1,
            8,
        ]


async def test_what_a_route_drops_is_not_what_it_sends_later(
    proxy: Proxy, path: Path, recordings: Recordings
) -> None:
    servers: list[WebSocketRoute] = []
    handled = asyncio.Event()

    def handler(ws: WebSocketRoute) -> None:
        ws.on_message(lambda _: handled.set())
        servers.append(ws.connect_to_server())

    proxy.route_web_socket("**", handler)
    proxy.start_capture(path)
    async with raw_socket(proxy.port) as socket:
        await socket.app.send("drop")
        await handled.wait()
        servers[0].send("tick")
        assert await socket.server.message() == "tick"
    await recordings.only.closed.wait()
    proxy.stop_capture()
    sent = [each for each in messages(path) if each[0] == "sent"]
    assert sent == [("sent", "drop", FrameFlag.DROPPED, None), ("sent", "tick", FrameFlag.INJECTED, None)]


@pytest.mark.wire("a mock needs our layer")
async def test_mock_is_recorded(proxy: Proxy, path: Path, recordings: Recordings) -> None:
    proxy.route_web_socket("**", lambda ws: ws.on_message(lambda message: ws.send(f"re: {message!s}")))
    proxy.start_capture(path)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        await connection.send("hello")
        assert await connection.recv() == "re: hello"
    await recordings.only.closed.wait()
    proxy.stop_capture()
    assert messages(path) == [
        plain("sent", "hello"),
        ("received", "re: hello", FrameFlag.INJECTED, None),
    ]


async def test_open_socket_is_recorded_from_now_on_and_until_it_is_ended(proxy: Proxy, path: Path) -> None:
    async with raw_socket(proxy.port) as socket:
        for number, recorded in enumerate((False, True, False, True)):
            if recorded:
                proxy.start_capture(path)
            await socket.server.send(str(number))
            assert await socket.app.message() == str(number)
            proxy.stop_capture()
    assert messages(path) == [plain("received", "1"), plain("received", "3")]


async def test_one_capture_runs_at_a_time(proxy: Proxy, path: Path) -> None:
    proxy.start_capture(path)
    with pytest.raises(CaptureError, match=f"a capture runs already: {path}"):
        proxy.start_capture(path.with_name("other.db"))
    proxy.stop_capture()
    proxy.stop_capture()
    assert not path.with_name("other.db").exists()


async def test_option_records_from_the_start_to_the_end(confdir: Path, path: Path, lane: str) -> None:
    options = {"ws_capture": str(path), "ws_lane": lane}
    async with launch(port=0, confdir=confdir, options=options) as proxy, raw_socket(proxy.port) as socket:
        await socket.server.send("hello")
        assert await socket.app.message() == "hello"
    assert messages(path) == [plain("received", "hello")]
    with open_capture(path) as capture:
        assert capture.sessions()[0].ended_ns is not None


@pytest.fixture
def diary(path: Path) -> Iterator[Path]:
    """A file that nobody may touch."""
    path.write_text("dear diary")
    yield path
    assert path.read_text() == "dear diary"


async def test_file_that_is_no_capture_is_said_at_the_start(confdir: Path, diary: Path) -> None:
    with pytest.raises(
        (Error, ValueError, exceptions.OptionsError),
        match="it is not a capture: it is not an SQLite database",
    ):
        async with launch(port=0, confdir=confdir, options={"ws_capture": str(diary)}):
            pass


async def test_commands_begin_and_end_a_capture(proxy: Proxy, path: Path) -> None:
    call = ctx.master.commands.execute
    call(f"ws.capture.start {path}")
    with pytest.raises(exceptions.CommandError, match="a capture runs already"):
        call(f"ws.capture.start {path}")
    async with raw_socket(proxy.port) as socket:
        await socket.app.send("hello")
        assert await socket.server.message() == "hello"
    call("ws.capture.stop")
    assert messages(path) == [plain("sent", "hello")]


@pytest.mark.once("it fills the recorder's own queue")
@pytest.mark.wire("a message of any size passes")
async def test_message_that_is_larger_than_the_recorder_s_queue_costs_no_other(
    proxy: Proxy, recordings: Recordings, path: Path
) -> None:
    # Both directions together stay below LARGE_QUEUE_BYTES: the writer need not keep up.
    large: list[Payload] = [
        random.Random(1).randbytes(QUEUE_BYTES + 8 * 1024 * 1024),  # without a secret's name by chance
        "x" * (QUEUE_BYTES // 4),
        b"y" * (QUEUE_BYTES // 4),
    ]
    small = [f"{number} " * 100 for number in range(500)]
    sent: list[Payload] = [message for each in large for message in (each, *small)]

    async def take_and_give(connection: ServerConnection) -> None:
        for message in sent:
            assert (await connection.recv() == message) is True  # without a difference of 40 MB to show
        for message in sent:
            await connection.send(message)

    proxy.start_capture(path)
    async with (
        serving(take_and_give) as url,
        app(proxy, url, max_size=None, compression=None) as client,
    ):
        for message in sent:
            await client.send(message)
        for message in sent:
            assert (await client.recv() == message) is True
    await (await recordings.first()).closed.wait()
    proxy.stop_capture()
    with open_capture(path) as capture:
        assert capture.gaps() == []
    for direction in ("sent", "received"):
        kept = [payload for by, payload, _, _ in messages(path) if by == direction]
        assert [len(payload) for payload in kept] == [len(message) for message in sent]
        assert all(map(operator.eq, kept, sent))


async def test_messages_that_are_not_read_are_missing_for_a_true_reason(confdir: Path, path: Path) -> None:
    options = {"ws_max_message": 10_000}
    sent = [os.urandom(20_000), b"a" * 100, b"b" * 100]
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        proxy.start_capture(path)
        async with serving() as url, app(proxy, url) as client:
            for message in sent:  # compressed, each with the help of those before it
                await client.send(message)
                assert await client.recv() == message
        proxy.stop_capture()
    with open_capture(path) as capture:
        gaps = capture.gaps()
    assert sum(gap.frames for gap in gaps) == 2 * len(sent)
    assert {gap.reason for gap in gaps} == {
        "larger than ws_max_message or than ws_memory has room for, compressed after such a message, or "
        "begun before the recording"
    }
