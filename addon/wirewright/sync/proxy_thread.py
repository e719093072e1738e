"""A proxy of the async API in a thread of its own."""

from contextlib import AbstractAsyncContextManager
from functools import partial

from wirewright.model.proxy import Proxy
from wirewright.model.proxy_loop import RunningProxy
from wirewright.model.running_proxies import running_proxies
from wirewright.sync.bridge import Bridge
from wirewright.sync.wrappers import WrapperRegistry

__tracebackhide__ = True  # pytest shows the line that calls


class ProxyThread:
    """A proxy of the async API, in a loop of its own from `enter` to `leave`."""

    def __init__(self, own: AbstractAsyncContextManager[Proxy]) -> None:
        self.bridge = Bridge()
        self.wrappers: WrapperRegistry | None = None
        """The sync objects of the proxy and its sockets."""
        self._own = own
        self._is_inside = False

    def enter(self) -> Proxy:
        """Start the thread and the proxy. `leave` must follow, also after an exception."""
        self.bridge.start()
        proxy = self.bridge.wait(self._enter())
        for running in running_proxies():
            if running.loop is self.bridge.loop:
                running.settle = partial(_settle, self.bridge, running)
        return proxy

    def leave(self) -> None:
        """Stop the proxy and the thread."""
        try:
            if self._is_inside:
                self.bridge.wait(self._leave())
        finally:
            self.bridge.stop()

    def abandon(self) -> None:
        """Have the proxy and the thread stop by themselves, if an interrupt has kept `leave` from doing it.

        From any thread. Nothing happens after a `leave` that was not interrupted.
        """
        self.bridge.abandon(self._leave)

    async def _enter(self) -> Proxy:
        proxy = await self._own.__aenter__()
        self._is_inside = True
        return proxy

    async def _leave(self) -> None:
        if self._is_inside:  # else a handler has left it
            self._is_inside = False
            try:
                await self._own.__aexit__(None, None, None)
            finally:
                self.bridge.is_ended = True
                if self.wrappers is not None:
                    self.wrappers.close_catch_ups()


def _settle(bridge: Bridge, running: RunningProxy) -> None:
    running.dispatch_all()
    bridge.settle()
