"""Our layers in the place of mitmproxy's own."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mitmproxy import http
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context

from wirewright.printable import get_logger, shown_url
from wirewright.wire.observer import Observer

if TYPE_CHECKING:
    from wirewright.mitm.layers.wire_layer import WireLayer

logger = get_logger(__name__)

Opened = Callable[["WireLayer"], None]
Observe = Callable[[http.HTTPFlow], Observer | None]
"""Returns the observer of a socket that the wire carries; None for one that mitmproxy's own layer carries.

It raises NotAdmitted for a socket that must not open.
"""


class NotAdmitted(Exception):
    """A socket must not open, for this reason."""


def do_nothing(_: object) -> None:
    """A function for `call_when_open`."""


_observe: Observe
_opened: Opened = do_nothing


def observe_with(observe: Observe) -> None:
    """Set the function that finds the observers of new sockets."""
    global _observe
    _observe = observe


def call_when_open(opened: Opened) -> None:
    """Set the function that is called with the layer of each socket once messages may come."""
    global _opened
    _opened = opened


def layer_class(stock: object) -> Callable[..., layer.Layer]:
    """Have new sockets carried by WireLayer if they have an observer, else by HooksLayer. A socket that is
    not admitted is cut, and so is one for which `_observe` raises.

    mitmproxy's HTTP layer looks the class up in its module each time that it needs one.
    """
    # Imported here: their base class is the one that this replaces, and a mitmproxy may not have it.
    from wirewright.mitm.layers.cut_layer import CutLayer
    from wirewright.mitm.layers.hooks_layer import HooksLayer
    from wirewright.mitm.layers.wire_layer import WireLayer

    def make_layer(context: Context, flow: http.HTTPFlow, *_: Any, **__: Any) -> layer.Layer:
        try:
            observer = _observe(flow)
        except NotAdmitted as error:
            logger.warning("%s: the WebSocket is cut: %s", shown_url(flow.request.pretty_url), error)
            return CutLayer(context, flow)
        except Exception:
            logger.exception(
                "%s: the WebSocket is cut after an error in Wirewright", shown_url(flow.request.pretty_url)
            )
            return CutLayer(context, flow)
        return HooksLayer(context, flow) if observer is None else WireLayer(context, flow, observer, _opened)

    return make_layer


def fragment_size(stock: object) -> int:
    """Have mitmproxy send each changed message in one frame."""
    return sys.maxsize
