"""Our layers in the place of mitmproxy's own."""

import sys
from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket

from wirewright.mitm.layers.cut_layer import CutLayer
from wirewright.mitm.layers.hooks_layer import HooksLayer
from wirewright.mitm.layers.wire_layer import WireLayer
from wirewright.printable import get_logger, shown_url
from wirewright.wire.observer import Observer

logger = get_logger(__name__)

_stock_layer = websocket.WebsocketLayer
_stock_fragment_size = websocket.Fragmentizer.FRAGMENT_SIZE


class NotAdmitted(Exception):
    """A socket must not open, for this reason."""


def install(observe: Callable[[http.HTTPFlow], Observer | None]) -> None:
    """New sockets get our layers: the wire's if they have an observer, else mitmproxy's with what it lacks.

    `observe` raises NotAdmitted for a socket that must not open. It is cut, as after any other exception.

    mitmproxy's HTTP layer looks the class up in its module, each time that it needs one.
    """

    def make_layer(context: Context, flow: http.HTTPFlow) -> layer.Layer:
        try:
            observer = observe(flow)
        except NotAdmitted as error:
            logger.warning("%s: the WebSocket is cut: %s", shown_url(flow.request.pretty_url), error)
            return CutLayer(context, flow)
        except Exception:
            logger.exception(
                "%s: the WebSocket is cut after an error in Wirewright", shown_url(flow.request.pretty_url)
            )
            return CutLayer(context, flow)
        return HooksLayer(context, flow) if observer is None else WireLayer(context, flow, observer)

    websocket.WebsocketLayer = make_layer  # type: ignore[misc, assignment]
    # On the hooks lane a changed message goes out in one frame. mitmproxy cuts it up, and characters with it.
    websocket.Fragmentizer.FRAGMENT_SIZE = sys.maxsize


def is_installed() -> bool:
    """Whether new sockets get our layers."""
    return websocket.WebsocketLayer is not _stock_layer


def uninstall() -> None:
    """New sockets get mitmproxy's own layer again."""
    websocket.WebsocketLayer = _stock_layer  # type: ignore[misc]
    websocket.Fragmentizer.FRAGMENT_SIZE = _stock_fragment_size
