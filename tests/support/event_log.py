"""What a socket or a proxy reported, in order."""

import asyncio
from collections.abc import Callable

from wirewright import Proxy, WebSocket

Event = tuple[str, object]


class Recording:
    """All events of one socket from the moment that it is made: `(name, payload)`; `close` has None."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.events: list[Event] = []
        self.closed = asyncio.Event()
        self._more = asyncio.Event()
        for name in ("framesent", "framereceived", "socketerror"):
            ws.on(name, lambda payload, name=name: self._note(name, payload))
        ws.on("close", self._close)

    def _note(self, name: str, payload: object) -> None:
        self.events.append((name, payload))
        self._more.set()

    def _close(self, ws: WebSocket) -> None:
        assert ws is self.ws
        self._note("close", None)
        self.closed.set()

    async def until(self, count: int) -> list[Event]:
        """All events, once there are so many: a client hears of them a moment after the proxy."""
        while len(self.events) < count:
            self._more.clear()
            await self._more.wait()
        return self.events

    @property
    def frames(self) -> list[Event]:
        return [event for event in self.events if event[0].startswith("frame")]


class Recordings:
    """A Recording of each socket that the proxy reports, oldest first."""

    def __init__(self, proxy: Proxy) -> None:
        self.all: list[Recording] = []
        self._more = asyncio.Event()
        proxy.on("websocket", self._begin)

    def _begin(self, ws: WebSocket) -> None:
        self.all.append(Recording(ws))
        self._more.set()

    async def first(self) -> Recording:
        """That of the one socket that there is, once it is known."""
        await self._more.wait()
        return self.only

    @property
    def only(self) -> Recording:
        """That of the one socket that there was."""
        (recording,) = self.all
        return recording


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once it holds, as it does a moment later for a client; the test's time limit is the end."""
    while not condition():  # noqa: ASYNC110  there is no event for it
        await asyncio.sleep(0)
