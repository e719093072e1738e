"""Ends of connections that mitmproxy's hooks do not report: by its idle timeout, or by a reset."""

import asyncio
import math
from asyncio import StreamReader
from time import monotonic
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from wirewright.mitm import end_reasons
from wirewright.mitm.flow_socket import FlowSocket, proxyserver
from wirewright.model.feed import HANDLER_GRACE_SECONDS, LATE_HANDLER_LOG
from wirewright.printable import get_logger, shown_url

IDLE_SECONDS = 24 * 60 * 60
"""How long an open WebSocket may be idle, unless `tcp_timeout` is set. Without any limit, the connection of a
phone that has left the network would stay open as long as the proxy runs."""

LOOK_SECONDS = 1.0
"""How often the connection of an app is looked at while mitmproxy does not report its end."""

logger = get_logger(__name__)


def watch_idleness(carrier: FlowSocket) -> None:
    """Have the carrier of a new socket end it when mitmproxy cuts its idle connection (`tcp_timeout`)."""
    handler = proxyserver().connections.get(carrier.flow.client_conn.id)
    if handler is None:
        return
    watchdog = handler.timeout_watchdog

    async def cut() -> None:
        reason = f"no traffic for {watchdog.timeout:g} s (tcp_timeout)"
        end_reasons.note(carrier.flow, reason)
        if event := carrier.cut_event(reason):
            await handler.server_event(event)
        await handler.on_timeout()

    watchdog.callback = cut


def allow_idleness(carrier: FlowSocket) -> None:
    """Let the connection of an open socket be idle for a day, if the user has not set `tcp_timeout`."""
    handler = proxyserver().connections.get(carrier.flow.client_conn.id)
    is_set = "tcp_timeout" in ctx.options and ctx.options.has_changed("tcp_timeout")  # not in mitmproxy 11
    if handler is not None and not is_set:
        handler.timeout_watchdog.timeout = IDLE_SECONDS


async def await_handler(flow: http.HTTPFlow, handler: asyncio.Task[Any]) -> None:
    """Wait for the handler of a message that mitmproxy's own layer carries. The handler is cancelled
    HANDLER_GRACE_SECONDS after the app has left.

    Until it returns, mitmproxy reports nothing of the socket, nor its end.
    """
    left_at = math.inf
    while not handler.done():
        await asyncio.wait([handler], timeout=LOOK_SECONDS)
        if not flow.client_conn.state & ConnectionState.CAN_READ:
            left_at = min(left_at, monotonic())
        if not handler.done() and monotonic() - left_at >= HANDLER_GRACE_SECONDS:
            logger.warning(LATE_HANDLER_LOG, shown_url(flow.request.pretty_url), HANDLER_GRACE_SECONDS)
            handler.cancel()
            await asyncio.wait([handler])


class ServerResets:
    """Notes which clients' servers have reset their connections (RFC 9293, 3.10.7)."""

    name = "wirewright-server-resets"

    def __init__(self) -> None:
        self._readers: dict[str, StreamReader] = {}
        self._reset: set[str] = set()

    def server_connected(self, data: ServerConnectionHookData) -> None:
        handler = proxyserver().connections.get(data.client.id)
        transport = handler and handler.transports.get(data.server)
        if transport and isinstance(transport.reader, StreamReader):
            self._readers[data.server.id] = transport.reader

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        reader = self._readers.pop(data.server.id, None)
        if reader is not None and isinstance(reader.exception(), ConnectionError):
            self._reset.add(data.client.id)

    def client_disconnected(self, client: Client) -> None:
        self.take(client.id)

    def take(self, client_id: str) -> bool:
        """True if a server of this client has reset its connection since the last call."""
        found = client_id in self._reset
        self._reset.discard(client_id)
        return found
