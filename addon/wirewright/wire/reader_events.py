"""The results of reading: messages, control frames, and violations of the protocol.

Messages that nobody listens to are only found (LazyBatch), and read when somebody looks back.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from wirewright.wire.frames import (
    FIN,
    MASK_SIZE,
    MASKED,
    MAX_CONTROL_PAYLOAD,
    Opcode,
    ProtocolError,
    apply_mask,
)
from wirewright.wire.payload_buffer import PayloadBuffer


@dataclass(frozen=True, slots=True)
class ControlFrame:
    """A ping, a pong or a close frame."""

    opcode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A message without its content: it is above the limit, or memory is short. It may be incomplete.

    In PASS its bytes are forwarded all the same.
    """

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
    """The opcode of the message that was not complete; 0 between messages."""
    content: bytes
    """The content of that message before the frame, or the text that is not UTF-8."""
    frame: bytes
    """The frame, as it came so far, if its header broke the protocol."""


class LazyBatch(ABC):
    """Messages that have been found but not read: iterating over them reads them.

    Invalid UTF-8 is replaced by U+FFFD then: without listeners, no error is reported.
    """

    size: int
    """Bytes of their payloads."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[str | bytes]: ...


class ShortMessages(LazyBatch):
    """Messages that follow each other in a piece of the stream, each in one frame."""

    __slots__ = ("_count", "_data", "_end", "_masked", "_start", "size")

    def __init__(self, data: bytes, start: int, end: int, count: int, size: int, *, masked: bool) -> None:
        if (end - start) * 2 < len(data):
            # The rest of the piece is not kept alive for the sake of a few messages.
            data, start, end = data[start:end], 0, end - start
        self._data, self._start, self._end = data, start, end
        self._count = count
        self._masked = masked
        self.size = size

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str | bytes]:
        data, position = self._data, self._start
        while position < self._end:
            first, length, start = data[position], data[position + 1] & ~MASKED, position + 2
            if length > MAX_CONTROL_PAYLOAD:
                length, start = int.from_bytes(data[start : start + 2], "big"), start + 2
            if self._masked:
                start += MASK_SIZE
            position = start + length
            payload = data[start:position]
            if self._masked:
                payload = apply_mask(payload, data[start - MASK_SIZE : start])
            yield payload.decode(errors="replace") if first == FIN | Opcode.TEXT else payload


class OneMessage(LazyBatch):
    """A message that came in parts."""

    __slots__ = ("_opcode", "_parts", "size")

    def __init__(self, opcode: int, parts: PayloadBuffer, size: int) -> None:
        self._opcode = opcode
        self._parts = parts
        self.size = size

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str | bytes]:
        payload = self._parts.join()
        yield payload.decode(errors="replace") if self._opcode == Opcode.TEXT else payload


Event = str | bytes | Deflated | LazyBatch | ControlFrame | TooLarge
"""A `str` is a text message and `bytes` a binary one, whole and inflated."""
