"""Messages of one direction that came at the same time. They become frames when somebody looks at them."""

from collections.abc import Iterator, Sequence
from operator import methodcaller
from typing import NamedTuple, Protocol

from wirewright.memory import memory_size
from wirewright.model.frame import Frame
from wirewright.values import Direction, Payload, payload_size


class UnreadBatch(Protocol):
    """Messages that nobody has read yet: iterating over them reads them."""

    size: int
    """Bytes of their payloads."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Payload]: ...


class FrameRun(NamedTuple):
    """Messages of one direction that came at the same time, with numbers that follow each other."""

    number: int
    """The number of the first one."""
    direction: Direction
    payloads: Sequence[Payload]
    at: float
    """Seconds since the epoch."""

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self.number + len(self.payloads) - 1

    def frame(self, index: int) -> Frame:
        """The frame of one of the payloads."""
        return Frame(self.number + index, self.direction, self.payloads[index], self.at)

    def frames(self) -> list[Frame]:
        """All of them."""
        direction, at = self.direction, self.at
        return [
            Frame(number, direction, payload, at) for number, payload in enumerate(self.payloads, self.number)
        ]

    def part(self, first: int, last: int) -> "FrameRun":
        """Those with numbers from `first` to `last`."""
        if first <= self.number and last >= self.last:
            return self
        start = max(0, first - self.number)
        return self._replace(
            number=self.number + start, payloads=self.payloads[start : last + 1 - self.number]
        )


_is_ascii = methodcaller("isascii")


def sizes(payloads: Sequence[Payload]) -> tuple[int, int]:
    """Bytes of messages before compression, and the bytes of memory that they take."""
    # Most messages are binary or ASCII: as many bytes as characters. One takes 97 ns here, and 388 ns below.
    if len(payloads) == 1 and (isinstance(payloads[0], bytes) or payloads[0].isascii()):
        size = len(payloads[0])
        return size, size
    if all(map(_is_ascii, payloads)):
        size = sum(map(len, payloads))
        return size, size
    return sum(map(payload_size, payloads)), sum(map(memory_size, payloads))


def total_size(payloads: Sequence[Payload]) -> int:
    """Bytes of messages, before compression."""
    return sizes(payloads)[0]
