"""A spliced socket: what a connection sends goes straight to the layer of the socket, and on from there."""

import asyncio
from collections.abc import Mapping
from logging import ERROR, WARNING

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.server import ConnectionHandler
from OpenSSL import SSL

from wirewright.mitm.layers.events import Continued
from wirewright.mitm.layers.wire_layer import Rest, WireLayer
from wirewright.mitm.patches import back_pressure
from wirewright.mitm.splice.spliced_connection import Pause, SplicedConnection


class Splice:
    """Calls the layer of a socket with what its connections send, and writes what it forwards.

    All other commands of the layer go through mitmproxy's layers, and so does the end of a connection.
    """

    def __init__(
        self,
        layer: WireLayer,
        handler: ConnectionHandler,
        connections: Mapping[Connection, SplicedConnection],
    ) -> None:
        """`connections` are those of the layer, as they can be taken over."""
        self._layer, self._handler, self._connections = layer, handler, connections
        self._handed_over: set[asyncio.Task[None]] = set()
        """Events that are on their way through mitmproxy's layers."""

    @property
    def has_ended(self) -> bool:
        """True if a connection or the socket is over."""
        return self._layer.is_finished or any(each.has_ended for each in self._connections.values())

    @property
    def is_idle(self) -> bool:
        """True if mitmproxy's readers have nothing left of what the connections sent."""
        return all(each.is_idle for each in self._connections.values())

    def pause_reading(self) -> None:
        """Read nothing more until `begin`."""
        for each in self._connections.values():
            each.pause_reading(Pause.HANDING_OVER)

    def resume_reading(self) -> None:
        """Read again."""
        for each in self._connections.values():
            each.resume_reading(Pause.HANDING_OVER)

    def begin(self) -> None:
        """Take the connections over."""
        for connection, each in self._connections.items():
            each.take_over(connection, self)
            back_pressure.read_by(connection, each)
        for each in self._connections.values():
            each.read_on()
        self.resume_reading()

    def received(self, source: Connection, data: bytes) -> None:
        self._handler.timeout_watchdog.register_activity()
        self._layer.add(events.DataReceived(source, data))
        self._handle()

    def _handle(self) -> None:
        try:
            rest = self._layer.handle_directly(self._send)
        except Exception:
            self._handler.log("Wirewright has crashed!", ERROR, exc_info=True)
            rest = Rest.LAYERS  # events that came meanwhile may wait
        if rest is Rest.LAYERS:
            self._send_event(Continued(self._layer.flow, None))
        elif rest is Rest.NEXT_TURN:  # until then the layer reads nothing more
            asyncio.get_running_loop().call_soon(self._handle)

    def tls_ended(self, source: Connection, error: SSL.Error) -> None:
        if isinstance(error, SSL.ZeroReturnError):
            # mitmproxy's layer of TLS meets the same end, and handles it.
            self._send_event(events.DataReceived(self._connections[source].outer, b""))
        else:
            self._handler.log(f"TLS Error: {error}", WARNING)

    def connection_lost(self, source: Connection) -> None:
        back_pressure.forget_reader(source)

    def writing_changed(self) -> None:
        is_full = any(each.is_full for each in self._connections.values())
        for each in self._connections.values():
            (each.pause_reading if is_full else each.resume_reading)(Pause.WRITING)

    def _send(self, command: commands.SendData) -> None:
        self._connections[command.connection].send(command.data)

    def _send_event(self, event: events.Event) -> None:
        self.pause_reading()
        task = asyncio.get_running_loop().create_task(self._handler.server_event(event))
        self._handed_over.add(task)
        task.add_done_callback(self._was_handed_over)

    def _was_handed_over(self, task: asyncio.Task[None]) -> None:
        self._handed_over.discard(task)
        if not self._handed_over:
            self.resume_reading()
