"""Connections that mitmproxy forgets to close, and timers that it forgets to end.

mitmproxy handles one event at a time, behind a lock. While the task that reads a connection waits for this
lock, another event may close the connection, which cancels the task. mitmproxy 12 then neither closes the
socket nor reports the end to its layers: the peer waits for an end that never comes.

When a program ends, all tasks are cancelled at once. Layers that hear of the end of their connection may then
still ask for a timer, which nobody ends: the log has "Task was destroyed but it is pending!".
"""

import sys
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakSet

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import events
from mitmproxy.proxy.server import ConnectionHandler

from wirewright.mitm.patches import back_pressure

Handle = Callable[..., Coroutine[Any, Any, None]]

_over: WeakSet[ConnectionHandler] = WeakSet()
"""Handlers of clients that have left, and those that were cancelled."""


def handle_client(stock: Handle) -> Handle:
    """Have mitmproxy cancel the timers of a client that has left."""

    async def handle_client(self: ConnectionHandler, *more: Any, **named: Any) -> None:
        try:
            await stock(self, *more, **named)
        finally:
            _over.add(self)
            _end_timers(self)

    return handle_client


def handle_connection(stock: Handle) -> Handle:
    """Have mitmproxy close each connection that it stops reading."""

    async def handle_connection(
        self: ConnectionHandler, connection: Connection, *more: Any, **named: Any
    ) -> None:
        try:
            await stock(self, connection, *more, **named)
        finally:
            ends_the_program = isinstance(sys.exception(), (KeyboardInterrupt, SystemExit))
            if connection in self.transports and not ends_the_program:  # which ends all connections
                await _close(self, connection)
            if self in _over:
                _end_timers(self)
            if connection is self.client:
                await back_pressure.until_next_turn(self)

    return handle_connection


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
