"""Back-pressure: pauses reading from a connection.

The transport's own `pause_reading` does not last: asyncio's StreamReader resumes a transport when its buffer
empties. So mitmproxy's read loop waits here, between two reads, for an event. The kernel's buffers then fill
up, and the peer cannot send any more (RFC 9293, 3.8.6). mitmproxy has no commands that pause and resume a
connection, which would be the place for this.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from mitmproxy.connection import Connection
from mitmproxy.proxy.server import ConnectionHandler


class PauseReason(Enum):
    """Why a connection is paused. It is read again when no reason is left."""

    HELD = "held"
    """More than `ws_max_held` bytes of its messages wait."""
    TURN = "turn"
    """The layer waits for the next turn of the event loop."""


@dataclass
class _Pause:
    reasons: set[PauseReason] = field(default_factory=set)
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the read loop may read again."""


_pauses: dict[Connection, _Pause] = {}
"""The paused connections."""
_readers: dict[Connection, "Pausable"] = {}
"""Those connections that mitmproxy's read loop does not read."""


class Pausable(Protocol):
    """The reader of a connection that mitmproxy's read loop does not read."""

    def pause_reading(self) -> None:
        """Read nothing more."""

    def resume_reading(self) -> None:
        """Read again."""


def read_by(connection: Connection, reader: Pausable) -> None:
    """Pause and resume a reader of ours from now on, whenever this connection is."""
    _readers[connection] = reader
    if connection in _pauses:
        reader.pause_reading()


def forget_reader(connection: Connection) -> None:
    """The connection has ended, paused or not."""
    _readers.pop(connection, None)
    if paused := _pauses.pop(connection, None):
        paused.resumed.set()


def resume_all() -> None:
    """Read from all connections again."""
    while _pauses:
        _resume(next(iter(_pauses)))


def pause(connection: Connection, reason: PauseReason = PauseReason.HELD) -> None:
    """Read nothing more from a connection, after the data that has been read already."""
    if connection not in _pauses:
        _pauses[connection] = _Pause()
        if reader := _readers.get(connection):
            reader.pause_reading()
    _pauses[connection].reasons.add(reason)


def resume(connection: Connection, reason: PauseReason = PauseReason.HELD) -> None:
    """Read from a connection again, unless it is paused for another reason, too."""
    if paused := _pauses.get(connection):
        paused.reasons.discard(reason)
        if not paused.reasons:
            _resume(connection)


def _resume(connection: Connection) -> None:
    _pauses.pop(connection).resumed.set()
    if reader := _readers.get(connection):
        reader.resume_reading()


def is_paused(connection: Connection, reason: PauseReason = PauseReason.HELD) -> bool:
    """True if a connection is paused for this reason."""
    return connection in _pauses and reason in _pauses[connection].reasons


def drain_writers(stock: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Have mitmproxy wait while a connection is paused.

    Its read loop calls this after it has handled data, and before it reads again.
    """

    async def drain_writers(self: ConnectionHandler, *more: Any, **named: Any) -> None:
        await stock(self, *more, **named)
        if _pauses:
            await _wait_while_paused(self)

    return drain_writers


async def _wait_while_paused(handler: ConnectionHandler) -> None:
    task = asyncio.current_task()
    connection = next((each for each, io in handler.transports.items() if io.handler is task), None)
    if connection is None:
        return
    try:
        while paused := _pauses.get(connection):
            with handler.timeout_watchdog.disarm():
                await paused.resumed.wait()
    except asyncio.CancelledError:
        resume(connection)
        raise


async def until_next_turn(handler: ConnectionHandler) -> None:
    """Return when the layer of a client no longer waits for its next turn.

    mitmproxy cancels the timers of a client whose connection has ended. Its layer would wait without end, and
    would never report the end.
    """
    while is_paused(handler.client, PauseReason.TURN):
        timers = [timer for timer in handler.wakeup_timer if not timer.done()]
        if not timers:
            return
        await asyncio.wait(timers, return_when=asyncio.FIRST_COMPLETED)
