"""Reading the messages of one direction from its bytes: RFC 6455, sections 5.4 and 5.5.

Bytes come in pieces of any size. A message of a hundred bytes costs half a microsecond on its way through
here, and a large one costs the same for each of its megabytes.
"""

import sys
from dataclasses import dataclass

from wirewright.memory import MemoryUse, Share, budget
from wirewright.wire.deflate import MESSAGE_TAIL, Compression, Inflater
from wirewright.wire.frames import (
    FIN,
    MASK_SIZE,
    MASKED,
    MAX_CONTROL_PAYLOAD,
    CloseCode,
    FrameCutter,
    Opcode,
    ProtocolError,
    apply_mask,
)
from wirewright.wire.lazy import LazyBatch, OneMessage, ShortMessages
from wirewright.wire.payload_buffer import Parts

_RSV = 0x70
_RSV1 = 0x40
_WHOLE_TEXT = FIN | Opcode.TEXT
_WHOLE_BINARY = FIN | Opcode.BINARY
_WINDOW = 16 * 1024
"""Bytes in which short messages are read before the work is looked at."""
_UNREAD_BATCH = 2
"""Short messages without a listener that take one unit of work together."""
_FRAME_WORK = 6
"""The work of a frame that is not read as a short message, and of a part that is inflated."""
_REPORTED_STEP = 128 * 1024
"""An incomplete message reports to the memory budget after so many bytes. Most messages are smaller."""
_COMPRESSED_PART = 4 * 1024
"""Bytes that are inflated at a time: the result has at most 1,032 times as many."""
_INFLATED_WORK = 1024
"""Inflated bytes that are as much work as a short message."""
_AFTER_CLOSE: dict[int, str] = {Opcode.PING: "Ping", Opcode.PONG: "Pong", Opcode.CLOSE: "Close"}
_BAD_TEXT = "Could not decode a text frame as UTF-8."


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A ping, a pong or a close frame."""

    opcode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A message that is dropped, because it is above the limit or memory is short. It may be incomplete."""

    opcode: int
    lacks_memory: bool = False


@dataclass(frozen=True, slots=True)
class Deflated:
    """A message that its sender had compressed, inflated."""

    payload: str | bytes


@dataclass(frozen=True, slots=True)
class Violation:
    """Bytes that broke the protocol: enough for another reader to fail in the same way."""

    error: ProtocolError
    opcode: int
    """Of the message that was under way; 0 between messages."""
    content: bytes
    """The content of that message before the frame, or the text that is not UTF-8."""
    frame: bytes
    """The frame, as it came so far, if its header broke the protocol."""


Event = str | bytes | Deflated | LazyBatch | ControlFrame | TooLarge
"""A `str` is a text message and `bytes` a binary one, whole and inflated."""


class MessageReader:
    """Reads one direction.

    `masked` tells whether its frames must be masked (5.1: a client's must, a server's must not).
    """

    limit: int
    """The largest wanted message, in bytes. With 0 only frame headers are read, and messages that a shared
    compression window needs."""
    lazy: bool
    """True if messages are only remembered: they are then returned as LazyBatch."""
    holds: bool
    """True in HOLD. A compressed message is then returned as Deflated, and an incomplete message is dropped
    last when memory is short."""
    failure: ProtocolError | None
    """The violation that ended the reading. Later bytes are ignored."""
    violation: Violation | None
    """The bytes that caused `failure`."""
    only_messages: bool
    """True if the last feed returned messages only, and no control frame or TooLarge."""
    boundary: int | None
    """The offset in the last feed's data at which a message of ours fits: after the last whole message. None
    if there is no such place."""
    work: int
    """Units of work of the last feed. A short message of one frame is one unit."""
    rest: bytes
    """The unread end of the last feed's data: to be fed next. Empty unless the feed reached its `work`."""

    def __init__(
        self,
        *,
        masked: bool,
        compression: Compression | None = None,
        max_message: int,
        limit: int | None = None,
    ) -> None:
        """`max_message` is the largest message, in bytes, that is ever kept or inflated; `limit` is at most
        as large, and no smaller if it is not given."""
        self.limit = max_message if limit is None else limit
        self.lazy = self.holds = False
        self.failure = self.violation = None
        self.only_messages = True
        self.boundary = 0
        self.work, self.rest = 0, b""
        self._masked = masked
        self._max_message = max_message
        self._closed = False
        self._inflater = Inflater(compression) if compression else None
        self._lost_window = False
        self._tail = b""
        # The message that is under way; its opcode is 0 between messages.
        self._opcode = 0
        self._compressed = False
        self._kept = False
        self._parts = Parts()
        self._size = 0
        self._reported, self._reported_at = 0, _REPORTED_STEP
        self._share: Share | None = None
        self._is_given_up = False
        # The data frame that is under way.
        self._remaining = 0
        self._fin = False
        self._mask = b""
        # The frame, or the text, that broke the protocol.
        self._bad_frame = self._bad_text = b""

    @property
    def at_boundary(self) -> bool:
        """True if the data so far ends with a whole message."""
        return self.between_frames and not self._opcode

    @property
    def between_frames(self) -> bool:
        """True if the data so far ends with a whole frame: a control frame may follow (5.4)."""
        return not (self._remaining or self._tail or self._closed or self.failure)

    def feed(self, data: bytes, work: int = sys.maxsize) -> list[Event]:
        """The messages and control frames that end in `data`. Look at `failure` afterwards.

        Reading stops after about so much `work`, and `rest` is to be fed next.
        """
        events: list[Event] = []
        self.only_messages, self.boundary, self.work, self.rest = True, None, 0, b""
        if self.failure is None:
            try:
                self._feed(data, work, events)
            except ProtocolError as failure:
                self.failure = failure
                self.violation = self._violation(failure)
                self._forget()
                self._tail = b""
        return events

    def _violation(self, failure: ProtocolError) -> Violation:
        if failure.code is CloseCode.PROTOCOL_ERROR:  # its header was wrong
            return Violation(failure, self._opcode, self._parts.join(), self._bad_frame)
        return Violation(failure, self._opcode or Opcode.TEXT, self._bad_text, b"")

    def _feed(self, data: bytes, work: int, events: list[Event]) -> None:
        before = len(self._tail)
        if before:
            data = self._tail + data
        position, size = 0, len(data)
        boundary = 0 if not (self._opcode or self._remaining or self._closed) else -1
        while True:
            if self._remaining:
                position = self._take(data, position, events)
                if not self._remaining:
                    self._end_frame(events)
            if not (self._remaining or self._opcode):
                position = self._take_short_messages(data, position, size, work, events)
                if not self._closed:
                    boundary = position
            if self.work >= work and before <= position < size:  # `rest` has no byte of an earlier feed
                self.rest = data[position:]
                break
            if self._remaining:
                if position < size:
                    continue
                break
            try:
                after = self._begin_frame(data, position, size, events)
            except ProtocolError:
                self._bad_frame = FrameCutter().take(data[position:])
                raise
            if after < 0:
                break
            position = after
            self.work += _FRAME_WORK
        self._tail = b"" if self._remaining or self.rest else data[position:]
        # A frame whose first bytes have gone out already cannot be preceded any more.
        if boundary >= before:
            self.boundary = boundary - before

    def _take_short_messages(
        self, data: bytes, position: int, size: int, work: int, events: list[Event]
    ) -> int:
        """Read whole messages of one frame, uncompressed and below 64 KiB, until something else follows."""
        while not self._closed:
            begin, stop = position, size - 1
            if self.limit and not self.lazy:
                stop = min(stop, position + _WINDOW)
            position = self._take_window(data, position, stop, size, events)
            if position < stop or position == begin or self.work >= work:
                break
        return position

    def _take_window(self, data: bytes, position: int, stop: int, size: int, events: list[Event]) -> int:
        """The hot loop of `_take_short_messages`: messages that begin before `stop`."""
        limit, append = self.limit, events.append
        reads = limit and not self.lazy
        masked = MASKED if self._masked else 0
        header = 2 + MASK_SIZE if masked else 2
        begin, count, long, before = position, 0, 0, len(events)
        try:
            while position < stop:
                first, length = data[position], data[position + 1] - masked
                if first != _WHOLE_TEXT and first != _WHOLE_BINARY:
                    break
                start = position + header
                if length > MAX_CONTROL_PAYLOAD:
                    if length != 126 or size - position < 4:
                        break
                    length = data[position + 2] << 8 | data[position + 3]
                    start += 2
                    if length < 126:
                        break
                elif length < 0:
                    break
                end = start + length
                if end > size:
                    break
                if reads:
                    if length > limit:
                        break
                    payload = data[start:end]
                    if masked:
                        payload = apply_mask(payload, data[start - 4 : start])
                    append(payload.decode() if first == _WHOLE_TEXT else payload)
                else:
                    if length > limit > 0:
                        break
                    count += 1
                    if length > MAX_CONTROL_PAYLOAD:
                        long += 1
                position = end
        except UnicodeDecodeError:
            self._bad_text = payload
            raise ProtocolError(_BAD_TEXT, CloseCode.INVALID_DATA) from None
        if count and limit:
            payloads = position - begin - count * header - long * 2
            append(ShortMessages(data, begin, position, count, payloads, masked=self._masked))
        self.work += len(events) - before + count // _UNREAD_BATCH
        return position

    def _begin_frame(self, data: bytes, position: int, size: int, events: list[Event]) -> int:
        """Read a header, and the whole frame if it is a control frame. Returns -1 while it is incomplete."""
        if size - position < 2:
            return -1
        first, second = data[position], data[position + 1]
        if self._closed:
            name = _AFTER_CLOSE.get(first & 0x0F, "Data frame")
            raise ProtocolError(f"{name} received after close")
        self._check_first(first)
        if bool(second & MASKED) != self._masked:
            raise ProtocolError(
                "A client must mask all frames that it sends to the server."
                if self._masked
                else "A server must not mask any frames that it sends to the client."
            )
        length, start = second & 0x7F, position + 2
        if length > MAX_CONTROL_PAYLOAD:
            wide = 2 if length == 126 else 8
            if size < start + wide:
                return -1
            length = int.from_bytes(data[start : start + wide], "big")
            start += wide
            if length <= (MAX_CONTROL_PAYLOAD if wide == 2 else 0xFFFF) or length >> 63:
                raise ProtocolError("Invalid frame header")
        mask = b""
        if self._masked:
            if size < start + 4:
                return -1
            mask = data[start : start + 4]
            start += 4
        opcode = first & 0x0F
        if opcode >= Opcode.CLOSE:
            return self._control(opcode, data, start, length, mask, events)
        self._begin_data(first, opcode, length, mask, events)
        if not length:
            self._end_frame(events)
        return start

    def _check_first(self, first: int) -> None:
        """Raise ProtocolError for a first byte that is invalid here (5.2, 5.4, and RFC 7692, 6)."""
        opcode = first & 0x0F
        if 2 < opcode < 8 or opcode > Opcode.PONG:
            raise ProtocolError(f"Unrecognized frame opcode: {opcode}")
        if first & _RSV1 and opcode == Opcode.CONTINUATION and self._inflater is not None:
            raise ProtocolError("Invalid frame header")
        compressible = self._inflater is not None and opcode in (Opcode.TEXT, Opcode.BINARY)
        if first & (_RSV & ~_RSV1 if compressible else _RSV):
            bits = ", ".join(f"reserved{bit} = {first >> (7 - bit) & 1}" for bit in (1, 2, 3))
            raise ProtocolError(f"One or more reserved bits are on: {bits}")
        if opcode >= Opcode.CLOSE:
            if not first & FIN:
                raise ProtocolError("Invalid frame header")
        elif opcode == Opcode.CONTINUATION:
            if not self._opcode:
                raise ProtocolError("Received unexpected continuation frame.")
        elif self._opcode:
            raise ProtocolError("Received start of new message but previous message is unfinished.")

    def _control(
        self, opcode: int, data: bytes, start: int, length: int, mask: bytes, events: list[Event]
    ) -> int:
        if length > MAX_CONTROL_PAYLOAD:
            raise ProtocolError("Invalid frame header")
        end = start + length
        if end > len(data):
            return -1
        payload = data[start:end]
        self._closed = opcode == Opcode.CLOSE
        self.only_messages = False
        events.append(ControlFrame(opcode, apply_mask(payload, mask) if mask else payload))
        return end

    def give_way(self, size: int) -> None:
        """Drop the incomplete message as a whole, whatever `size` is. In HOLD nothing is dropped."""
        if not self.holds:
            self._give_up()

    def _give_up(self) -> None:
        """Drop the incomplete message. The next part of it returns a TooLarge."""
        self._is_given_up = True
        self._parts = Parts()
        self._report_memory(0)

    def _report_memory(self, size: int) -> None:
        """Tell the memory budget of the message that is under way."""
        if self._share is None:
            self._share = budget.share(MemoryUse.UNFINISHED, self)
        self._reported, self._reported_at = size, size + _REPORTED_STEP
        self._share.set(size)

    def _has_grown(self) -> None:
        """Give up the message that is under way if there is no memory for it."""
        self._report_memory(self._size)
        if self.holds and not budget.has_room(MemoryUse.HELD):
            self._give_up()

    def _begin_data(self, first: int, opcode: int, length: int, mask: bytes, events: list[Event]) -> None:
        if opcode != Opcode.CONTINUATION:
            self._opcode = opcode
            self._compressed = bool(first & _RSV1)
            self._size = 0
            self._kept = self.limit > 0
            if self._compressed and self._inflater is not None:
                self._inflater.begin()
                if self._lost_window:
                    self._drop(events)
        self._fin = bool(first & FIN)
        self._remaining = length
        self._mask = mask
        if not self._compressed and self._size + length > self.limit:
            self._drop(events)

    def _take(self, data: bytes, position: int, events: list[Event]) -> int:
        """The part of the frame's payload that is here; of a compressed one no more than a small part."""
        if self._is_given_up:
            self._drop(events)
        end = min(position + self._remaining, len(data))
        is_read = self._kept or self._inflates()
        if is_read and self._compressed:
            end = min(end, position + _COMPRESSED_PART)
        taken = end - position
        self._remaining -= taken
        if is_read:
            part = data[position:end]
            if self._mask:
                part = apply_mask(part, self._mask)
                turn = taken % MASK_SIZE
                self._mask = self._mask[turn:] + self._mask[:turn]
            if self._compressed:
                self._inflate(part, events)
            else:
                self._size += taken
                self._parts.append(part)
                if self._size >= self._reported_at:
                    self._has_grown()
        return end

    def _inflates(self) -> bool:
        """Whether a message that nobody wants must be inflated, as later ones may refer to it."""
        inflater = self._inflater
        return self._compressed and inflater is not None and inflater.takeover and not self._lost_window

    def _inflate(self, part: bytes, events: list[Event]) -> None:
        inflater = self._inflater
        assert inflater is not None
        # Beyond the limit only for the sake of later messages, which may refer to this one.
        part = inflater.push(part, self._max_message if inflater.takeover else self.limit)
        self.work += len(part) // _INFLATED_WORK + _FRAME_WORK
        self._size += len(part)
        if self._size > self.limit:
            self._drop(events)
        elif self._kept and part:
            self._parts.append(part)
            if self._size >= self._reported_at:
                self._has_grown()

    def _drop(self, events: list[Event]) -> None:
        if self._kept:
            self._kept, self.only_messages = False, False
            events.append(TooLarge(self._opcode, lacks_memory=self._is_given_up))
        self._forget()
        if self._inflates() and self._size > self._max_message:
            # A decompression bomb, perhaps: it is not inflated to its end, and so nor is what refers to it.
            self._lost_window = True

    def _end_frame(self, events: list[Event]) -> None:
        if not self._fin:
            return
        if self._compressed and (self._kept or self._inflates()):
            self._inflate(MESSAGE_TAIL, events)
        if self._is_given_up:
            self._drop(events)
        opcode = self._opcode
        if self._kept and self.lazy:
            events.append(OneMessage(opcode, self._parts, self._size))
        elif self._kept:
            content = self._parts.join()
            payload = self._decode(content) if opcode == Opcode.TEXT else content
            events.append(Deflated(payload) if self._compressed and self.holds else payload)
        self._opcode = 0
        self._forget()

    def _forget(self) -> None:
        """Drop the data of the current message."""
        self._parts = Parts()
        self._is_given_up = False
        if self._reported:
            self._report_memory(0)

    def _decode(self, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError:
            self._bad_text = content
            raise ProtocolError(_BAD_TEXT, CloseCode.INVALID_DATA) from None
