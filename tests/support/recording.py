"""What a socket or a proxy reported, in order."""

import asyncio

from wirewright import Proxy, WebSocket

Event = tuple[str, object]


class Recording:
    """All events of one socket from the moment that it is made: `(name, payload)`; `close` has None."""

    def __init__(self, ws: WebSocket) -> None:
        self.ws = ws
        self.events: list[Event] = []
        self.closed = asyncio.Event()
        for name in ("framesent", "framereceived", "socketerror"):
            ws.on(name, lambda payload, name=name: self.events.append((name, payload)))
        ws.on("close", self._close)

    def _close(self, ws: WebSocket) -> None:
        assert ws is self.ws
        self.events.append(("close", None))
        self.closed.set()

    @property
    def frames(self) -> list[Event]:
        return [event for event in self.events if event[0].startswith("frame")]


class Recordings:
    """A Recording of each socket that the proxy reports, oldest first."""

    def __init__(self, proxy: Proxy) -> None:
        self.all: list[Recording] = []
        proxy.on("websocket", lambda ws: self.all.append(Recording(ws)))

    @property
    def only(self) -> Recording:
        """That of the one socket that there was."""
        (recording,) = self.all
        return recording
