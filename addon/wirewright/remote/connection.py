"""What carries the protocol's messages, whatever the transport: what a codec has made of them."""

import asyncio
from typing import Any, Protocol

from wirewright.remote.codec import OBJECTS


class Disconnected(Exception):
    """The other side is gone, or has closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason or f"the connection was closed ({code})")
        self.code = code


class Connection(Protocol):
    """A WebSocket, or what behaves like one."""

    @property
    def subprotocol(self) -> str:
        """Which codec it takes: one of `SUBPROTOCOLS`, or `OBJECTS`."""

    async def send(self, data: Any) -> None:
        """Raises Disconnected."""

    async def receive(self) -> Any:
        """Raises Disconnected."""

    async def close(self, code: int, reason: str) -> None:
        """End it; nothing happens if it has ended."""


class MemoryConnection:
    """One end of a connection inside one loop."""

    subprotocol = OBJECTS

    def __init__(self) -> None:
        self._came: asyncio.Queue[Any] = asyncio.Queue()
        self._end: Disconnected | None = None
        self.peer: MemoryConnection

    async def send(self, data: Any) -> None:
        if self._end is not None:
            raise self._end
        self.peer._came.put_nowait(data)

    async def receive(self) -> Any:
        if self._end is not None and self._came.empty():
            raise self._end
        data = await self._came.get()
        if isinstance(data, Disconnected):
            raise data
        return data

    async def close(self, code: int, reason: str) -> None:
        for end in (self, self.peer):
            if end._end is None:
                end._end = Disconnected(code, reason)
                end._came.put_nowait(end._end)


def memory_connections() -> tuple[MemoryConnection, MemoryConnection]:
    """Both ends of a new connection."""
    one, other = MemoryConnection(), MemoryConnection()
    one.peer, other.peer = other, one
    return one, other
