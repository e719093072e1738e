"""Decides if a WebSocket may open: its handshake was seen, and its routes were asked.

mitmproxy goes on when a hook of an addon raises, and other addons may end the chain of hooks (`AddonHalt`). A
server may also switch protocols though the app did not ask for a WebSocket. No route stops such a socket, and
no event or capture has it: it is cut, with a warning.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from mitmproxy import ctx, http

from wirewright.mitm import end_reasons
from wirewright.mitm.flow_socket import FlowSocket, server_address
from wirewright.mitm.origins import flow_origin
from wirewright.mitm.patches.websocket_layer import NotAdmitted
from wirewright.mitm.wire_socket import WireSocket
from wirewright.model.awaitables import is_being_cancelled
from wirewright.model.errors import ENDS_THE_PROGRAM
from wirewright.model.handshake import HandshakeRequest, asked_url, is_handshake
from wirewright.printable import get_logger, shown_url
from wirewright.state import control

logger = get_logger(__name__)

LARGEST_HANDSHAKE = 1024 * 1024
"""Bytes of a handshake's URL and header fields, of one that a route may be for. mitmproxy has no limit."""

INTERNAL_ERROR = "an error in Wirewright"
"""The reason for which a handshake or a socket is stopped that a route may be for."""


def asks_for_websocket(flow: http.HTTPFlow) -> bool:
    """True if a request is a handshake. Always False while mitmproxy's option `websocket` is off."""
    return bool(ctx.options.websocket) and is_handshake(flow.request.headers.fields)


def handshake_of(flow: http.HTTPFlow) -> HandshakeRequest:
    """The handshake of a flow, as routes and contexts know it: without its header fields at first."""
    if feed := control.feed(flow.id):
        return feed.socket._handshake
    request = flow.request
    return HandshakeRequest(
        url=asked_url(request.scheme, request.host_header, request.host, request.port, request.path),
        origin=flow_origin(flow),
        flow=flow,
    )


@contextmanager
def failing_closed(flow: http.HTTPFlow) -> Iterator[None]:
    """Stop a handshake if the block raises and a route may be for it. mitmproxy logs the exception."""
    try:
        yield
    except ENDS_THE_PROGRAM:
        raise
    except BaseException:
        if not is_being_cancelled() and _may_be_routed(flow):  # cancelled: the proxy is shut down
            stop(flow, INTERNAL_ERROR)
        raise


def stop(flow: http.HTTPFlow, reason: str) -> None:
    """End a handshake: its request or its answer is not forwarded, and the app's connection is closed."""
    if flow.killable:
        flow.kill()
    end_reasons.note(flow, reason)
    logger.warning("%s: the handshake is stopped: %s", shown_url(flow.request.pretty_url), reason)


def is_too_large(flow: http.HTTPFlow) -> bool:
    """True for a handshake of more than LARGEST_HANDSHAKE bytes that a route may be for.

    A route's handler may be in another process, and a URL of any length would be matched with each rule.
    """
    request = flow.request
    url_size = len(request.data.path) + len(request.data.authority)
    size = url_size + sum(len(name) + len(value) for name, value in request.headers.fields)
    return size > LARGEST_HANDSHAKE and (url_size > LARGEST_HANDSHAKE or _may_be_routed(flow))


def refusal_reason(flow: http.HTTPFlow) -> str | None:
    """The reason why the socket of a flow must not open; None if it may."""
    feed = control.feed(flow.id)
    if feed is None:
        return end_reasons.reason_for(flow) or "no handshake asked for a WebSocket"
    carrier = feed.carrier
    assert isinstance(carrier, FlowSocket)
    if not carrier.routes_asked and _may_be_routed(flow):
        return "no route was asked"
    if carrier.route is not None and flow.request.stream:
        return "its request was streamed to the server before its route decided"
    return None


def _may_be_routed(flow: http.HTTPFlow) -> bool:
    try:
        return control.may_route(handshake_of(flow))
    except Exception:  # fail closed
        return True


def admit(flow: http.HTTPFlow) -> WireSocket | None:
    """Begin a socket that opens now, and return it as the layer's observer; None on the hooks lane.

    Raises NotAdmitted if the socket must not open. This is called by the layer and not by a hook: an addon
    that fails may keep mitmproxy from calling our hooks.
    """
    if (reason := refusal_reason(flow)) is not None:
        raise NotAdmitted(reason)
    feed = control.feed(flow.id)
    assert feed is not None
    if not isinstance(feed.carrier, WireSocket):
        return None
    end_reasons.forget(flow)
    feed.opened(server_address(flow))
    feed.carrier.start(feed)
    return feed.carrier
