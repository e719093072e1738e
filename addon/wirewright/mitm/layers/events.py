"""Events for a socket's layer that come from outside: from users, routes and other addons."""

from mitmproxy.proxy.events import MessageInjected

from wirewright.wire.observer import LateDecision, Order
from wirewright.wire.stream import Close


class CloseInjected(MessageInjected[Close]):
    """The proxy is asked to close a socket."""


class Aborted(MessageInjected[str]):
    """Both connections are to be cut, for a reason."""


class Continued(MessageInjected[None]):
    """The layer is to go on with what it has begun (`WireLayer.handle_directly`)."""


class DecisionInjected(MessageInjected[LateDecision]):
    """A held message that was undecided is decided."""


class OrderInjected(MessageInjected[Order]):
    """A route, or a user, has given an order."""

    is_relayed = False
    """True while mitmproxy's own layer calls its hooks for this order."""
