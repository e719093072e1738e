"""Ends of connections that mitmproxy's hooks do not report: by its idle timeout, or by a reset."""

from asyncio import StreamReader

from mitmproxy import ctx
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from wirewright import interventions
from wirewright.carriers import InjectingCarrier, proxyserver

IDLE_SECONDS = 24 * 60 * 60
"""How long an open WebSocket may be idle, unless `tcp_timeout` is set. Without any limit, the connection of a
phone that has left the network would stay open as long as the proxy runs."""


def watch_idleness(carrier: InjectingCarrier) -> None:
    """Have the carrier of a new socket end it when mitmproxy cuts its idle connection (`tcp_timeout`)."""
    handler = proxyserver().connections.get(carrier.flow.client_conn.id)
    if handler is None:
        return
    watchdog = handler.timeout_watchdog

    async def cut() -> None:
        reason = f"no traffic for {watchdog.timeout:g} s (tcp_timeout)"
        interventions.note(carrier.flow, reason)
        if event := carrier.cut_event(reason):
            await handler.server_event(event)
        await handler.on_timeout()

    watchdog.callback = cut


def allow_idleness(carrier: InjectingCarrier) -> None:
    """Let the connection of an open socket be idle for a day, if the user has not set `tcp_timeout`."""
    handler = proxyserver().connections.get(carrier.flow.client_conn.id)
    is_set = "tcp_timeout" in ctx.options and ctx.options.has_changed("tcp_timeout")  # not in mitmproxy 11
    if handler is not None and not is_set:
        handler.timeout_watchdog.timeout = IDLE_SECONDS


class ServerResets:
    """Tells which clients' servers have reset their connections (RFC 9293, 3.10.7)."""

    def __init__(self) -> None:
        self._readers: dict[str, StreamReader] = {}
        self._reset: set[str] = set()

    def connected(self, data: ServerConnectionHookData) -> None:
        handler = proxyserver().connections.get(data.client.id)
        transport = handler and handler.transports.get(data.server)
        if transport and isinstance(transport.reader, StreamReader):
            self._readers[data.server.id] = transport.reader

    def disconnected(self, data: ServerConnectionHookData) -> None:
        reader = self._readers.pop(data.server.id, None)
        if reader is not None and isinstance(reader.exception(), ConnectionError):
            self._reset.add(data.client.id)

    def take(self, client_id: str) -> bool:
        """True if a server of this client has reset its connection since the last call."""
        found = client_id in self._reset
        self._reset.discard(client_id)
        return found
