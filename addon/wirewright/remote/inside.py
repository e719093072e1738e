"""A client of the proxy that runs in this event loop: what the sync API's `launch` is.

The proxy has no more to do with what a test in another thread does than with one in another process: neither
waits for the other, and what a slow one leaves waiting is bounded.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from wirewright.model.proxy import Proxy
from wirewright.remote.client import Client
from wirewright.remote.connection import memory_connections
from wirewright.remote.protocol import EVENTS
from wirewright.remote.server import RemoteServer
from wirewright.state import control


@asynccontextmanager
async def connected() -> AsyncIterator[Proxy]:
    """A client for as long as the block runs. Its routes may take their time, as the proxy's own may."""
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


@asynccontextmanager
async def launched(launching: AbstractAsyncContextManager[Proxy]) -> AsyncIterator[Proxy]:
    """A client of a proxy that is launched for it."""
    async with launching, connected() as proxy:
        yield proxy
