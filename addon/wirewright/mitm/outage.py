"""The outage of a proxy that is offline: apps are cut from all servers, and from routes."""

from mitmproxy import http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from wirewright.mitm import end_reasons
from wirewright.mitm.flow_socket import FlowSocket, proxyserver
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
        self._holders: list[object] = []
        """Scripts, remote clients and (None) this program that have begun it and not ended it."""

    def begin(self, holder: object) -> None:
        """Begin the outage, or go on with it for another holder."""
        if not any(each is holder for each in self._holders):
            self._holders.append(holder)
        carried = set()
        for key, socket in control.sockets():
            feed = control.feed(key)
            if feed is not None and isinstance(feed.carrier, FlowSocket) and socket.flow is not None:
                carried.add(socket.flow.client_conn.id)
                feed.carrier.cut(OFFLINE)
        for handler in list(proxyserver().connections.values()):
            io = handler.transports.get(handler.client)
            if handler.client.id not in carried and io is not None and io.handler is not None:
                handler.close_connection(handler.client)

    def end(self, holder: object = None) -> None:
        """End the outage: for one holder, or (None) for all of them."""
        self._holders = [each for each in self._holders if holder is not None and each is not holder]

    def refuse(self, flow: http.HTTPFlow) -> None:
        """End a request of an app if there is an outage."""
        if self._holders and flow.killable:
            flow.kill()
            end_reasons.note(flow, OFFLINE)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Whatever an app speaks, it reaches no server."""
        if self._holders:
            data.server.error = OFFLINE
