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

Observe = Callable[[http.HTTPFlow], Observer | None]
"""Returns the observer of a socket that the wire carries; None for one that mitmproxy's own layer carries.

It raises NotAdmitted for a socket that must not open.
"""


class NotAdmitted(Exception):
    """A socket must not open, for this reason."""


_observe: Observe
_opened: Callable[[Any], None]


def observe_with(observe: Observe, opened: Callable[["WireLayer"], None] = lambda _: None) -> None:
    """Set the function that finds the observers of new sockets, and the one that is called when their layers
    are open."""
    global _observe, _opened
    _observe, _opened = observe, opened


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
