"""The last messages of a socket, bounded in number and in bytes."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

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

    def push(self, size: int) -> int:
        """A new message of so many bytes; returns how many of the oldest must go for it.

        A message that is larger than the limit has to go itself.
        """
        self._sizes.append(size)
        self.size += size
        dropped = 0
        while self._sizes and not self._fits():
            self.size -= self._sizes.popleft()
            dropped += 1
        return dropped

    def _fits(self) -> bool:
        limit = self.limit
        return len(self._sizes) <= limit.messages and self.size <= limit.size and limit.size > 0

    def __len__(self) -> int:
        return len(self._sizes)


@dataclass(frozen=True, slots=True)
class Frame:
    """One remembered message."""

    event: str
    """"framesent" or "framereceived"."""
    payload: Payload


class History:
    """The newest frames that fit the limit."""

    def __init__(self, limit: HistoryLimit) -> None:
        self._window = Window(limit)
        self._frames: deque[Frame] = deque()

    def append(self, frame: Frame, size: int) -> None:
        """Remember a frame of so many bytes."""
        self._frames.append(frame)
        for _ in range(self._window.push(size)):
            self._frames.popleft()

    def payloads(self, event: str) -> Iterator[Payload]:
        """What is kept of one direction, oldest first."""
        return (frame.payload for frame in list(self._frames) if frame.event == event)

    def __len__(self) -> int:
        return len(self._frames)
