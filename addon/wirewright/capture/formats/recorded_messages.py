"""Messages of a recording of another program, before missing times are filled in."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from wirewright.capture.records import FrameFlag, RecordedFrame
from wirewright.values import Direction, Payload, payload_size

OPCODES = (0, 1, 2, 8, 9, 10)
"""RFC 6455, 11.8. The others are reserved, and no WebSocket can send them."""


def message_frame(
    time_ns: int | None,
    direction: Direction,
    opcode: int,
    payload: Payload,
    flags: FrameFlag,
    size: int | None = None,
) -> RecordedFrame:
    """The frame of a message that is of no socket yet. `size` is that of a message of which only a part is
    known, in bytes."""
    size = payload_size(payload) if size is None or size < 0 else size
    return RecordedFrame(0, 0, time_ns or 0, direction, opcode, size, payload, flags, None)


@dataclass(slots=True)
class RecordedMessages:
    """The messages of one socket."""

    messages: list[RecordedFrame] = field(default_factory=list)
    """A time of 0 is not known."""
    error: str | None = None
    """The text of the last error among them."""
    error_ns: int | None = None
    total: int = 0
    """The number of items in the recording: messages, errors, and items that cannot be read."""

    @property
    def first_ns(self) -> int | None:
        """The first time that is known, of a message or else of the error."""
        return next((message.time_ns for message in self.messages if message.time_ns), self.error_ns)

    def span(self) -> tuple[int | None, int | None]:
        """The earliest and the latest time of a message."""
        known = [message.time_ns for message in self.messages if message.time_ns]
        return (min(known), max(known)) if known else (None, None)

    def frames(self, asked_ns: int) -> Iterator[RecordedFrame]:
        """The frames of the messages. A missing time is that of the message before it, or else after it."""
        latest = self.first_ns or asked_ns
        for message in self.messages:
            latest = message.time_ns or latest
            yield replace(message, time_ns=latest)

    def close(self) -> tuple[int, str, Direction] | None:
        """Code, reason and direction of the first close frame; 1005 if it has no code (RFC 6455, 7.1.5)."""
        for message in self.messages:
            if message.opcode == 8 and isinstance(message.payload, bytes):
                if len(message.payload) < 2:
                    return 1005, "", message.direction
                (code,) = struct.unpack("!H", message.payload[:2])
                return code, message.payload[2:].decode(errors="replace"), message.direction
        return None
