"""Messages that nobody listens to: they are found at once, and read when somebody looks back."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from wirewright.wire.frames import FIN, MASK_SIZE, MASKED, MAX_CONTROL_PAYLOAD, Opcode, apply_mask
from wirewright.wire.payload_buffer import Parts


class LazyBatch(ABC):
    """Messages that have been found but not read: iterating over them reads them.

    Text that is not UTF-8 is mended then; nobody was there to be told.
    """

    size: int
    """Bytes of their payloads."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[str | bytes]: ...


class ShortMessages(LazyBatch):
    """One after another, each in one frame, in a piece of the stream."""

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
    """One that came in parts."""

    __slots__ = ("_opcode", "_parts", "size")

    def __init__(self, opcode: int, parts: Parts, size: int) -> None:
        self._opcode = opcode
        self._parts = parts
        self.size = size

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str | bytes]:
        payload = self._parts.join()
        yield payload.decode(errors="replace") if self._opcode == Opcode.TEXT else payload
