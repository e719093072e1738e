"""What carries the protocol's messages, whatever the transport."""

import asyncio
from typing import Protocol

from wirewright.remote.protocol import MESSAGEPACK


class Disconnected(Exception):
    """The other side is gone, or has closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason or f"the connection was closed ({code})")
        self.code = code


class Connection(Protocol):
    """A WebSocket, or what behaves like one."""

    @property
    def subprotocol(self) -> str:
        """One of `SUBPROTOCOLS`."""

    async def send(self, data: str | bytes) -> None:
        """Raises Disconnected."""

    async def receive(self) -> str | bytes:
        """Raises Disconnected."""

    async def close(self, code: int, reason: str) -> None:
        """End it; nothing happens if it has ended."""


class MemoryConnection:
    """One end of a connection inside one loop."""

    subprotocol = MESSAGEPACK

    def __init__(self) -> None:
        self._came: asyncio.Queue[str | bytes | Disconnected] = asyncio.Queue()
        self._end: Disconnected | None = None
        self.peer: MemoryConnection

    async def send(self, data: str | bytes) -> None:
        if self._end is not None:
            raise self._end
        self.peer._came.put_nowait(data)
        await asyncio.sleep(0)  # as a socket, it lets the other side do something

    async def receive(self) -> str | bytes:
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
