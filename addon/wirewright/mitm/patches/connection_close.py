"""Connections that mitmproxy forgets to close, and timers that it forgets to end.

mitmproxy handles one event at a time, behind a lock. While the task that reads a connection waits for this
lock, another event may close the connection, which cancels the task. mitmproxy 12 then neither closes the
socket nor reports the end to its layers: the peer waits for an end that never comes.

When a program ends, all tasks are cancelled at once. Layers that hear of the end of their connection may then
still ask for a timer, which nobody ends: the log has "Task was destroyed but it is pending!".
"""

import sys
from weakref import WeakSet

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.server import ConnectionHandler

from wirewright.mitm.patches import back_pressure

_stock_handle_client = ConnectionHandler.handle_client
_stock_handle_connection = ConnectionHandler.handle_connection
_ended_handlers: WeakSet[ConnectionHandler] = WeakSet()
"""Handlers of clients that have left, and those that were cancelled."""


def install() -> None:
    """Have mitmproxy close each connection that it stops to read, and end its timers."""
    ConnectionHandler.handle_client = _handle_client  # type: ignore[method-assign]
    ConnectionHandler.handle_connection = _handle_connection  # type: ignore[method-assign]


def uninstall() -> None:
    """Have mitmproxy do as before."""
    ConnectionHandler.handle_client = _stock_handle_client  # type: ignore[method-assign]
    ConnectionHandler.handle_connection = _stock_handle_connection  # type: ignore[method-assign]


async def _handle_client(self: ConnectionHandler) -> None:
    try:
        await _stock_handle_client(self)
    finally:
        _ended_handlers.add(self)
        _end_timers(self)


async def _handle_connection(self: ConnectionHandler, connection: Connection) -> None:
    try:
        await _stock_handle_connection(self, connection)
    finally:
        ends_the_program = isinstance(sys.exception(), (KeyboardInterrupt, SystemExit))
        if connection in self.transports and not ends_the_program:  # which ends all connections
            await _close(self, connection)
        if self in _ended_handlers:
            _end_timers(self)
        if connection is self.client:
            await back_pressure.until_next_turn(self)


def _end_timers(handler: ConnectionHandler) -> None:
    while handler.wakeup_timer:
        handler.wakeup_timer.pop().cancel()


async def _close(handler: ConnectionHandler, connection: Connection) -> None:
    connection.state = ConnectionState.CLOSED
    try:
        await handler.server_event(events.ConnectionClosed(connection))
    finally:
        writer = handler.transports.pop(connection).writer
        if writer is not None:
            writer.close()
