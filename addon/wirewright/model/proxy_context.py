"""The sockets of one device, listening port or proxy user, as a proxy of their own.

https://playwright.dev/python/docs/browser-contexts
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from wirewright.model.awaitables import Completion
from wirewright.model.context_filter import ContextFilter
from wirewright.model.emitter import Emitter
from wirewright.model.errors import EndedError
from wirewright.model.event_wait import WaitOptions, to_milliseconds
from wirewright.model.feed import Feed
from wirewright.model.outside_sockets import OutsideSockets
from wirewright.model.ownership import current_owner
from wirewright.model.proxy import Host, Proxy

__tracebackhide__ = True  # pytest shows the line that calls

CLOSED = "Context closed"
"""The message of the errors that waits and calls raise after the end of a context."""


class ProxyContext(Proxy):
    """The sockets of one device, listening port or proxy user. Made by `proxy.context`.

    Event: `websocket` with each WebSocket of the context. Listeners of the proxy get it, too.

    A route of a context takes precedence over those of the proxy, whichever is newer. The default timeout
    holds for waits on the context and on its sockets; until it is set, it is that of the proxy.
    """

    _filter: ContextFilter
    _outside: OutsideSockets

    def __init__(self, parent: Proxy, context_filter: ContextFilter) -> None:
        """`parent` is a proxy, or the context around this one."""
        parent._check_runs()
        self._proxy = parent._root
        Emitter.__init__(self, self._proxy._scope)
        self._parent = parent
        self._filter = context_filter
        self._outside = OutsideSockets(context_filter)
        self._own_timeout: float | None = None
        self._is_closed = False
        self._owner = current_owner()
        """The script that has made the context."""
        self._scope.note_owner(self._owner)
        self._proxy._contexts.append(self)
        self._opened: Completion[None] = Completion(self._proxy._open_context(context_filter))

    def __repr__(self) -> str:
        return f"<ProxyContext {self._filter}>"

    async def __aenter__(self) -> "ProxyContext":
        await self._opened
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def port(self) -> int:
        """The port of the context; without one, the port that the proxy listens on.

        Raises Error where the proxy listens on none, or does not run.
        """
        self._running_host()
        only = self._filter.only_port
        return super().port if only is None else only

    def set_default_timeout(self, timeout: float | timedelta) -> None:
        """Set the timeout of waits on the context and its sockets that have no `timeout` of their own.

        It is in milliseconds, or a timedelta; 0 means no limit. Waits on the proxy keep theirs.
        """
        self._timeout_setting = to_milliseconds(timeout)

    def close(self) -> Completion[None]:
        """Remove the listeners and routes of the context, and end its capture and waits.

        Its sockets stay open, with the routes that they have. Contexts that were made of it are closed, too.
        In the async API the result may be awaited: a proxy in another process has then done it.
        """
        if self._is_closed:
            return Completion()
        for context in reversed(list(self._proxy._contexts)):
            if context._parent is self:
                context.close()
        self._is_closed = True
        self._proxy._contexts.remove(self)
        self._taps = ()
        self.remove_all_listeners()
        self._scope.end_of(self, CLOSED)
        return Completion(self._proxy._close_context(self._filter))

    # As a proxy

    @property
    def _feeds(self) -> dict[str, Feed]:  # type: ignore[override]  # those of its sockets
        feeds = self._root._feeds
        return {key: feed for key, feed in feeds.items() if self._sees(feed.socket)}

    @property
    def _host(self) -> Host | None:  # type: ignore[override]
        return self._root._host

    @property
    def _root(self) -> Proxy:
        self._check_runs()
        return self._proxy

    def _check_runs(self) -> None:
        super()._check_runs()
        if self._is_closed:
            raise EndedError(CLOSED)

    @property
    def _default_timeout(self) -> float:
        return self._parent._default_timeout if self._own_timeout is None else self._own_timeout

    @property
    def _timeout_setting(self) -> float | None:
        return self._own_timeout

    @_timeout_setting.setter
    def _timeout_setting(self, milliseconds: float | None) -> None:
        self._own_timeout = milliseconds

    def _wait_options(self, event: str) -> WaitOptions:
        self._check_runs()
        return super()._wait_options(event)

    def _add_event_handler(self, event: str, k: Callable[..., Any], v: Callable[..., Any]) -> None:
        self._check_runs()
        super()._add_event_handler(event, k, v)
