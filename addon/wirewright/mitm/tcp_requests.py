"""HTTP requests in connections that mitmproxy takes for TCP, where no hook sees their WebSockets.

mitmproxy does so if the server speaks first, whatever the app sends then, and if a request line does not end
within the first read. With routes, such a connection is cut at its request.
"""

import re
from collections.abc import Iterable

from mitmproxy import ctx, tcp
from mitmproxy.utils import human

from wirewright.mitm.flow_socket import proxyserver
from wirewright.mitm.request_start import METHODS, may_be_request
from wirewright.printable import get_logger
from wirewright.state import control

logger = get_logger(__name__)


class TcpRequestAddon:
    """Cuts TCP connections whose first bytes from the app are a request, while there are routes."""

    name = "wirewright-tcp-requests"

    def __init__(self) -> None:
        self._starts: dict[str, bytes] = {}
        """The first bytes of apps, by the ids of flows, until it is clear what they are."""
        self._cut: set[str] = set()
        """The ids of flows that are cut and have not ended yet."""

    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        if not _is_chosen_by_user(flow):
            self._starts[flow.id] = b""

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        message = flow.messages[-1]
        if flow.id in self._cut:
            message.content = b""
        elif message.from_client and flow.id in self._starts:
            start = (self._starts[flow.id] + message.content).lstrip(b"\r\n")
            if start.startswith(METHODS):
                del self._starts[flow.id]
                if control.has_routes and ctx.options.websocket:
                    message.content = b""
                    self._cut.add(flow.id)
                    _cut(flow)
            elif may_be_request(start):
                self._starts[flow.id] = start
            else:
                del self._starts[flow.id]

    def tcp_end(self, flow: tcp.TCPFlow) -> None:
        self._starts.pop(flow.id, None)
        self._cut.discard(flow.id)

    tcp_error = tcp_end


def _cut(flow: tcp.TCPFlow) -> None:
    address = flow.server_conn.address
    logger.warning(
        "%s: the connection is cut: it has an HTTP request, which a route may be for, and mitmproxy takes it "
        "for TCP, because the server spoke first or the request line is too long. (tcp_hosts lets it pass.)",
        human.format_address(address) if address else "unknown server",
    )
    handler = proxyserver().connections.get(flow.client_conn.id)
    for transport in list(handler.transports.values()) if handler else ():
        if transport.handler is not None:
            transport.handler.cancel("cut by Wirewright")


def _is_chosen_by_user(flow: tcp.TCPFlow) -> bool:
    """True for a connection that is TCP by an option of mitmproxy's, not by its guess."""
    mode = flow.client_conn.proxy_mode
    if getattr(mode, "scheme", "") == "tcp":
        return True
    hosts, names = _hosts(flow)
    options = ctx.options
    if _any_match(options.tcp_hosts, hosts):
        return True
    if not options.show_ignored_hosts:
        return False
    is_allowed = not options.allow_hosts or _any_match(options.allow_hosts, names)
    return not is_allowed or _any_match(options.ignore_hosts, names)


def _hosts(flow: tcp.TCPFlow) -> tuple[list[str], list[str]]:
    """The hosts of a connection's server, without and with the port."""
    server, sni = flow.server_conn, flow.client_conn.sni
    addresses = [each[:2] for each in (server.address, server.peername) if each]
    if sni and server.address:
        addresses.append((sni, server.address[1]))
    return [host for host, _ in addresses], [f"{host}:{port}" for host, port in addresses]


def _any_match(patterns: Iterable[str], hosts: Iterable[str]) -> bool:
    return any(re.search(pattern, host, re.IGNORECASE) for pattern in patterns for host in hosts)
