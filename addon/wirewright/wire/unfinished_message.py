"""The data message of one direction while its frames come: RFC 6455, section 5.4."""

from dataclasses import dataclass

from wirewright.memory import MemoryUse, Share, budget
from wirewright.wire.deflate import MESSAGE_TAIL, Compression, Inflater
from wirewright.wire.frames import FIN, MASK_SIZE, CloseCode, Opcode, ProtocolError, apply_mask
from wirewright.wire.payload_buffer import PayloadBuffer
from wirewright.wire.reader_events import Deflated, Event, OneMessage, TooLarge

RSV1 = 0x40
"""In the first byte of a message: it is compressed (RFC 7692, 6)."""
FRAME_WORK = 6
"""The work of a frame that is not read as a short message, and of a part that is inflated."""
BAD_TEXT = "Could not decode a text frame as UTF-8."
_COMPRESSED_PART = 2 * 1024
"""Bytes that are inflated at a time: the result has at most 1,032 times as many."""
_INFLATED_WORK = 512
"""Inflated bytes that are as much work as a short message."""
_REPORTED_STEP = 128 * 1024
"""An incomplete message reports to the memory budget after so many bytes. Most messages are smaller."""


@dataclass(slots=True)
class Wanted:
    """The messages of a direction that are wanted."""

    limit: int
    """The largest wanted message, in bytes. With 0 only frame headers are read, and messages that a shared
    compression window needs."""
    lazy: bool = False
    """True if messages are only remembered: they are then returned as LazyBatch."""
    holds: bool = False
    """True in HOLD. A compressed message is then returned as Deflated, and an incomplete message is dropped
    last when memory is short."""


class BadText(ProtocolError):
    """A text message is not UTF-8 (8.1)."""

    def __init__(self, content: bytes) -> None:
        super().__init__(BAD_TEXT, CloseCode.INVALID_DATA)
        self.content = content


class UnfinishedMessage:
    """The message that is under way. One object is used for all messages of a direction."""

    __slots__ = (
        "__weakref__",
        "_compressed",
        "_fin",
        "_is_given_up",
        "_kept",
        "_lost_window",
        "_mask",
        "_max_message",
        "_parts",
        "_reported",
        "_reported_at",
        "_share",
        "_size",
        "_wanted",
        "has_dropped",
        "inflater",
        "opcode",
        "remaining",
        "work",
    )

    opcode: int
    """0 between messages."""
    remaining: int
    """Bytes of the current frame that have not come yet."""
    has_dropped: bool
    """Set to True when a message is dropped."""
    work: int
    """Units of work: increased by each call."""

    def __init__(self, wanted: Wanted, max_message: int, compression: Compression | None) -> None:
        """`max_message` is the largest message, in bytes, that is ever kept or inflated."""
        self.inflater = Inflater(compression) if compression else None
        self.opcode = self.remaining = self.work = 0
        self.has_dropped = self._compressed = self._kept = self._fin = False
        self._mask = b""
        self._wanted = wanted
        self._max_message = max_message
        self._lost_window = False
        self._parts = PayloadBuffer()
        self._size = 0
        self._reported, self._reported_at = 0, _REPORTED_STEP
        self._share: Share | None = None
        self._is_given_up = False

    def begin_frame(self, first: int, length: int, mask: bytes, events: list[Event]) -> None:
        """A frame begins, with this first byte and a payload of so many bytes."""
        opcode = first & 0x0F
        if opcode != Opcode.CONTINUATION:
            self.opcode = opcode
            self._compressed = bool(first & RSV1)
            self._size = 0
            self._kept = self._wanted.limit > 0
            if self._compressed and self.inflater is not None:
                self.inflater.begin()
                if self._lost_window:
                    self._drop(events)
        self._fin, self.remaining, self._mask = bool(first & FIN), length, mask
        if not self._compressed and self._size + length > self._wanted.limit:
            self._drop(events)
        if self._fin and not length:
            self._end(events)

    def take(self, data: bytes, position: int, events: list[Event]) -> int:
        """Read the frame's payload that is in `data`, of a compressed one only a part. Returns the position
        after it."""
        if self._is_given_up:
            self._drop(events)
        end = min(position + self.remaining, len(data))
        is_read = self._kept or self._inflates()
        if is_read and self._compressed:
            end = min(end, position + _COMPRESSED_PART)
        taken = end - position
        self.remaining -= taken
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
        if self._fin and not self.remaining:
            self._end(events)
        return end

    def _inflates(self) -> bool:
        """True if an unwanted message must be inflated, because later ones may refer to it."""
        inflater = self.inflater
        return self._compressed and inflater is not None and inflater.takeover and not self._lost_window

    def _inflate(self, part: bytes, events: list[Event]) -> None:
        inflater = self.inflater
        assert inflater is not None
        # Beyond the limit only for the sake of later messages, which may refer to this one.
        part = inflater.push(part, self._max_message if inflater.takeover else self._wanted.limit)
        self.work += len(part) // _INFLATED_WORK + FRAME_WORK
        self._size += len(part)
        if self._size > self._wanted.limit:
            self._drop(events)
        elif self._kept and part:
            self._parts.append(part)
            if self._size >= self._reported_at:
                self._has_grown()

    def _end(self, events: list[Event]) -> None:
        """The message is complete."""
        if self._compressed and (self._kept or self._inflates()):
            self._inflate(MESSAGE_TAIL, events)
        if self._is_given_up:
            self._drop(events)
        if self._kept and self._wanted.lazy:
            events.append(OneMessage(self.opcode, self._parts, self._size))
        elif self._kept:
            content = self._parts.join()
            payload = self._decode(content) if self.opcode == Opcode.TEXT else content
            events.append(Deflated(payload) if self._compressed and self._wanted.holds else payload)
        self.opcode = 0
        self.forget()

    def _decode(self, content: bytes) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise BadText(content) from None

    def content(self) -> bytes:
        """The content so far."""
        return self._parts.join()

    def forget(self) -> None:
        """Drop the content."""
        self._parts = PayloadBuffer()
        self._is_given_up = False
        if self._reported:
            self._report_memory(0)

    def _drop(self, events: list[Event]) -> None:
        if self._kept:
            self._kept, self.has_dropped = False, True
            events.append(TooLarge(self.opcode, lacks_memory=self._is_given_up))
        self.forget()
        if self._inflates() and self._size > self._max_message:
            # Perhaps a decompression bomb: it is not inflated to its end. Nor are messages that need it.
            self._lost_window = True

    # Memory

    def free(self, size: int) -> None:
        """Drop the message as a whole, whatever `size` is. In HOLD nothing is dropped."""
        if not self._wanted.holds:
            self._give_up()

    def _give_up(self) -> None:
        """Drop the content. The next part returns a TooLarge."""
        self._is_given_up = True
        self._parts = PayloadBuffer()
        self._report_memory(0)

    def _report_memory(self, size: int) -> None:
        if self._share is None:
            self._share = budget.share(MemoryUse.UNFINISHED, self)
        self._reported, self._reported_at = size, size + _REPORTED_STEP
        self._share.set(size)

    def _has_grown(self) -> None:
        """Give the message up if there is no memory for it."""
        self._report_memory(self._size)
        if self._wanted.holds and not budget.has_room(MemoryUse.HELD):
            self._give_up()
