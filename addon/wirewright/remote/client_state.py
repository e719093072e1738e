"""The state of a proxy and its sockets in a remote client, whose changes go to the proxy."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from wirewright.model.context_filter import ContextFilter
from wirewright.model.errors import Error
from wirewright.model.matching import LateMatch, UrlMatch
from wirewright.model.misuse import shown_as
from wirewright.model.proxy_state import ProxyState
from wirewright.model.route_table import RouteHandler
from wirewright.model.socket_text import end_text
from wirewright.model.websocket import WebSocket

if TYPE_CHECKING:
    from wirewright.remote.client import Client

__tracebackhide__ = True  # pytest shows the line that calls


class RemoteState(ProxyState):
    """The state of a proxy that runs elsewhere. The proxy knows of a change once its result is awaited."""

    def __init__(self, client: "Client") -> None:
        super().__init__()
        self._client = client

    def add_route(
        self,
        url: UrlMatch | LateMatch | None,
        handler: RouteHandler,
        times: int | None,
        context: ContextFilter | None,
    ) -> Awaitable[None]:
        return self._client.add_rule(self.routes.add(url, handler, times, context))

    def remove_routes(
        self, url: UrlMatch | LateMatch | None, handler: RouteHandler | None, context: ContextFilter | None
    ) -> Awaitable[None] | None:
        self.routes.remove(url, handler, context)
        return self._client.keep_rules(self.routes.rules)

    def open_context(self, context: ContextFilter) -> Awaitable[None]:
        return self._client.contexts.open(context)

    def close_context(self, context: ContextFilter) -> Awaitable[None] | None:
        self.routes.remove_context(context)
        if self.scope.ended_reason is not None:
            return None
        self._client.keep_rules(self.routes.rules)
        return self._client.contexts.close(context)


@shown_as("WebSocket")
class RemoteSocket(WebSocket):
    """A socket of a proxy that runs elsewhere."""

    _missed = 0
    """How many of its messages were left out."""

    def _check_open(self) -> None:
        # The proxy knows earlier than this client that it is open.
        if self.is_closed():
            raise Error(end_text(self))

    def _remark(self, earlier: int, *, history: bool) -> Callable[[], str]:
        before = 0 if history and not earlier else self._missed

        def remark() -> str:
            missed = earlier + self._missed - before
            return f" ({missed:,} messages were left out: this client did not keep up)" if missed else ""

        return remark
