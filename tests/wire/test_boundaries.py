"""Where a message of ours fits into a stream that is passed on: RFC 6455, 5.4."""

from dataclasses import dataclass

import pytest

from support.frames import Peer, pieces, read
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode, encode_close
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import ControlFrame, Event

BYE = encode_close(1000, "bye")
OURS = "ours"


@dataclass(frozen=True)
class Stream:
    """Frames, and the offsets at which a whole message ends, and a whole frame."""

    data: bytes
    messages: frozenset[int]
    frames: frozenset[int]
    events: list[Event]


def stream_of(peer: Peer) -> Stream:
    ping = peer.frame(Opcode.PING, b"?")
    first, second, third = peer.fragments(Opcode.TEXT, b"a", b"", b"c" * 200)
    whole = [*(peer.text("hello"), ping, peer.binary(b""), peer.binary(bytes(130))), first, second]
    if peer.compression:
        early, late = peer.deflate(b"hello" * 50), peer.deflate(b"hello" * 50)
        parts = peer.fragments(Opcode.BINARY, early[:3], early[3:], rsv1=True)
        last = [parts[0], ping, parts[1], peer.frame(Opcode.TEXT, late, rsv1=True)]
    else:
        last = [*peer.fragments(Opcode.BINARY, b"", b""), ping]
    frames = [*whole, ping, third, peer.text("m"), *last, peer.text("n")]
    within, position = False, 0
    messages, ends = {0}, {0}
    for frame in frames:
        position += len(frame)
        ends.add(position)
        if not frame[0] & 0x08:
            within = not frame[0] & 0x80
        if not within:
            messages.add(position)
    data = b"".join(frames)
    return Stream(data, frozenset(messages), frozenset(ends), peer.reader().feed(data))


@pytest.fixture(params=[True, False], ids=["from client", "from server"])
def client(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(
    params=[None, Compression(), Compression(9, takeover=False)], ids=["plain", "takeover", "no takeover"]
)
def peer(request: pytest.FixtureRequest, client: bool) -> Peer:
    return Peer(client=client, compression=request.param)


def feed_in(reader: MessageReader, data: bytes, *sizes: int) -> list[tuple[int, int, int | None]]:
    """Start and end of each piece, and the boundary that the reader saw in it."""
    seen = []
    start = 0
    for part in pieces(data, *sizes):
        reader.feed(part)
        seen.append((start, start + len(part), reader.boundary))
        start += len(part)
    return seen


CUTS = [(1,), (2, 1), (3,), (7, 1), (40,), (131, 6), (1000,)]


@pytest.mark.parametrize("sizes", CUTS, ids=str)
@pytest.mark.parametrize("limit", [0, None], ids=["unread", "read"])
def test_boundary_is_after_the_last_whole_message_of_a_piece(
    peer: Peer, sizes: tuple[int, ...], limit: int | None
) -> None:
    stream = stream_of(peer)
    for start, end, boundary in feed_in(peer.reader(limit=limit), stream.data, *sizes):
        fitting = [offset for offset in stream.messages if start <= offset <= end]
        assert boundary == (max(fitting) - start if fitting else None)


@pytest.mark.parametrize("sizes", CUTS, ids=str)
def test_message_of_ours_is_read_where_the_boundary_is(peer: Peer, sizes: tuple[int, ...]) -> None:
    stream = stream_of(peer)
    for start, _, boundary in feed_in(peer.reader(), stream.data, *sizes):
        if boundary is None:
            continue
        at = start + boundary
        reader = peer.reader()
        before = reader.feed(stream.data[:at])
        assert reader.feed(peer.text(OURS)) == [OURS]
        assert before + reader.feed(stream.data[at:]) == stream.events
        assert reader.failure is None


def test_reader_knows_what_it_is_between(peer: Peer) -> None:
    stream = stream_of(peer)
    reader = peer.reader()
    assert (reader.boundary, reader.at_boundary, reader.between_frames) == (0, True, True)
    for end, byte in enumerate(pieces(stream.data, 1), 1):
        reader.feed(byte)
        assert reader.at_boundary == (end in stream.messages)
        assert reader.between_frames == (end in stream.frames)


def test_control_frame_of_ours_is_read_between_frames(peer: Peer) -> None:
    stream = stream_of(peer)
    for offset in stream.frames:
        data = stream.data[:offset] + peer.frame(Opcode.PONG, b"ours") + stream.data[offset:]
        events = read(peer.reader(), pieces(data, 5))
        events.remove(ControlFrame(Opcode.PONG, b"ours"))
        assert events == stream.events


def test_empty_piece_has_a_boundary_only_between_messages() -> None:
    peer = Peer()
    reader = peer.reader()
    data = peer.text("abc")
    boundaries = []
    for part in (data[:1], b"", data[1:3], b"", data[3:], b""):
        reader.feed(part)
        boundaries.append(reader.boundary)
    assert boundaries == [0, None, None, None, 2, 0]


def test_nothing_of_ours_fits_after_a_close(peer: Peer) -> None:
    reader = peer.reader()
    hello, close = peer.text("hello"), peer.frame(Opcode.CLOSE, BYE)
    reader.feed(hello + close)
    assert reader.boundary == len(hello)
    assert not reader.at_boundary
    assert not reader.between_frames
    reader.feed(b"")
    assert reader.boundary is None


def test_nothing_of_ours_fits_after_a_violation(peer: Peer) -> None:
    reader = peer.reader()
    reader.feed(peer.text("hello") + peer.frame(3))
    assert reader.failure is not None
    assert reader.boundary is None
    assert not reader.at_boundary
    assert not reader.between_frames
