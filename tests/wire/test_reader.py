import itertools
import os
from collections.abc import Iterator

import pytest

from support.frames import MAX_MESSAGE, Peer, pieces, read
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import CloseCode, Opcode, encode_close
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import ControlFrame, Event, LazyBatch, TooLarge

INVALID = "Invalid frame header"
BYE = encode_close(1000, "bye")


@pytest.fixture(params=[True, False], ids=["from client", "from server"])
def peer(request: pytest.FixtureRequest) -> Peer:
    return Peer(client=request.param)


def conversation(peer: Peer) -> tuple[list[bytes], list[Event]]:
    """Frames of many kinds, and what they say."""
    ping, pong = peer.frame(Opcode.PING, b"?"), peer.frame(Opcode.PONG)
    first, second, third = peer.fragments(Opcode.TEXT, "aé".encode()[:2], b"", "é🙂".encode()[1:])
    frames = [
        *(peer.text("hello"), peer.binary(b"\x00\xff"), peer.text(""), peer.binary(b"")),
        *(first, ping, second, pong, ping, third, ping),
        *peer.fragments(Opcode.BINARY, b"", b"", b""),
        *(peer.text("x" * 130), *peer.fragments(Opcode.BINARY, b"a" * 126, b"b" * 7)),
        *(peer.text("last"), peer.frame(Opcode.CLOSE, BYE)),
    ]
    said_ping, said_pong = ControlFrame(Opcode.PING, b"?"), ControlFrame(Opcode.PONG, b"")
    events: list[Event] = [
        *("hello", b"\x00\xff", "", b"", said_ping, said_pong, said_ping, "aé🙂", said_ping, b""),
        *("x" * 130, b"a" * 126 + b"b" * 7, "last", ControlFrame(Opcode.CLOSE, BYE)),
    ]
    return frames, events


def halves(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((data[:cut], data[cut:]) for cut in range(len(data) + 1))


def test_messages_are_read_at_once(peer: Peer) -> None:
    frames, events = conversation(peer)
    reader = peer.reader()
    assert reader.feed(b"".join(frames)) == events
    assert reader.failure is None


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_messages_are_read_from_pieces(peer: Peer, size: int) -> None:
    frames, events = conversation(peer)
    assert read(peer.reader(), pieces(b"".join(frames), size)) == events


def test_messages_are_read_however_the_stream_is_cut(peer: Peer) -> None:
    frames, events = conversation(peer)
    for parts in halves(b"".join(frames)):
        assert read(peer.reader(), parts) == events


def test_empty_pieces_change_nothing(peer: Peer) -> None:
    frames, events = conversation(peer)
    parts = [part for byte in pieces(b"".join(frames), 1) for part in (byte, b"")]
    assert read(peer.reader(), parts) == events


@pytest.mark.parametrize("size", [0, 1, 3, 124, 125, 126, 127, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("piece", [7, 4096, MAX_MESSAGE])
def test_messages_of_every_length_are_read(peer: Peer, size: int, piece: int) -> None:
    payload = os.urandom(size)
    stream = peer.binary(payload) + peer.text("t" * size) + peer.text("end")
    assert read(peer.reader(), pieces(stream, piece)) == [payload, "t" * size, "end"]


def test_mask_goes_on_over_pieces_of_a_frame() -> None:
    peer = Peer(client=True)
    payload = os.urandom(1000)
    for sizes in itertools.product((1, 2, 3, 5), repeat=3):
        assert read(peer.reader(), pieces(peer.binary(payload), 6, *sizes)) == [payload]


def test_each_frame_has_its_own_mask() -> None:
    reader = MessageReader(masked=True, max_message=100)
    assert reader.feed(b"\x01\x81\x01\0\0\0`" + b"\x80\x82\x02\x03\0\0``") == ["abc"]


def test_mask_of_zeros_is_a_mask() -> None:
    reader = MessageReader(masked=True, max_message=1000)
    assert reader.feed(b"\x81\x82\0\0\0\0hi\x82\xfe\x00\x7e\0\0\0\0" + b"b" * 126) == ["hi", b"b" * 126]


def test_control_payloads_have_up_to_125_bytes(peer: Peer) -> None:
    for opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
        for parts in halves(peer.frame(opcode, b"\x03\xe8" + b"x" * 123)):
            assert read(peer.reader(), parts) == [ControlFrame(opcode, b"\x03\xe8" + b"x" * 123)]


def test_close_is_handed_on_unread(peer: Peer) -> None:
    """Whoever wants its code decodes it, and finds what is wrong with it."""
    reader = peer.reader()
    assert reader.feed(peer.frame(Opcode.CLOSE, b"\x03")) == [ControlFrame(Opcode.CLOSE, b"\x03")]
    assert reader.failure is None


# What nobody reads yet


def opened(events: list[Event]) -> list[Event]:
    """The same, with what is unread read."""
    return [
        event
        for found in events
        for event in (list[Event](found) if isinstance(found, LazyBatch) else [found])
    ]


@pytest.mark.parametrize("size", [1, 5, 64, 100_000])
def test_lazy_reader_finds_the_same_messages(peer: Peer, size: int) -> None:
    frames, events = conversation(peer)
    reader = peer.reader()
    reader.wanted.lazy = True
    assert opened(read(reader, pieces(b"".join(frames), size))) == events
    assert reader.failure is None


def test_short_messages_are_handed_out_unread_with_their_number_and_size(peer: Peer) -> None:
    payloads: list[str | bytes] = ["hello", b"\x00\xff", "", b"x" * 126, "é" * 200, "end"]
    reader, rest = peer.reader(), peer.text("half")
    reader.wanted.lazy = True
    data = b"".join(peer.text(p) if isinstance(p, str) else peer.binary(p) for p in payloads)
    (unread,) = reader.feed(data + rest[:4])
    assert isinstance(unread, LazyBatch)
    assert list(unread) == list(unread) == payloads
    assert (len(unread), unread.size) == (6, 5 + 2 + 126 + 400 + 3)
    assert reader.only_messages
    assert reader.boundary == len(data)
    assert opened(reader.feed(rest[4:])) == ["half"]


def test_lazy_reader_skips_what_is_larger_than_anyone_wants(peer: Peer) -> None:
    reader = peer.reader(limit=3)
    reader.wanted.lazy = True
    assert opened(reader.feed(peer.text("abc") + peer.text("abcd") + peer.text("xyz"))) == [
        "abc",
        TooLarge(Opcode.TEXT),
        "xyz",
    ]


def test_bad_text_that_nobody_read_is_mended(peer: Peer) -> None:
    reader = peer.reader()
    reader.wanted.lazy = True
    assert opened(reader.feed(peer.frame(Opcode.TEXT, b"a\xff") + peer.text("b"))) == ["a\ufffd", "b"]
    assert reader.failure is None


# What is not allowed


def reserved(one: int, two: int, three: int) -> str:
    bits = f"reserved1 = {one}, reserved2 = {two}, reserved3 = {three}"
    return f"One or more reserved bits are on: {bits}"


MASKED = "A server must not mask any frames that it sends to the client."
UNMASKED = "A client must mask all frames that it sends to the server."
UNFINISHED = "Received start of new message but previous message is unfinished."
LONE = "Received unexpected continuation frame."
BAD_TEXT = "Could not decode a text frame as UTF-8."
BEGUN = b"\x01\x02ab"
CLOSED = b"\x88\x02\x03\xe8"

VIOLATIONS = {
    **{
        f"opcode {code}": (bytes([0x80 | code, 0]), f"Unrecognized frame opcode: {code}")
        for code in range(3, 8)
    },
    **{
        f"opcode {code}": (bytes([0x80 | code, 0]), f"Unrecognized frame opcode: {code}")
        for code in range(11, 16)
    },
    "first reserved bit without compression": (b"\xc1\x00", reserved(1, 0, 0)),
    "second reserved bit": (b"\xa2\x00", reserved(0, 1, 0)),
    "third reserved bit": (b"\x91\x00", reserved(0, 0, 1)),
    "all reserved bits of a ping": (b"\xf9\x00", reserved(1, 1, 1)),
    "reserved bit of a continuation": (BEGUN + b"\xa0\x00", reserved(0, 1, 0)),
    "masked": (b"\x81\x81\0\0\0\0a", MASKED),
    "masked ping": (b"\x89\x80\0\0\0\0", MASKED),
    "fragmented ping": (b"\x09\x00", INVALID),
    "fragmented close": (b"\x08\x00", INVALID),
    "ping of 126 bytes": (b"\x89\x7e\x00\x7e" + bytes(126), INVALID),
    "close of 65536 bytes": (b"\x88\x7f\0\0\0\0\0\1\0\0", INVALID),
    "two bytes of length for 125": (b"\x82\x7e\x00\x7d", INVALID),
    "eight bytes of length for 65535": (b"\x82\x7f\0\0\0\0\0\0\xff\xff", INVALID),
    "length of 2^63": (b"\x82\x7f\x80\0\0\0\0\0\0\0", INVALID),
    "continuation of nothing": (b"\x80\x01a", LONE),
    "continuation after a whole message": (b"\x81\x01a\x00\x01b", LONE),
    "new message before the last one ended": (BEGUN + b"\x81\x01c", UNFINISHED),
    "new message of the other kind": (BEGUN + b"\x89\x00\x02\x01c", UNFINISHED),
    "bad UTF-8": (b"\x81\x01\xff", BAD_TEXT),
    "cut UTF-8": (b"\x81\x01\xc3", BAD_TEXT),
    "a surrogate": (b"\x81\x03\xed\xa0\x80", BAD_TEXT),
    "an overlong form": (b"\x81\x02\xc0\x80", BAD_TEXT),
    "bad UTF-8 in the last fragment": (BEGUN + b"\x80\x01\xff", BAD_TEXT),
    "bad UTF-8 in 130 bytes": (b"\x81\x7e\x00\x82" + b"\xff" * 130, BAD_TEXT),
    "text after a close": (CLOSED + b"\x81\x01a", "Data frame received after close"),
    "continuation after a close": (BEGUN + CLOSED + b"\x80\x00", "Data frame received after close"),
    "ping after a close": (CLOSED + b"\x89\x00", "Ping received after close"),
    "pong after a close": (CLOSED + b"\x8a\x00", "Pong received after close"),
    "close after a close": (CLOSED + CLOSED, "Close received after close"),
}


@pytest.mark.parametrize(("stream", "message"), VIOLATIONS.values(), ids=VIOLATIONS)
@pytest.mark.parametrize("size", [1, 1000], ids=["byte by byte", "at once"])
def test_violation_ends_the_reading(stream: bytes, message: str, size: int) -> None:
    reader = MessageReader(masked=False, max_message=1000)
    events = read(reader, pieces(b"\x81\x01m" + stream + b"\x81\x01n", size))
    assert events[0] == "m"
    assert "n" not in events
    assert all(event == "a" or isinstance(event, ControlFrame) for event in events[1:])
    assert reader.failure is not None
    code = CloseCode.INVALID_DATA if message == BAD_TEXT else CloseCode.PROTOCOL_ERROR
    assert (reader.failure.message, reader.failure.code) == (message, code)


@pytest.mark.parametrize(
    "frame", [b"\x81\x01a", b"\x89\x00", b"\x82\x7e\x01\x00"], ids=["text", "ping", "long"]
)
def test_client_that_does_not_mask_is_a_violation(frame: bytes) -> None:
    for parts in halves(frame):
        reader = MessageReader(masked=True, max_message=1000)
        assert read(reader, parts) == []
        assert reader.failure is not None
        assert reader.failure.message == UNMASKED


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"\xc9\x00", reserved(1, 0, 0)),
        (b"\xe1\x01\x00", reserved(1, 1, 0)),
        (b"\x41\x01\x00\xc0\x00", INVALID),
        (b"\x01\x01\x00\xc0\x00", INVALID),
        (b"\xc1\x01\xff", INVALID),
    ],
    ids=["ping", "two reserved bits", "compressed continuation", "continuation", "no deflate"],
)
def test_what_compression_does_not_allow_is_a_violation(stream: bytes, message: str) -> None:
    for parts in halves(stream):
        reader = MessageReader(masked=False, compression=Compression(), max_message=1000)
        assert read(reader, parts) == []
        assert reader.failure is not None
        assert reader.failure.message == message


def test_nothing_is_read_after_a_violation(peer: Peer) -> None:
    reader = peer.reader()
    assert reader.feed(peer.text("a") + peer.frame(3) + peer.text("b")) == ["a"]
    failure = reader.failure
    assert failure is not None
    for data in (peer.text("c"), b"", peer.frame(4)):
        assert reader.feed(data) == []
        assert reader.failure is failure
        assert reader.boundary is None


def test_one_byte_after_a_close_is_no_frame_yet() -> None:
    reader = MessageReader(masked=False, max_message=100)
    assert reader.feed(CLOSED + b"\x81") == [ControlFrame(Opcode.CLOSE, b"\x03\xe8")]
    assert reader.failure is None


# How much is wanted


@pytest.mark.parametrize("size", [0, 1, 10, 124, 125, 126, 127, 1000])
@pytest.mark.parametrize("limit", [1, 10, 124, 125, 126, 1000])
@pytest.mark.parametrize("piece", [1, 2000], ids=["byte by byte", "at once"])
def test_message_larger_than_the_limit_is_not_kept(peer: Peer, size: int, limit: int, piece: int) -> None:
    half = b"x" * (size // 2), b"x" * (size - size // 2)
    stream = peer.binary(b"x" * size) + peer.text("x" * size) + b"".join(peer.fragments(Opcode.TEXT, *half))
    large = [TooLarge(Opcode.BINARY), TooLarge(Opcode.TEXT), TooLarge(Opcode.TEXT)]
    events = [b"x" * size, "x" * size, "x" * size] if size <= limit else large
    reader = peer.reader(limit=limit)
    assert read(reader, pieces(stream + peer.text("1"), piece)) == [*events, "1"]
    assert read(peer.reader(max_message=limit), pieces(stream, piece)) == events


@pytest.mark.parametrize("piece", [1, 1000], ids=["byte by byte", "at once"])
def test_only_control_frames_are_read_where_nobody_wants_messages(peer: Peer, piece: int) -> None:
    frames, events = conversation(peer)
    reader = peer.reader(limit=0)
    stream = peer.text("\udcff".encode(errors="surrogateescape").decode("latin-1")) + b"".join(frames)
    controls = [event for event in events if isinstance(event, ControlFrame)]
    assert read(reader, pieces(stream, piece)) == controls
    assert reader.failure is None


def test_frames_are_checked_where_nobody_wants_messages() -> None:
    reader = MessageReader(masked=False, max_message=100, limit=0)
    assert reader.feed(b"\x81\x01\xff\x01\x00\x81\x00") == []
    assert reader.failure is not None
    assert reader.failure.message == UNFINISHED


def test_limit_may_change_between_messages(peer: Peer) -> None:
    reader = peer.reader(limit=0)
    assert reader.feed(peer.text("a") + peer.binary(bytes(300))) == []
    reader.wanted.limit = 100
    assert reader.feed(peer.text("b") + peer.binary(bytes(300))) == ["b", TooLarge(Opcode.BINARY)]
    reader.wanted.limit = MAX_MESSAGE
    assert reader.feed(peer.text("c") + peer.binary(bytes(300))) == ["c", bytes(300)]
    reader.wanted.limit = 0
    assert reader.feed(peer.text("d") + peer.binary(bytes(300))) == []


def test_message_that_began_unwanted_is_not_said_to_be_too_large(peer: Peer) -> None:
    reader = peer.reader(limit=0)
    first, second = peer.fragments(Opcode.TEXT, b"ab", b"c")
    assert reader.feed(first) == []
    reader.wanted.limit = MAX_MESSAGE
    assert reader.feed(second + peer.text("d")) == ["d"]


def test_lowered_limit_ends_the_message_under_way(peer: Peer) -> None:
    reader = peer.reader(limit=100)
    first, second = peer.fragments(Opcode.TEXT, b"ab", b"c")
    assert reader.feed(first) == []
    reader.wanted.limit = 2
    assert reader.feed(second + peer.text("d")) == [TooLarge(Opcode.TEXT), "d"]


# As much work as fits


@pytest.mark.parametrize("work", [1, 3, 10, 1000])
@pytest.mark.parametrize("limit", [0, 3, MAX_MESSAGE])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_reading_in_steps_finds_what_reading_at_once_finds(
    peer: Peer, work: int, limit: int, lazy: bool, size: int
) -> None:
    fragments = b"".join(peer.fragments(Opcode.TEXT, b"one ", b"", b"message"))
    ping, texts = peer.frame(Opcode.PING, b"?"), peer.text("ab") + peer.text("") + peer.text("abcd" * 50)
    stream = (ping * 3 + texts * 5 + fragments + peer.binary(bytes(200)) + ping + texts) * 3
    at_once, in_steps = peer.reader(limit=limit), peer.reader(limit=limit)
    at_once.wanted.lazy = in_steps.wanted.lazy = lazy
    expected, events = at_once.feed(stream), []
    for piece in pieces(stream, size):
        while piece:
            events += in_steps.feed(piece, work)
            assert in_steps.work < work + 16 * 1024
            assert piece.endswith(in_steps.rest)
            assert len(in_steps.rest) < len(piece)
            piece = in_steps.rest
    assert [each for event in events for each in flat(event)] == [
        each for event in expected for each in flat(event)
    ]
    assert in_steps.at_boundary


def flat(event: Event) -> list[object]:
    return list(event) if isinstance(event, LazyBatch) else [event]


def test_rest_has_no_byte_of_an_earlier_piece(peer: Peer) -> None:
    """A stream forwards each piece without its rest. A byte that comes back would be forwarded twice."""
    reader, frame = peer.reader(), peer.frame(Opcode.PING, b"hi")
    reader.feed(frame[:1])
    events = reader.feed(frame[1:], 0)
    assert len(reader.rest) < len(frame)
    assert events + reader.feed(reader.rest) == [ControlFrame(Opcode.PING, b"hi")]


def test_work_of_a_flood_is_that_of_its_frames(peer: Peer) -> None:
    reader = peer.reader()
    reader.feed(peer.text("a") * 100)
    assert reader.work == 100
    reader.feed(peer.frame(Opcode.PING) * 100)
    assert reader.work >= 100
    reader.feed(b"".join(peer.fragments(Opcode.TEXT, *[b"a"] * 100)))
    assert reader.work >= 100
    reader.wanted.lazy = True
    reader.feed(peer.text("a") * 100)
    assert reader.work >= 25
