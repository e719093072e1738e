"""Back-pressure: connections from which mitmproxy reads nothing more for now.

The transport's own `pause_reading` does not last: asyncio's StreamReader resumes a transport when its buffer
empties. So mitmproxy's read loop waits here, between two reads, for an event. The kernel's buffers then fill
up, and the peer cannot send any more (RFC 9293, 3.8.6). mitmproxy has no commands that pause and resume a
connection, which would be the place for this.
"""

import asyncio

from mitmproxy.connection import Connection
from mitmproxy.proxy.server import ConnectionHandler

_resumed: dict[Connection, asyncio.Event] = {}
"""The connections that are paused, each with the event for which its read loop waits."""

_stock_drain_writers = ConnectionHandler.drain_writers


def install() -> None:
    """Have mitmproxy read nothing more from a connection that is paused."""
    ConnectionHandler.drain_writers = _drain_writers  # type: ignore[method-assign]


def uninstall() -> None:
    """Have mitmproxy do as before. Connections that are paused go on."""
    ConnectionHandler.drain_writers = _stock_drain_writers  # type: ignore[method-assign]
    for connection in list(_resumed):
        resume(connection)


def pause(connection: Connection) -> None:
    """Read nothing more from a connection, after the data that has been read already."""
    _resumed.setdefault(connection, asyncio.Event())


def resume(connection: Connection) -> None:
    """Read from a connection again. Nothing happens if it is not paused."""
    if resumed := _resumed.pop(connection, None):
        resumed.set()


def is_paused(connection: Connection) -> bool:
    """Whether nothing more is read from a connection for now."""
    return connection in _resumed


async def _drain_writers(self: ConnectionHandler) -> None:
    """The read loop of a connection calls this after it has handled data, and before it reads again."""
    await _stock_drain_writers(self)  # type: ignore[no-untyped-call]
    if not _resumed:
        return
    task = asyncio.current_task()
    connection = next((each for each, io in self.transports.items() if io.handler is task), None)
    if connection is None:
        return
    try:
        while resumed := _resumed.get(connection):
            with self.timeout_watchdog.disarm():
                await resumed.wait()
    except asyncio.CancelledError:
        _resumed.pop(connection, None)
        raise
