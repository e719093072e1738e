"""The codec against wsproto: the same messages, or both call it a violation.

The two differ on purpose, or by a defect of wsproto, in what follows; the tests allow just that.

- A close code that no RFC defines is delivered by ours, as by a browser; wsproto refuses it.
- wsproto reads nothing after a close frame; ours calls what follows a violation, as a browser does.
- wsproto looks at UTF-8 as it comes, ours at the whole message: ours still reads the control frames between
  the fragments of a broken text message.
- wsproto looks at a data frame's place among the fragments with the payload's first byte, ours at its header.
- wsproto's inflater ends with a final block, ours starts anew (RFC 7692, 7.2.3.4).
- wsproto forgets that a message is compressed when a control frame comes between its fragments.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from wsproto import frame_protocol
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
    RsvBits,
)

from support.frames import KEY, MAX_MESSAGE, pieces
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import ProtocolError, decode_close, encode_frame
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import ControlFrame, TooLarge

Said = str | bytes | tuple[str, bytes] | tuple[int, str]
"""A message, a control frame by its name, or a close."""

fuzz = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.fixture(autouse=True, scope="module")
def _same_masks() -> Iterator[None]:
    """wsproto takes its masks from here: what failed once must fail again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_protocol, "os", SimpleNamespace(urandom=lambda size: KEY[:size]))
        yield


class Deflate(PerMessageDeflate):
    """wsproto's extension without its defect, for one direction."""

    def __init__(self, compression: Compression) -> None:
        super().__init__(
            client_no_context_takeover=not compression.takeover,
            client_max_window_bits=compression.window_bits,
            server_no_context_takeover=not compression.takeover,
            server_max_window_bits=compression.window_bits,
        )
        self.finalize(self.name)
        self.met_final_block = False
        self._compressed: bool | None = None

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._compressed = self._inbound_compressed
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_complete(
        self, proto: FrameDecoder | FrameProtocol, fin: bool
    ) -> bytes | CloseReason | None:
        if not self._inbound_is_compressible:
            self._inbound_compressed = self._compressed
            return None
        inflater = self._decompressor
        result = super().frame_inbound_complete(proto, fin)
        if inflater is not None and inflater.eof:
            self.met_final_block = True
        return result


@dataclass
class Reading:
    """What a decoder made of a stream, up to its close frame or a violation."""

    said: list[Said] = field(default_factory=list)
    failed: bool = False
    closed: bool = False


@dataclass(frozen=True)
class Sender:
    """Who sends, and what was agreed."""

    client: bool
    compression: Compression | None

    def sender(self, *, compressing: bool = True) -> FrameProtocol:
        return FrameProtocol(self.client, [*self._extensions()] if compressing else [])

    def receiver(self) -> tuple[FrameProtocol, list[Deflate]]:
        extensions = self._extensions()
        return FrameProtocol(not self.client, list(extensions)), extensions

    def reader(self) -> MessageReader:
        return MessageReader(masked=self.client, compression=self.compression, max_message=MAX_MESSAGE)

    def _extensions(self) -> list[Deflate]:
        return [Deflate(self.compression)] if self.compression else []


def read_by_wsproto(receiver: FrameProtocol, data: bytes) -> Reading:
    # The stream in one piece: a header that comes in two confuses the extension.
    reading = Reading()
    receiver.receive_bytes(data)
    parts: list[str | bytes] = []
    try:
        for frame in receiver.received_frames():
            payload = frame.payload
            if isinstance(payload, tuple):
                reading.said.append((int(payload[0]), payload[1]))
                reading.closed = True
            elif frame.opcode.iscontrol():
                assert not isinstance(payload, str)
                reading.said.append((frame.opcode.name, bytes(payload)))
            else:
                parts.append(payload)
                if frame.message_finished:
                    empty = "" if isinstance(payload, str) else b""
                    reading.said.append(empty.join(parts))  # type: ignore[arg-type]
                    parts.clear()
    except ParseFailed:
        reading.failed = True
    return reading


def read_by_ours(reader: MessageReader, parts: Iterator[bytes]) -> Reading:
    reading = Reading()
    for part in parts:
        for said in reader.feed(part):
            if isinstance(said, TooLarge):
                continue  # its header announces more than the stream has, so wsproto waits for the rest
            if not isinstance(said, ControlFrame):
                assert isinstance(said, str | bytes)
                reading.said.append(said)
            elif said.opcode != Opcode.CLOSE:
                reading.said.append((Opcode(said.opcode).name, said.payload))
            else:
                try:
                    reading.said.append(decode_close(said.payload))
                    reading.closed = True
                except ProtocolError:
                    reading.failed = True
                return reading
    reading.failed = reader.failure is not None
    return reading


def refused_by_wsproto(code: int) -> bool:
    return not 1000 <= code <= 4999 or (code < 3000 and code not in set(CloseReason))


@st.composite
def messages(draw: st.DrawFn, direction: Sender) -> tuple[bytes, list[Said]]:
    """A stream that wsproto encoded, and what it says."""
    sender = direction.sender()
    plain = direction.sender(compressing=False)
    stream, said = b"", list[Said]()

    def control() -> None:
        nonlocal stream
        for payload in draw(st.lists(st.binary(max_size=125), max_size=2)):
            pong = draw(st.booleans())
            stream += sender.pong(payload) if pong else sender.ping(payload)
            said.append(("PONG" if pong else "PING", payload))

    text = st.text(max_size=200)
    payload = st.binary(max_size=300) | st.builds(lambda data, times: data * times, st.binary(), st.just(900))
    fragments = st.lists(text, min_size=1, max_size=4) | st.lists(payload, min_size=1, max_size=4)
    for parts in draw(st.lists(fragments, max_size=6)):
        used = plain if draw(st.booleans()) else sender
        for index, part in enumerate(parts, 1):
            control()
            stream += used.send_data(part, fin=index == len(parts))
        said.append("".join(parts) if isinstance(parts[0], str) else b"".join(parts))  # type: ignore[arg-type]
    control()
    if draw(st.booleans()):
        code = draw(st.sampled_from([None, 1000, 1001, 1011, 3000, 4999]))
        reason = "" if code is None else draw(st.text(max_size=30))
        stream += sender.close(code, reason)
        said.append((1005 if code is None else code, reason))
    return stream, said


compressions = st.none() | st.builds(Compression, st.integers(9, 15), st.booleans())
directions = st.builds(Sender, st.booleans(), compressions)
sizes = st.lists(st.integers(1, 9) | st.integers(10, 3000), min_size=1, max_size=9)


@fuzz
@given(st.data(), directions, sizes)
def test_what_wsproto_encodes_is_read_as_it_reads_it(
    data: st.DataObject, direction: Sender, sizes: list[int]
) -> None:
    stream, said = data.draw(messages(direction))
    reader = direction.reader()
    assert read_by_ours(reader, pieces(stream, *sizes)).said == said
    assert reader.failure is None
    reading = read_by_wsproto(direction.receiver()[0], stream)
    assert (reading.said, reading.failed) == (said, False)


Change = tuple[str, int, int]
changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "insert", "remove", "cut"]), st.integers(0, 5000), st.integers(0, 255)
    ),
    min_size=1,
    max_size=4,
)


def changed(stream: bytes, changes: list[Change]) -> bytes:
    data = bytearray(stream or b"\0")
    for kind, place, value in changes:
        position = place % (len(data) or 1)
        if kind == "insert":
            data.insert(position, value)
        elif kind == "cut":
            del data[len(data) - position % 8 :]
        elif kind == "remove":
            del data[position : position + 1]
        elif data:
            data[position] = value if kind == "set" else data[position] ^ 1 << value % 8
    return bytes(data)


def assert_same(direction: Sender, stream: bytes, sizes: list[int]) -> None:
    receiver, extensions = direction.receiver()
    theirs = read_by_wsproto(receiver, stream)
    reader = direction.reader()
    ours = read_by_ours(reader, pieces(stream, *sizes))
    if any(extension.met_final_block for extension in extensions):
        event("final block")
        return
    if ours.closed and theirs.failed:
        last = ours.said.pop()
        assert isinstance(last, tuple)
        assert isinstance(last[0], int)
        if ours.said == theirs.said and refused_by_wsproto(last[0]):
            event("undefined close code")
            return
        ours.said.append(last)
    more = ours.said[len(theirs.said) :]
    assert ours.said[: len(theirs.said)] == theirs.said
    assert all(isinstance(said, tuple) for said in more)  # between the fragments of a broken text message
    if theirs.failed and not ours.failed:
        event("violation in what is not whole")
        assert not (reader.at_boundary and not ours.closed)
    elif ours.failed and not theirs.failed:
        event("violation in a header")
        assert read_by_wsproto(receiver, bytes(16)).failed
    else:
        event("both failed" if ours.failed else "both read it")
        assert not more or ours.failed


# With the largest window, whose end no message here reaches: what refers to data beyond a smaller one is
# found out or not by how the pieces fall.
mutable = st.builds(Sender, st.booleans(), st.none() | st.builds(Compression, st.just(15), st.booleans()))


@settings(fuzz, max_examples=150)
@given(st.data(), mutable, changes, sizes)
def test_what_was_changed_on_the_way_is_judged_as_by_wsproto(
    data: st.DataObject, direction: Sender, changes: list[Change], sizes: list[int]
) -> None:
    assert_same(direction, changed(data.draw(messages(direction))[0], changes), sizes)


@settings(fuzz, max_examples=20)
@given(mutable, sizes)
def test_message_that_is_longer_than_the_stream_is_judged_as_by_wsproto(
    sender: Sender, sizes: list[int]
) -> None:
    length = bytes([0xFF if sender.client else 0x7F]) + (MAX_MESSAGE + 1).to_bytes(8)
    assert_same(sender, b"\x82" + length + bytes(100), sizes)


bits = st.sampled_from([0x80, 0x80, 0x80, 0, 0x40, 0xC0, 0xC0, 0x20, 0x90])
opcodes = st.sampled_from([0, 0, 1, 1, 2, 2, 8, 9, 10, 3, 11])
payloads = (
    st.binary(max_size=20) | st.text(max_size=9).map(str.encode) | st.sampled_from([b"\x03\xe8", bytes(130)])
)


@settings(fuzz, max_examples=150)
@given(mutable, st.lists(st.tuples(bits, opcodes, payloads), max_size=8), sizes)
@example(Sender(False, Compression(takeover=False)), [(0xC0, 1, b"\x02"), (0xC0, 1, b"\xf2\x48\0")], [1])
def test_frames_in_any_order_are_judged_as_by_wsproto(
    direction: Sender, frames: list[tuple[int, int, bytes]], sizes: list[int]
) -> None:
    mask = KEY if direction.client else None
    stream = b"".join(
        encode_frame(opcode | first & 0x30, payload, mask=mask, fin=first > 0x7F, rsv1=bool(first & 0x40))
        for first, opcode, payload in frames
    )
    assert_same(direction, stream, sizes)


@settings(fuzz, max_examples=150)
@given(mutable, st.binary(max_size=300) | st.binary(min_size=300, max_size=3000), sizes)
def test_any_bytes_are_judged_as_by_wsproto(direction: Sender, stream: bytes, sizes: list[int]) -> None:
    assert_same(direction, stream, sizes)


headers = st.builds(
    lambda first, second, length, mask: bytes([first, second]) + length + mask,
    st.sampled_from([0x01, 0x81, 0x02, 0x82, 0x00, 0x80, 0xC1, 0x42, 0x88, 0x89]),
    st.integers(0, 255),
    st.sampled_from([b"", b"\x00\x7e", b"\xff\xff", b"\0\0\0\0\0\1\0\0", b"\x7f" + b"\xff" * 7, b"\xff" * 8]),
    st.sampled_from([b"", KEY]),
)


@settings(fuzz, max_examples=150)
@given(
    directions,
    st.lists(headers | st.binary(max_size=200), max_size=20),
    sizes,
    st.sampled_from([0, 1, 10, 125, 1000]),
)
def test_nothing_but_a_recorded_violation_comes_of_any_bytes(
    direction: Sender, parts: list[bytes], sizes: list[int], limit: int
) -> None:
    reader = MessageReader(
        masked=direction.client, compression=direction.compression, max_message=1000, limit=limit
    )
    for part in pieces(b"".join(parts), *sizes):
        failed = reader.failure
        for said in reader.feed(part):
            assert failed is None
            if isinstance(said, str | bytes):
                assert len(said) <= limit
        assert reader.failure is None or isinstance(reader.failure, ProtocolError)
        assert failed is None or reader.failure is failed
        assert reader.boundary is None or 0 <= reader.boundary <= len(part)
