"""Our layers in the place of mitmproxy's own."""

import sys
from collections.abc import Callable

from mitmproxy import http
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket

from wirewright.wire.hooks_layer import HooksLayer
from wirewright.wire.layer import WireLayer
from wirewright.wire.observing import Observer

_stock_layer = websocket.WebsocketLayer
_stock_fragment_size = websocket.Fragmentizer.FRAGMENT_SIZE


def install(observe: Callable[[http.HTTPFlow], Observer | None]) -> None:
    """New sockets get our layers: the wire's if they have an observer, else mitmproxy's with what it lacks.

    mitmproxy's HTTP layer looks the class up in its module, each time that it needs one.
    """

    def make_layer(context: Context, flow: http.HTTPFlow) -> layer.Layer:
        observer = observe(flow)
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
