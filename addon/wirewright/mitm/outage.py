"""The outage of a proxy that is offline: apps are cut from all servers, and from routes."""

from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from wirewright.mitm import end_reasons
from wirewright.mitm.admission import handshake_of
from wirewright.mitm.flow_socket import FlowSocket, proxyserver
from wirewright.mitm.origins import connection_origin
from wirewright.model.context_filter import ContextFilter
from wirewright.model.origin import Origin
from wirewright.state import control

OFFLINE = "the proxy is offline"
"""The `close_reason` of sockets that the outage ends."""


class Outage:
    """Cuts all connections of apps when it begins, and lets none of their requests through until it ends.

    The connections of apps themselves are accepted: so each handshake that an app tries is seen, as a socket
    that fails.
    """

    name = "wirewright-outage"

    def __init__(self) -> None:
        self._begun: list[tuple[object, ContextFilter | None]] = []
        """The scripts, remote clients and (None) this program that have begun it and not ended it, each with
        the context whose apps are cut; None for all apps."""

    def begin(self, holder: object, context: ContextFilter | None = None) -> None:
        """Begin the outage for the apps of a context, or for all."""
        self._begun.append((holder, context))
        carried = set()
        for key, socket in control.sockets():
            feed = control.feed(key)
            if feed is not None and isinstance(feed.carrier, FlowSocket) and socket.flow is not None:
                carried.add(socket.flow.client_conn.id)
                if context is None or context.accepts(socket._origin):
                    feed.carrier.cut(OFFLINE)
        for handler in list(proxyserver().connections.values()):
            client, io = handler.client, handler.transports.get(handler.client)
            is_meant = context is None or context.accepts(connection_origin(client))
            if is_meant and client.id not in carried and io is not None and io.handler is not None:
                handler.close_connection(client)

    def end(self, *, holder: object = None, context: ContextFilter | None = None) -> None:
        """End the outages of a holder, those of a context, or (without either) all."""
        if holder is None and context is None:
            self._begun.clear()
        self._begun = [
            (other, each)
            for other, each in self._begun
            if (holder is None or other is not holder) and (context is None or each is not context)
        ]

    def _holds_for(self, origin: Callable[[], Origin]) -> bool:
        """True if there is an outage for an app. `origin` is only called if there is one for some apps."""
        return any(context is None or context.accepts(origin()) for _, context in self._begun)

    def refuse(self, flow: http.HTTPFlow) -> None:
        """End a request of an app if there is an outage for it."""
        if flow.killable and self._holds_for(lambda: handshake_of(flow).origin):
            flow.kill()
            end_reasons.note(flow, OFFLINE)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Whatever an app speaks, it reaches no server."""
        if self._holds_for(lambda: connection_origin(data.client)):
            data.server.error = OFFLINE
