"""The state that a `Proxy` and its contexts share: a context is a Proxy with a filter."""

from collections.abc import Awaitable
from itertools import count
from typing import TYPE_CHECKING

from wirewright.model.context_filter import ContextFilter
from wirewright.model.emitter import DEFAULT_TIMEOUT
from wirewright.model.ended_sockets import EndedSocket, EndedSockets
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.matching import UrlMatch
from wirewright.model.proxy_host import Host
from wirewright.model.route_table import RouteHandler, RouteTable
from wirewright.model.scope import Scope
from wirewright.model.tape import Recording
from wirewright.model.websocket import WebSocket

if TYPE_CHECKING:
    from wirewright.model.proxy_context import ProxyContext

__tracebackhide__ = True  # pytest shows the line that calls


class ProxyState:
    """The sockets of a proxy, and all that is set for them.

    A `ContextFilter` stands for a context, and None for the proxy itself.
    """

    def __init__(self) -> None:
        self.scope = Scope()
        self.host: Host | None = None
        """The program that runs the proxy; None while none does."""
        self.feeds: dict[str, Feed] = {}
        """The sockets that are not closed, by their keys, oldest first."""
        self.ended = EndedSockets()
        self.routes = RouteTable()
        self.contexts: list[ProxyContext] = []
        """The contexts that are not closed, oldest first."""
        self.timeouts: dict[ContextFilter | None, float] = {}
        """The default timeouts that were set, in milliseconds, by context."""
        self.recordings: dict[ContextFilter | None, Recording] = {}
        """The captures that run, by the contexts whose sockets they record."""
        self.next_number = 1
        """The number of the next socket."""
        self.sequence = count(1)
        """A sequence number for each request and each end of a socket."""

    def take_number(self) -> int:
        """The number of a new socket."""
        number, self.next_number = self.next_number, self.next_number + 1
        return number

    def running_host(self) -> Host:
        """The program that runs the proxy. Raises Error while none does."""
        if self.host is None:
            raise Error("no proxy is running")
        return self.host

    def sockets(self, context: ContextFilter | None) -> list[WebSocket]:
        """The sockets of a context that are not closed, oldest first."""
        sockets = [feed.socket for feed in self.feeds.values()]
        return [each for each in sockets if context is None or context.accepts(each._origin)]

    def ended_sockets(self, context: ContextFilter | None) -> list[EndedSocket]:
        """How the newest sockets of a context ended, in the order of their ends."""
        return [each for each in self.ended if context is None or context.accepts(each.origin)]

    def timeout_in(self, context: ContextFilter | None) -> float:
        """The default timeout of a context: its own, or else that of the context or the proxy around it."""
        while context is not None and context not in self.timeouts:
            context = context.parent
        return self.timeouts.get(context, DEFAULT_TIMEOUT)

    def timeout_of(self, socket: WebSocket) -> float:
        """The default timeout of a socket: that of its innermost context that has one, of several the newest.

        Without such a context it is that of the proxy.
        """
        contexts = [context._filter for context in reversed(self.contexts)]
        with_timeout = (each for each in contexts if each in self.timeouts and each.accepts(socket._origin))
        return self.timeout_in(max(with_timeout, key=lambda each: each.depth, default=None))

    # Overridden for a proxy in another process, which then knows of it

    def add_route(
        self, url: UrlMatch | None, handler: RouteHandler, times: int | None, context: ContextFilter | None
    ) -> Awaitable[None] | None:
        """Register a route of a context. Raises ValueError and TypeError, as `RouteTable.add`."""
        rule = self.routes.add(url, handler, times, context)
        self.scope.note_owner(rule.owner)
        return None

    def remove_routes(
        self, url: UrlMatch | None, handler: RouteHandler | None, context: ContextFilter | None
    ) -> Awaitable[None] | None:
        """Remove the routes of a context for a URL, as `RouteTable.remove`."""
        self.routes.remove(url, handler, context)
        return None

    def open_context(self, context: ContextFilter) -> Awaitable[None] | None:
        """A context is made."""

    def close_context(self, context: ContextFilter) -> Awaitable[None] | None:
        """Remove the routes, the outage and the capture of a context."""
        self.routes.remove_context(context)
        if self.host is None:
            return None
        self.host.end_outage(context=context)
        return self.host.stop_capture(context)
