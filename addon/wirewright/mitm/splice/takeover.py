"""Whether, and when, the connections of a socket can be spliced."""

import asyncio
from collections.abc import Iterable, Sequence
from logging import DEBUG

from mitmproxy import ctx
from mitmproxy.connection import Connection
from mitmproxy.proxy.events import Event
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HttpClient, HttpLayer, HttpStream
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.layers.tls import ClientTLSLayer, ServerTLSLayer, TLSLayer
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.proxy.tunnel import TunnelLayer, TunnelState
from OpenSSL import SSL

from wirewright.mitm.flow_socket import proxyserver
from wirewright.mitm.layers.wire_layer import WireLayer
from wirewright.mitm.splice.splice import Splice
from wirewright.mitm.splice.spliced_connection import SplicedConnection

RETRY_SECONDS = 0.001
"""After so long a socket is looked at again in whose readers or layers something waits."""

_KNOWN = {
    modes.HttpProxy,
    modes.HttpUpstreamProxy,
    modes.TransparentProxy,
    modes.ReverseProxy,
    modes.Socks5Proxy,
    HttpLayer,
    HttpStream,
    HttpClient,
    Http1Client,
    Http1Server,
    HttpUpstreamProxy,
    ClientTLSLayer,
    ServerTLSLayer,
}
"""Layers that pass the bytes of an open WebSocket on as they are, or through TLS."""


class _EventQueue(list[Event]):
    """The events that wait in a layer, as a rule none. An empty deque, as mitmproxy has it, takes 760 bytes,
    and a socket has more than ten layers."""

    def popleft(self) -> Event:
        return self.pop(0)


class _ImpossibleError(Exception):
    """The layers of mitmproxy have to carry this socket. The text is the reason."""


def splice_soon(layer: WireLayer) -> None:
    """Splice the connections of an open socket, if that is wanted (`ws_splice`) and possible."""
    if ctx.options.ws_splice:
        asyncio.get_running_loop().call_soon(_splice, layer)


def _splice(layer: WireLayer) -> None:
    handler = proxyserver().connections.get(layer.flow.client_conn.id)
    if handler is None or layer.is_finished:
        return
    try:
        connections, layers = _path(layer, handler)
    except _ImpossibleError as reason:
        handler.log(f"mitmproxy's layers carry a WebSocket: {reason}.", DEBUG)
    else:
        _begin_when_idle(Splice(layer, handler, connections), layers)


def _begin_when_idle(splice: Splice, layers: Sequence[Layer]) -> None:
    """Take the connections over once mitmproxy has handled what it has read. Until then nothing is read."""
    if splice.has_ended:
        splice.resume_reading()
        return
    splice.pause_reading()
    if splice.is_idle and not any(each._paused or each._paused_event_queue for each in layers):
        for each in layers:
            each._paused_event_queue = _EventQueue()  # type: ignore[assignment]
        splice.begin()
    else:
        asyncio.get_running_loop().call_later(RETRY_SECONDS, _begin_when_idle, splice, layers)


def _path(
    layer: WireLayer, handler: ConnectionHandler
) -> tuple[dict[Connection, SplicedConnection], Sequence[Layer]]:
    """The connections of a socket, and all layers that they go through. Raises _ImpossibleError."""
    context = layer.context
    layers = [*context.layers]
    found: dict[Connection, SplicedConnection] = {}
    found[context.client] = _connection(context.client, layers, handler)
    http = next(each for each in reversed(layers) if isinstance(each, HttpLayer))
    if context.server in http.connections:
        layers = [*dict.fromkeys([*layers, *http.connections[context.server].context.layers])]
        found[context.server] = _connection(context.server, layers, handler)
    for each in layers:
        if type(each) not in _KNOWN and each is not layer:
            raise _ImpossibleError(f"{type(each).__name__} is not known")
        if isinstance(each, HttpLayer) and type(each.connections[context.client]) is not Http1Server:
            raise _ImpossibleError("the app does not speak HTTP/1.1")
    return found, layers


def _connection(inner: Connection, layers: Sequence[Layer], handler: ConnectionHandler) -> SplicedConnection:
    outer, tls = _outermost(inner, layers)
    io = handler.transports.get(outer)
    if io is None:
        raise _ImpossibleError("a connection of it has ended")
    if not (isinstance(io.reader, asyncio.StreamReader) and isinstance(io.writer, asyncio.StreamWriter)):
        raise _ImpossibleError("it has no TCP connection of this process")
    if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        raise _ImpossibleError("the event loop may read several connections at a time")
    if not hasattr(io.reader, "_buffer") or not (tls is None or hasattr(tls, "_into_ssl")):
        raise _ImpossibleError("asyncio or pyOpenSSL is not as expected")
    return SplicedConnection(outer, io.reader, io.writer, tls)


def _outermost(connection: Connection, layers: Iterable[Layer]) -> tuple[Connection, SSL.Connection | None]:
    """The connection of the network that carries a connection, and the TLS in it."""
    tls = None
    for each in reversed([each for each in layers if isinstance(each, TunnelLayer)]):
        if each.conn is not connection:
            continue
        if each.tunnel_state is not TunnelState.OPEN:
            raise _ImpossibleError(f"{each} is not open")
        if isinstance(each, TLSLayer):
            if tls is not None:
                raise _ImpossibleError("it has TLS inside of TLS")
            tls = each.tls
        connection = each.tunnel_connection
    return connection, tls
