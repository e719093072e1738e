"""Past events of a socket for the code that has waited for it, and registers its listeners later.

A wait for a socket ends when the socket opens. The code that waits goes on later: after some turns of the
loop, in another thread, or at the end of its block. Until then the socket keeps what it emits (`Backlog`).
The waits and listeners that this code registers first begin at the socket's opening (`CatchUp`). Events of
anybody else are not delayed.
"""

import asyncio
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar

from wirewright.model.history import History, PastEvent

TURNS = 10
"""Turns of the loop that async code has for what it registers first. `asyncio.gather`, and on Python 3.11
`asyncio.wait_for`, begin and end some turns before and after what they wrap."""
MOST = 16
"""Sockets with which one task or thread catches up, the newest: a thread may take sockets and never wait."""
ORDER_SECONDS = 0.1
"""How long a listener of another thread waits for further ones, so that they hear the past in one order."""

Replay = Callable[[Sequence[PastEvent], Sequence[tuple[str, Callable[..., object]]]], object]
"""Emits past events to some listeners, which hear live events from then on: `Emitter._replay`."""


class Backlog:
    """Has a socket keep what it emits, at least as much as by default, for as long as anybody refers to this.

    Made in the event loop when the socket opens.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        history.retain()
        weakref.finalize(self, _release, history, asyncio.get_running_loop()).atexit = False


def _release(history: History, loop: asyncio.AbstractEventLoop) -> None:
    # The last reference may go in any thread.
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(history.release)


class CatchUp:
    """How far one task, thread or handler has read a socket's past events."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog: Backlog | None = backlog
        self.next = 0
        """The number of the first event that the code has not been given yet."""
        self._behind: list[tuple[str, Callable[..., object]]] = []
        """Listeners that have not heard the past events yet, each with its event."""
        self._replay: Replay | None = None
        self._flushing: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop of `_flushing`."""
        self._turns = 0

    def is_of(self, history: History) -> bool:
        """True if this reads the given history, until the code has caught up."""
        return self._backlog is not None and self._backlog.history is history

    def events(self) -> list[PastEvent]:
        """The past events that the code has not been given yet, oldest first."""
        return [] if self._backlog is None else self._backlog.history.events_since(self.next)

    def follow(self, replay: Replay, event: str, f: Callable[..., object], seconds: float = 0.0) -> None:
        """Have a listener hear the past soon, together with listeners that are registered until then."""
        loop = self._loop = asyncio.get_running_loop()
        self._behind.append((event, f))
        _delayed.add(self)
        self._replay = replay
        if seconds and self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._flushing is None:
            self._flushing = loop.call_later(seconds, self.flush) if seconds else loop.call_soon(self.flush)

    def flush(self) -> None:
        """Have the listeners that are behind hear the past now."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        _delayed.discard(self)
        behind, self._behind = self._behind, []
        if behind and self._replay is not None:
            self._replay(self.events(), behind)

    def advance(self, number: int) -> None:
        """The code has been given the event of this number."""
        self.flush()
        self.next = max(self.next, number + 1)
        self._turns = TURNS

    def close(self) -> None:
        """The code has caught up: listeners and waits from now on get live events only."""
        self.flush()
        self._backlog = self._replay = None

    def share(self) -> None:
        """Begin the turns that async code has; its tasks share them."""
        self._turns = TURNS
        _shared.append(self)
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turns -= 1
        if self._turns > 0:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            _shared.remove(self)
            self.close()


_own: ContextVar[tuple[CatchUp, ...]] = ContextVar("catch_ups", default=())
"""The catch-ups of the task, thread or handler that runs."""
_shared: list[CatchUp] = []
"""The catch-ups of async code; each is here for a few turns of its loop."""


_delayed: weakref.WeakSet[CatchUp] = weakref.WeakSet()
"""Those with listeners that are behind."""


def flush_all() -> None:
    """Have all listeners that are behind hear the past now. In the event loop of their sockets."""
    loop = asyncio.get_running_loop()
    for each in list(_delayed):
        if each._loop is loop:
            each.flush()


def bind(catch_up: CatchUp) -> None:
    """Have the listeners and waits that the caller registers next begin at a socket's opening."""
    behind = [each for each in _own.get() if each._backlog is not None]
    _own.set((*behind[1 - MOST :], catch_up))


def bound() -> tuple[CatchUp, ...]:
    """The catch-ups of the caller that are not closed yet."""
    return tuple(each for each in _own.get() if each._backlog is not None)


def may_need_catch_up() -> bool:
    """True if the caller, or a task that has just taken a socket, may not have caught up. From any thread."""
    return bool(_shared or bound())


def find(history: History) -> CatchUp | None:
    """The caller's catch-up for a socket: its own, or that of a task that has just taken the socket."""
    if not history.is_retained:
        return None
    candidates = (*reversed(_own.get()), *reversed(_shared))
    return next((each for each in candidates if each.is_of(history)), None)
