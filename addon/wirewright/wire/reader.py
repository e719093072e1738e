"""Reading the messages of one direction from its bytes: RFC 6455, sections 5.4 and 5.5.

Bytes come in pieces of any size. A message of a hundred bytes costs half a microsecond on its way through
here, and a large one costs the same for each of its megabytes.
"""

import sys

from wirewright.wire.deflate import Compression
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
from wirewright.wire.reader_events import ControlFrame, Event, ShortMessages, Violation
from wirewright.wire.unfinished_message import FRAME_WORK, RSV1, BadText, UnfinishedMessage, Wanted

_RSV = 0x70
_WHOLE_TEXT = FIN | Opcode.TEXT
_WHOLE_BINARY = FIN | Opcode.BINARY
_WINDOW = 16 * 1024
"""Bytes in which short messages are read before the work is looked at."""
_UNREAD_WINDOW = 64 * 1024
"""The same where nobody listens."""
_UNREAD_BATCH = 2
"""Short messages without a listener that take one unit of work together."""
_AFTER_CLOSE: dict[int, str] = {Opcode.PING: "Ping", Opcode.PONG: "Pong", Opcode.CLOSE: "Close"}


class MessageReader:
    """Reads one direction.

    `masked` tells whether its frames must be masked (5.1: a client's must, a server's must not).
    """

    wanted: Wanted
    """The messages that are wanted. It may change between two feeds."""
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
        self.wanted = Wanted(max_message if limit is None else limit)
        self.failure = self.violation = None
        self.only_messages = True
        self.boundary = 0
        self.work, self.rest = 0, b""
        self._masked = masked
        self._message = UnfinishedMessage(self.wanted, max_message, compression)
        self._closed = False
        self._tail = b""
        self._bad_frame = b""

    @property
    def at_boundary(self) -> bool:
        """True if the data so far ends with a whole message."""
        return self.between_frames and not self._message.opcode

    @property
    def between_frames(self) -> bool:
        """True if the data so far ends with a whole frame: a control frame may follow (5.4)."""
        return not (self._message.remaining or self._tail or self._closed or self.failure)

    def feed(self, data: bytes, work: int = sys.maxsize) -> list[Event]:
        """The messages and control frames that end in `data`. Look at `failure` afterwards.

        Reading stops after about so much `work`, and `rest` is to be fed next.
        """
        events: list[Event] = []
        message = self._message
        self.only_messages, self.boundary, self.rest = True, None, b""
        message.work = 0
        if self.failure is None:
            try:
                self._feed(data, work, events)
            except ProtocolError as failure:
                self.failure = failure
                self.violation = self._violation(failure)
                message.forget()
                self._tail = b""
            if message.has_dropped:
                self.only_messages = message.has_dropped = False
        self.work = message.work
        return events

    def _violation(self, failure: ProtocolError) -> Violation:
        message = self._message
        if failure.code is CloseCode.PROTOCOL_ERROR:  # its header was wrong
            return Violation(failure, message.opcode, message.content(), self._bad_frame)
        content = failure.content if isinstance(failure, BadText) else b""
        return Violation(failure, message.opcode or Opcode.TEXT, content, b"")

    def _feed(self, data: bytes, work: int, events: list[Event]) -> None:
        before = len(self._tail)
        if before:
            data = self._tail + data
        position, size, message = 0, len(data), self._message
        boundary = 0 if not (message.opcode or message.remaining or self._closed) else -1
        while True:
            if message.remaining:
                position = message.take(data, position, events)
            if not (message.remaining or message.opcode):
                position = self._take_short_messages(data, position, size, work, events)
                if not self._closed:
                    boundary = position
            if message.work >= work and before <= position < size:  # `rest` has no byte of an earlier feed
                self.rest = data[position:]
                break
            if message.remaining:
                if position < size:
                    continue
                break
            if size - position < 2:
                break
            try:
                after = self._begin_frame(data, position, size, events)
            except ProtocolError:
                self._bad_frame = FrameCutter().take(data[position:])
                raise
            if after < 0:
                break
            position = after
            message.work += FRAME_WORK
        self._tail = b"" if message.remaining or self.rest else data[position:]
        # A message of ours does not fit before a frame whose first bytes were forwarded already.
        if boundary >= before:
            self.boundary = boundary - before

    def _take_short_messages(
        self, data: bytes, position: int, size: int, work: int, events: list[Event]
    ) -> int:
        """Read whole messages of one frame, uncompressed and below 64 KiB, until something else follows."""
        wanted = self.wanted
        window = _WINDOW if wanted.limit and not wanted.lazy else _UNREAD_WINDOW
        while not self._closed:
            begin, stop = position, min(size - 1, position + window)
            position = self._take_window(data, position, stop, size, events)
            if position < stop or position == begin or self._message.work >= work:
                break
        return position

    def _take_window(self, data: bytes, position: int, stop: int, size: int, events: list[Event]) -> int:
        """The hot loop of `_take_short_messages`: messages that begin before `stop`."""
        wanted, append = self.wanted, events.append
        limit = wanted.limit
        reads = limit and not wanted.lazy
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
            raise BadText(payload) from None
        if count and limit:
            payloads = position - begin - count * header - long * 2
            append(ShortMessages(data, begin, position, count, payloads, masked=self._masked))
        self._message.work += len(events) - before + count // _UNREAD_BATCH
        return position

    def _begin_frame(self, data: bytes, position: int, size: int, events: list[Event]) -> int:
        """Read a header, and the whole frame if it is a control frame. Returns -1 while it is incomplete."""
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
        self._message.begin_frame(first, length, mask, events)
        return start

    def _check_first(self, first: int) -> None:
        """Raise ProtocolError for a first byte that is invalid here (5.2, 5.4, and RFC 7692, 6)."""
        opcode = first & 0x0F
        if 2 < opcode < 8 or opcode > Opcode.PONG:
            raise ProtocolError(f"Unrecognized frame opcode: {opcode}")
        if first & RSV1 and opcode == Opcode.CONTINUATION and self._message.inflater is not None:
            raise ProtocolError("Invalid frame header")
        compressible = self._message.inflater is not None and opcode in (Opcode.TEXT, Opcode.BINARY)
        if first & (_RSV & ~RSV1 if compressible else _RSV):
            bits = ", ".join(f"reserved{bit} = {first >> (7 - bit) & 1}" for bit in (1, 2, 3))
            raise ProtocolError(f"One or more reserved bits are on: {bits}")
        if opcode >= Opcode.CLOSE:
            if not first & FIN:
                raise ProtocolError("Invalid frame header")
        elif opcode == Opcode.CONTINUATION:
            if not self._message.opcode:
                raise ProtocolError("Received unexpected continuation frame.")
        elif self._message.opcode:
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
