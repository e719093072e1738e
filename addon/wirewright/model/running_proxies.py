"""The proxies that this process has launched or is connected to, for followers such as the pytest plugin.

pytest imports this module at each start, so it imports next to nothing.
"""

from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from wirewright.model.proxy_loop import RunningProxy


class Follower(Protocol):
    """An object that is called when a proxy of this process starts or ends, in the proxy's loop."""

    async def started(self, running: "RunningProxy") -> None:
        """A proxy was launched or connected to."""

    async def ending(self, running: "RunningProxy") -> None:
        """A proxy is about to end; it can be used still."""


followers: list[Follower] = []
_running: "WeakSet[RunningProxy]" = WeakSet()


def running_proxies() -> "list[RunningProxy]":
    """The proxies that have started and not ended."""
    return list(_running)


async def begin(running: "RunningProxy") -> None:
    """Register a proxy and call the followers. It is forgotten with its last reference, or by `end`."""
    _running.add(running)
    for follower in followers:
        await follower.started(running)


async def end(running: "RunningProxy") -> None:
    """Call the followers and forget a proxy, before it ends."""
    for follower in followers:
        await follower.ending(running)
    _running.discard(running)
