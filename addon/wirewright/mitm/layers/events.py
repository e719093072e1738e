"""What a socket's layer is told from outside, as events of mitmproxy's."""

from mitmproxy.proxy.events import MessageInjected

from wirewright.wire.observer import Decided, Order
from wirewright.wire.stream import Close


class CloseInjected(MessageInjected[Close]):
    """Somebody asked the proxy to close a socket."""


class Aborted(MessageInjected[str]):
    """Both connections are to be cut, for a reason."""


class DecidedEvent(MessageInjected[Decided]):
    """A held message that was undecided is decided."""


class Ordered(MessageInjected[Order]):
    """A route has given an order."""

    is_relayed = False
    """Whether mitmproxy's own layer tells its hooks of just this."""
