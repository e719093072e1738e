"""A proxy that runs, with the event loop in which it is used: calls from any thread."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from wirewright.model import catch_up
from wirewright.model.errors import Error
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control

T = TypeVar("T")

CALL_SECONDS = 10.0
"""How long a proxy may take for a call of `run`."""
TURNS = 5
"""Turns of the event loop in which async listeners that need not wait come to their end."""


class RunningProxy:
    """A proxy, and the event loop in which it is used."""

    def __init__(self, proxy: Proxy, control: Control) -> None:
        self.proxy = proxy
        self.control = control
        self.loop = asyncio.get_running_loop()
        self.settle: Callable[[], None] = self.dispatch_all
        """Returns when listeners and handlers have been called with all that the proxy has seen. The sync API
        replaces it. Raises Error as `run` does."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the proxy's loop, and return or raise its result. No loop runs in the caller.

        Raises Error if the loop is closed, or does not answer in time.
        """
        bounded = asyncio.wait_for(coroutine, CALL_SECONDS)
        try:
            if self.loop.is_running():
                return asyncio.run_coroutine_threadsafe(bounded, self.loop).result(2 * CALL_SECONDS)
            return self.loop.run_until_complete(bounded)
        except (RuntimeError, TimeoutError) as error:
            bounded.close()
            coroutine.close()
            raise Error(f"the proxy's event loop does not answer: {error}") from None

    def dispatch_all(self) -> None:
        """Return when the proxy's loop has dispatched all that the proxy has seen. Raises Error as `run`."""
        self.run(self._dispatch_all())

    async def _dispatch_all(self) -> None:
        # Reports that the proxy of another process sent before this answer have come by then.
        await self.proxy._running_host().apps_seen()
        catch_up.flush_all()
        for _ in range(TURNS):
            await asyncio.sleep(0)
