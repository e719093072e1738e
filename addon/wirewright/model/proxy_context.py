"""The sockets of one device, listening port or proxy user, as a proxy of their own.

https://playwright.dev/python/docs/browser-contexts
"""

from collections.abc import Generator
from typing import Any

from wirewright.model.awaitables import Completion
from wirewright.model.context_filter import ContextFilter
from wirewright.model.errors import EndedError
from wirewright.model.misuse import AsyncContextManager
from wirewright.model.outside_sockets import OutsideSockets
from wirewright.model.ownership import current_owner
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_state import ProxyState

__tracebackhide__ = True  # pytest shows the line that calls

CLOSED = "Context closed"
"""The message of the errors that waits and calls raise after the end of a context."""


class ProxyContext(Proxy, AsyncContextManager):
    """The sockets of one device, listening port or proxy user. Made by `proxy.context`.

    Event: `websocket` with each WebSocket of the context. Listeners of the proxy get it, too.

    A route of a context takes precedence over those of the proxy, whichever is newer. The default timeout
    holds for waits on the context and on its sockets; until it is set, it is that of the proxy.

    It may be awaited: a proxy in another process knows of it then.
    """

    _filter: ContextFilter
    _outside: OutsideSockets
    _expression, _value = "proxy.context(...)", "context"

    def __init__(self, parent: Proxy, context_filter: ContextFilter) -> None:
        """`parent` is a proxy, or the context around this one."""
        parent._check_runs()
        super().__init__(parent._state, context_filter)
        self._owner = current_owner()
        """The script that has made the context."""
        self._scope.note_owner(self._owner)
        self._shared.contexts.append(self)
        self._opened: Completion[None] = Completion(self._shared.open_context(context_filter))

    def __repr__(self) -> str:
        return f"<ProxyContext {self._filter}>"

    def __await__(self) -> Generator[Any, None, "ProxyContext"]:
        yield from self._opened.__await__()
        return self

    async def __aenter__(self) -> "ProxyContext":
        return await self

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

    def close(self) -> Completion[None]:
        """Remove the listeners and routes of the context, and end its capture and waits.

        Its sockets stay open, with the routes that they have. Contexts that were made of it are closed, too.
        In the async API the result may be awaited: a proxy in another process has then done it.
        """
        state = self._shared
        if self not in state.contexts:
            return Completion()
        for context in reversed(list(state.contexts)):
            if context._filter.parent is self._filter:
                context.close()
        state.contexts.remove(self)
        self._timeout_setting = None
        self._taps = ()
        self.remove_all_listeners()
        self._scope.end_of(self, CLOSED)
        return Completion(state.close_context(self._filter))

    @property
    def _state(self) -> ProxyState:
        self._check_runs()
        return self._shared

    def _check_runs(self) -> None:
        super()._check_runs()
        if self not in self._shared.contexts:
            raise EndedError(CLOSED)
