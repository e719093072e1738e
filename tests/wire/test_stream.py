"""One direction of a socket: what is forwarded, when, and where messages of ours fit in."""

import os
from collections.abc import Iterable

import pytest

from support.frames import Peer, pieces
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode, ProtocolError
from wirewright.wire.reader_events import ControlFrame, Deflated, Event
from wirewright.wire.stream import Close, Encoder, Mode, Received, Stream

TAKEOVER = Compression()
NO_TAKEOVER = Compression(takeover=False)
LONG = "long " * 300
PING = ControlFrame(Opcode.PING, b"?")


def stream_of(peer: Peer) -> Stream:
    """The direction that comes from `peer`."""
    compression = peer.compression
    encoder = Encoder(masked=peer.client, compression=compression)
    return Stream(peer.reader(), encoder, shared_window=compression is not None and compression.takeover)


def holding(peer: Peer) -> Stream:
    stream = stream_of(peer)
    stream.wished = Mode.HOLD
    assert stream.receive(b"") == Received(Mode.HOLD, b"", [])
    return stream


def forwarded(stream: Stream, parts: Iterable[bytes]) -> bytes:
    return b"".join(stream.receive(part).forward for part in parts)


def arriving(peer: Peer, data: bytes) -> list[Event]:
    """What the other end reads. It fails for what breaks the protocol, or ends by half."""
    reader = peer.reader()
    events = reader.feed(data)
    assert reader.failure is None
    assert reader.at_boundary
    return events


def conversation(peer: Peer) -> list[bytes]:
    """Frames of every kind; at the end no message is under way."""
    first, second, third = peer.fragments(Opcode.TEXT, b"a" * 200, b"", b"b")
    ping = peer.frame(Opcode.PING, b"?")
    frames = [peer.text("hello"), first, ping, second, third, peer.binary(b""), peer.binary(bytes(700))]
    if peer.compression is None:
        return frames
    early, late = peer.deflate(LONG.encode()), peer.compressed(LONG)
    return [*frames, *peer.fragments(Opcode.TEXT, early[:3], early[3:], rsv1=True), late]


@pytest.fixture(params=[True, False], ids=["from client", "from server"])
def client(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(params=[None, TAKEOVER, NO_TAKEOVER], ids=["plain", "takeover", "no takeover"])
def peer(request: pytest.FixtureRequest, client: bool) -> Peer:
    return Peer(client=client, compression=request.param)


# PASS


@pytest.mark.parametrize("size", [1, 7, 131, 1_000_000])
def test_pass_forwards_each_piece_at_once_and_unchanged(peer: Peer, size: int) -> None:
    stream, data = stream_of(peer), b"".join(conversation(peer))
    read: list[Event] = []
    for part in pieces(data, size):
        received = stream.receive(part)
        assert received.forward == part
        assert received.ours == ()
        read += received.events
    assert read == arriving(peer, data)


@pytest.mark.parametrize("after", range(3))
def test_pass_forwards_what_breaks_the_protocol(peer: Peer, after: int) -> None:
    stream = stream_of(peer)
    parts = [*conversation(peer)[:after], peer.frame(0x3, b"x"), peer.text("more"), b"nonsense"]
    assert [stream.receive(part).forward for part in parts] == parts
    assert isinstance(stream.reader.failure, ProtocolError)


def test_pass_forwards_though_nobody_wants_to_read(peer: Peer) -> None:
    stream, data = stream_of(peer), b"".join(conversation(peer))
    stream.reader.wanted.limit = 0
    assert forwarded(stream, pieces(data, 100)) == data


# Messages of ours in PASS


def test_message_of_ours_goes_at_once_between_messages(peer: Peer) -> None:
    stream = stream_of(peer)
    for frame in (b"", peer.text("theirs"), *peer.fragments(Opcode.TEXT, b"a", b"b")):
        stream.receive(frame)
    sent = [stream.send("ours"), stream.send(b"\x00"), stream.send("")]
    assert [arriving(peer, data or b"") for data in sent] == [["ours"], [b"\x00"], [""]]
    assert stream.receive(b"").ours == ()


@pytest.mark.parametrize("cut", range(1, 6))
def test_messages_of_ours_wait_for_the_end_of_a_message_and_keep_their_order(cut: int, client: bool) -> None:
    peer = Peer(client=client)
    stream, theirs, next_one = stream_of(peer), peer.text("theirs"), peer.text("next")
    assert stream.receive(theirs[:cut]).forward == theirs[:cut]
    assert [stream.send("one"), stream.send(b"two")] == [None, None]
    received = stream.receive(theirs[cut:] + next_one[:3])
    assert received.forward.startswith(theirs[cut:])
    assert received.forward.endswith(next_one[:3])
    assert arriving(peer, received.forward[len(theirs) - cut : -3]) == ["one", b"two"]
    assert received.ours == ["one", b"two"]
    assert received.events == ["theirs"]
    assert stream.receive(next_one[3:]) == Received(Mode.PASS, next_one[3:], ["next"])


def test_message_of_ours_never_goes_between_fragments(client: bool) -> None:
    peer = Peer(client=client)
    stream = stream_of(peer)
    first, second, third = peer.fragments(Opcode.TEXT, b"a", b"b", b"c")
    stream.receive(first)
    assert stream.send("ours") is None
    for frame in (peer.frame(Opcode.PING, b"?"), second, b""):
        received = stream.receive(frame)
        assert received.forward == frame
        assert received.ours == ()
    received = stream.receive(third)
    assert received.forward.startswith(third)
    assert arriving(peer, received.forward.removeprefix(third)) == ["ours"]


@pytest.mark.parametrize("size", [1, 5, 131, 1000])
def test_messages_of_ours_arrive_whole_and_in_order_wherever_they_are_sent(peer: Peer, size: int) -> None:
    stream, data = stream_of(peer), b"".join(conversation(peer))
    sent: list[Event] = []
    reported: list[Event] = []
    out = b""
    for turn, part in enumerate(pieces(data, size)):
        received = stream.receive(part)
        out += received.forward
        reported += map(str, received.ours)
        if turn % 7 == 0:
            ours = f"ours {turn}"
            sent.append(ours)
            if frame := stream.send(ours):
                out += frame
                reported.append(ours)
    arrived = arriving(peer, out)
    assert [event for event in arrived if event in sent] == reported == sent
    assert [event for event in arrived if event not in sent] == arriving(peer, data)


def test_long_message_of_ours_leaves_the_windows_of_the_ends_as_they_were(client: bool) -> None:
    # RFC 7692, 7.1.1: what follows refers to what the app or the server said, and knows nothing of ours.
    peer = Peer(client=client, compression=TAKEOVER)
    stream = stream_of(peer)
    ours = os.urandom(1000).hex()
    early, late = peer.compressed(LONG), peer.compressed(LONG + "again")
    out = forwarded(stream, [early])
    out += stream.send(ours) or b""
    out += forwarded(stream, [late[:2]])
    assert stream.send(ours) is None
    out += forwarded(stream, [late[2:], peer.compressed(LONG + "and again")])
    assert arriving(peer, out) == [LONG, ours, LONG + "again", ours, LONG + "and again"]


@pytest.mark.parametrize("rest", [b"", b"\x00more"])
def test_nothing_of_ours_is_put_after_what_broke_the_protocol(client: bool, rest: bytes) -> None:
    peer = Peer(client=client)
    stream = stream_of(peer)
    broken = peer.frame(0x3, b"x" * 100)
    stream.receive(peer.text("hello") + broken[:50])
    assert stream.send("ours") is None
    assert stream.receive(broken[50:] + rest).forward == broken[50:] + rest


def test_nothing_of_ours_is_put_into_what_nobody_can_read(client: bool) -> None:
    # As with an extension that is not understood: nobody knows where a frame ends.
    peer = Peer(client=client)
    stream = stream_of(peer)
    stream.reader.failure = ProtocolError("unknown extension x-none")
    stream.receive(peer.text("half of it")[:4])
    assert stream.send("ours") is None


# HOLD


@pytest.mark.parametrize("size", [1, 7, 131, 1_000_000])
def test_hold_forwards_nothing_and_hands_out_all(peer: Peer, size: int) -> None:
    stream, data = holding(peer), b"".join(conversation(peer))
    read: list[Event] = []
    for part in pieces(data, size):
        received = stream.receive(part)
        assert (received.mode, received.forward) == (Mode.HOLD, b"")
        read += received.events
    assert [each.payload if isinstance(each, Deflated) else each for each in read] == arriving(peer, data)
    assert sum(isinstance(each, Deflated) for each in read) == (2 if peer.compression else 0)
    assert PING in read


def test_message_of_ours_goes_at_once_in_hold_as_all_that_goes_is_whole(client: bool) -> None:
    peer = Peer(client=client)
    stream = holding(peer)
    stream.receive(peer.text("theirs")[:4])
    assert arriving(peer, stream.send("ours") or b"") == ["ours"]


# Changing the mode


def test_it_begins_in_pass(peer: Peer) -> None:
    stream = stream_of(peer)
    assert (stream.mode, stream.wished) == (Mode.PASS, Mode.PASS)


def test_mode_changes_only_between_messages(client: bool) -> None:
    peer = Peer(client=client)
    stream = stream_of(peer)
    first, second = peer.fragments(Opcode.TEXT, b"a", b"b")
    stream.receive(first[:3])
    stream.wished = Mode.HOLD
    for part in (first[3:], peer.frame(Opcode.PING, b"?"), second[:1], second[1:]):
        received = stream.receive(part)
        assert (received.mode, received.forward) == (Mode.PASS, part)
    assert stream.receive(peer.text("held")) == Received(Mode.HOLD, b"", ["held"])
    first, second = peer.fragments(Opcode.TEXT, b"c", b"d")
    assert stream.receive(first) == Received(Mode.HOLD, b"", [])
    stream.wished = Mode.PASS
    assert stream.receive(second) == Received(Mode.HOLD, b"", ["cd"])
    assert stream.receive(peer.text("free")) == Received(Mode.PASS, peer.text("free"), ["free"])


def test_hold_begins_though_no_piece_ends_with_a_message(client: bool) -> None:
    # So it is in a flood: the pieces are what TCP makes of it.
    peer = Peer(client=client)
    stream = stream_of(peer)
    names = [f"message {number}" for number in range(10)]
    data = b"".join(map(peer.text, names))
    size = len(peer.text(names[0]))
    out, held = b"", []
    for turn, part in enumerate(pieces(data, size // 2, size)):
        stream.wished = Mode.HOLD if turn else Mode.PASS
        received = stream.receive(part)
        out += received.forward
        if received.mode is Mode.HOLD:
            held += received.events
    assert len(held) > len(names) / 2
    assert [*arriving(peer, out), *held] == names


def test_nothing_is_lost_or_doubled_when_the_mode_changes_anywhere(client: bool) -> None:
    peer = Peer(client=client)
    names: list[Event] = [f"message {number}" * (1 + number % 3) for number in range(30)]
    data = b"".join(peer.text(str(name)) for name in names)
    for size in (1, 7, 50, 200):
        stream, out = stream_of(peer), b""
        for turn, part in enumerate(pieces(data, size)):
            stream.wished = Mode.HOLD if turn // 5 % 2 else Mode.PASS
            received = stream.receive(part)
            out += received.forward
            if received.mode is Mode.HOLD:
                out += b"".join(peer.text(str(event)) for event in received.events)
        assert arriving(peer, out) == names


def test_waiting_messages_of_ours_are_handed_out_where_hold_begins(client: bool) -> None:
    peer = Peer(client=client)
    stream, theirs = stream_of(peer), peer.text("theirs")
    stream.receive(theirs[:3])
    stream.wished = Mode.HOLD
    assert stream.send("ours") is None
    received = stream.receive(theirs[3:] + peer.text("more")[:3])
    assert (received.forward, received.ours) == (theirs[3:], ["ours"])
    assert stream.mode is Mode.HOLD
    stream.receive(peer.text("more")[3:])
    assert stream.receive(peer.text("held")) == Received(Mode.HOLD, b"", ["held"])


def test_hold_stays_where_messages_share_a_window(peer: Peer) -> None:
    # The destination does not know what the source's next messages refer to.
    stream = holding(peer)
    stream.receive(peer.text("held"))
    stream.wished = Mode.PASS
    stream.receive(peer.text("held or free"))
    assert stream.mode is (Mode.HOLD if peer.compression == TAKEOVER else Mode.PASS)


# Closing

CLOSE = Close(3000, "bye")
BYE = ControlFrame(Opcode.CLOSE, b"\x0b\xb8bye")


@pytest.mark.parametrize("fragments", [0, 1, 2])
def test_close_frame_of_ours_fits_between_the_frames_of_a_message(client: bool, fragments: int) -> None:
    peer = Peer(client=client)
    stream, frames = stream_of(peer), peer.fragments(Opcode.TEXT, b"a", b"b")
    for frame in frames[:fragments]:
        stream.receive(frame)
    assert peer.reader().feed(stream.send(CLOSE) or b"") == [BYE]


def test_nothing_follows_a_close_frame_of_ours_but_is_read(client: bool) -> None:
    peer = Peer(client=client)
    stream = stream_of(peer)
    assert not stream.ended
    stream.send(CLOSE)
    assert stream.ended
    assert stream.receive(peer.text("late")) == Received(Mode.PASS, b"", ["late"])


def test_close_frame_of_ours_waits_for_the_end_of_a_frame(client: bool) -> None:
    peer = Peer(client=client)
    frame, late = peer.text("theirs"), peer.text("late")
    for cut in range(1, len(frame)):
        stream = stream_of(peer)
        stream.receive(frame[:cut])
        assert (stream.send(CLOSE), stream.ended) == (None, False)
        received = stream.receive(frame[cut:] + late[:3])
        assert received.ours == [CLOSE]
        assert stream.ended
        assert peer.reader().feed(frame[:cut] + received.forward) == ["theirs", BYE]
        assert stream.receive(late[3:]).forward == b""


def test_close_frame_of_ours_overtakes_nothing_that_waits(client: bool) -> None:
    peer = Peer(client=client)
    stream, (first, second) = stream_of(peer), peer.fragments(Opcode.TEXT, b"a", b"b")
    stream.receive(first)
    assert [stream.send("ours"), stream.send(CLOSE)] == [None, None]
    received = stream.receive(second)
    assert received.ours == ["ours", CLOSE]
    assert peer.reader().feed(first + received.forward) == ["ab", "ours", BYE]


def test_close_frame_of_ours_goes_before_what_waits_where_that_may_not_end(client: bool) -> None:
    peer = Peer(client=client)
    stream, (first, _) = stream_of(peer), peer.fragments(Opcode.TEXT, b"a", b"b")
    stream.receive(first)
    assert stream.send("ours") is None
    assert peer.reader().feed(stream.end(CLOSE) or b"") == [BYE]


def test_close_frame_of_ours_fits_nowhere_into_a_frame(client: bool) -> None:
    peer = Peer(client=client)
    frame = peer.text("theirs")
    for cut in range(1, len(frame)):
        stream = stream_of(peer)
        stream.receive(frame[:cut])
        assert stream.end(CLOSE) is None


def test_close_frame_of_ours_always_fits_in_hold(client: bool) -> None:
    peer = Peer(client=client)
    stream = holding(peer)
    stream.receive(peer.text("theirs")[:4])
    assert peer.reader().feed(stream.send(CLOSE) or b"") == [BYE]
