"""The last messages of a socket, bounded in number and in bytes."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

Payload = str | bytes
"""`str` for a text message, `bytes` for a binary one."""


@dataclass(frozen=True, slots=True)
class HistoryLimit:
    """How much a socket remembers. A limit of 0 remembers nothing."""

    messages: int = 1_000
    size: int = 4 * 1024 * 1024
    """Bytes of payload."""


class Window:
    """How many of the newest messages fit a limit, told by their sizes alone."""

    def __init__(self, limit: HistoryLimit) -> None:
        self.limit = limit
        self.size = 0
        """Bytes of the messages that fit."""
        self._sizes: deque[int] = deque()

    def push(self, *sizes: int) -> int:
        """New messages of so many bytes; returns how many of the oldest must go for them.

        A message that is larger than the limit has to go itself.
        """
        self._sizes.extend(sizes)
        self.size += sum(sizes)
        dropped = max(0, len(self._sizes) - self.limit.messages) if self.limit.size else len(self._sizes)
        for _ in range(dropped):
            self.size -= self._sizes.popleft()
        while self.size > self.limit.size:
            self.size -= self._sizes.popleft()
            dropped += 1
        return dropped

    def __len__(self) -> int:
        return len(self._sizes)


class Frame(NamedTuple):
    """One remembered message."""

    event: str
    """"framesent" or "framereceived"."""
    payload: Payload
    timestamp: float = 0.0
    """Seconds since the epoch."""


class History:
    """The newest frames that fit the limit."""

    def __init__(self, limit: HistoryLimit) -> None:
        self.total = 0
        """How many frames there have been, those that are forgotten included."""
        self._window = Window(limit)
        self._frames: deque[Frame] = deque()

    @property
    def limit(self) -> HistoryLimit:
        return self._window.limit

    def append(self, frame: Frame, size: int) -> None:
        """Remember a frame of so many bytes."""
        self._add([frame], [size])

    def extend(self, event: str, payloads: Sequence[Payload], timestamp: float) -> None:
        """Remember messages of one direction that came at the same time."""
        self._add([Frame(event, payload, timestamp) for payload in payloads], map(payload_size, payloads))

    def payloads(self, event: str) -> Iterator[Payload]:
        """What is kept of one direction, oldest first."""
        return (frame.payload for frame in list(self._frames) if frame.event == event)

    def since(self, total: int) -> list[Frame]:
        """What is kept of the frames that came after `total` of them had."""
        new = min(self.total - total, len(self._frames))
        return list(islice(self._frames, len(self._frames) - new, None))

    def __len__(self) -> int:
        return len(self._frames)

    def _add(self, frames: list[Frame], sizes: Iterable[int]) -> None:
        self.total += len(frames)
        self._frames.extend(frames)
        for _ in range(self._window.push(*sizes)):
            self._frames.popleft()


def payload_size(payload: Payload) -> int:
    """Bytes of a message, before compression."""
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return len(payload.encode(errors="surrogatepass"))
