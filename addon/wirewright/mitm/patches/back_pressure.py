"""Back-pressure: pauses reading from a connection.

The transport's own `pause_reading` does not last: asyncio's StreamReader resumes a transport when its buffer
empties. So mitmproxy's read loop waits here, between two reads, for an event. The kernel's buffers then fill
up, and the peer cannot send any more (RFC 9293, 3.8.6). mitmproxy has no commands that pause and resume a
connection, which would be the place for this.
"""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from mitmproxy.connection import Connection
from mitmproxy.proxy.server import ConnectionHandler


class PauseReason(Enum):
    """Why a connection is paused. It is read again when no reason is left."""

    HELD = "held"
    """More than `ws_max_held` bytes of its messages wait."""
    TURN = "turn"
    """Its layer waits for the next turn of the event loop."""


@dataclass
class _Pause:
    reasons: set[PauseReason] = field(default_factory=set)
    resumed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the read loop may read again."""


_pauses: dict[Connection, _Pause] = {}
"""The paused connections."""

_stock_drain_writers = ConnectionHandler.drain_writers


def install() -> None:
    """Have mitmproxy read nothing from a connection while it is paused."""
    ConnectionHandler.drain_writers = _drain_writers  # type: ignore[method-assign]


def uninstall() -> None:
    """Restore mitmproxy's own behaviour, and resume all paused connections."""
    ConnectionHandler.drain_writers = _stock_drain_writers  # type: ignore[method-assign]
    for connection in list(_pauses):
        _pauses.pop(connection).resumed.set()


def pause(connection: Connection, reason: PauseReason = PauseReason.HELD) -> None:
    """Read nothing more from a connection, after the data that has been read already."""
    if connection not in _pauses:
        _pauses[connection] = _Pause()
    _pauses[connection].reasons.add(reason)


def resume(connection: Connection, reason: PauseReason = PauseReason.HELD) -> None:
    """Read from a connection again, unless it is paused for another reason, too."""
    if paused := _pauses.get(connection):
        paused.reasons.discard(reason)
        if not paused.reasons:
            _pauses.pop(connection).resumed.set()


def is_paused(connection: Connection, reason: PauseReason = PauseReason.HELD) -> bool:
    """True if a connection is paused for this reason."""
    return connection in _pauses and reason in _pauses[connection].reasons


async def _drain_writers(self: ConnectionHandler) -> None:
    """The read loop of a connection calls this after it has handled data, and before it reads again."""
    await _stock_drain_writers(self)  # type: ignore[no-untyped-call]
    if not _pauses:
        return
    task = asyncio.current_task()
    connection = next((each for each, io in self.transports.items() if io.handler is task), None)
    if connection is None:
        return
    try:
        while paused := _pauses.get(connection):
            with self.timeout_watchdog.disarm():
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
