"""A transport of the remote protocol inside one event loop, and a client that uses it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from wirewright import Proxy
from wirewright.remote.client import Client
from wirewright.remote.codec import MESSAGEPACK
from wirewright.remote.connection import Disconnected
from wirewright.remote.protocol import EVENTS
from wirewright.remote.server import RemoteServer
from wirewright.state import control


class MemoryConnection:
    """One end of a connection inside one loop."""

    subprotocol = MESSAGEPACK

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


@asynccontextmanager
async def connected() -> AsyncIterator[Proxy]:
    """A client of this process's proxy. Its routes may take their time."""
    server = RemoteServer(control)
    try:
        far, near = memory_connections()
        serving = control.proxy._scope.start(server.serve(far), None, server)
        client = Client(near, route_timeout=0, route_fallback="drop")
        try:
            await client.start(None, EVENTS)
            yield client.proxy
        finally:
            await client.stop()
            await serving
    finally:
        server.stop()
