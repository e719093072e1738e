"""How the newest sockets of a proxy ended. The sockets themselves are not kept: their frames may be large."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from wirewright.model.origin import Origin
from wirewright.values import ClosedBy

MOST = 1_000
"""Sockets that are remembered, the newest: so many that were open, and as many whose handshakes failed. An
app that tries again and again has many of these."""
MOST_CHARACTERS = 1_000_000
"""Characters of the URLs of either. Beyond them the oldest are forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSocket:
    """How a socket ended. The attributes are those of `WebSocket`, but for the two numbers."""

    request_sequence: int
    """The sequence number of its handshake's request, among all requests and ends."""
    end_sequence: int
    """The sequence number of its end."""
    url: str
    origin: Origin
    opened_at: float | None
    status: int | None
    error: str | None
    close_code: int | None
    close_reason: str | None
    closed_by: ClosedBy | None

    def is_closed(self) -> bool:
        """True."""
        return True


class _Newest(deque[EndedSocket]):
    """Sockets, oldest first, as far as they are remembered."""

    characters = 0

    def add(self, socket: EndedSocket) -> None:
        self.append(socket)
        self.characters += len(socket.url)
        while len(self) > MOST or self.characters > MOST_CHARACTERS:
            self.characters -= len(self.popleft().url)


class EndedSockets:
    """The newest ones, in the order of their ends."""

    def __init__(self) -> None:
        self.clear()

    def __iter__(self) -> Iterator[EndedSocket]:
        return iter(sorted((*self._opened, *self._failed), key=lambda socket: socket.end_sequence))

    def add(self, socket: EndedSocket) -> None:
        """Remember the end of a socket."""
        (self._failed if socket.opened_at is None else self._opened).add(socket)

    def clear(self) -> None:
        """Forget all."""
        self._opened, self._failed = _Newest(), _Newest()
