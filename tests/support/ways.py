"""Ways to a running proxy: its own objects, or a client of the remote protocol."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wirewright import Proxy
from wirewright.model.history import HistoryLimit
from wirewright.remote.client import Client
from wirewright.remote.connection import Connection, memory_connections
from wirewright.remote.protocol import EVENTS, JSON
from wirewright.remote.server import RemoteServer
from wirewright.remote.serving import Listener, reach
from wirewright.state import control

WAYS = ("in process", "memory", "tcp", "unix", "json")
FEW_WAYS = "WIREWRIGHT_FEW_WAYS" in os.environ
"""Whether the transports, which are the same on every Python, are tried elsewhere."""


@asynccontextmanager
async def reached(launched: Proxy, way: str, folder: Path) -> AsyncIterator[Proxy]:
    """A proxy as its user has it."""
    if way == "in process":
        yield launched
        return
    server = RemoteServer(control, HistoryLimit)
    listener = Listener(server.serve)
    serving: asyncio.Task[None] | None = None
    connection: Connection
    if way == "memory":
        far, connection = memory_connections()
        serving = asyncio.ensure_future(server.serve(far))
    else:
        await listener.start(f"unix:{folder / 'ww.sock'}" if way == "unix" else "127.0.0.1:0")
        connection = await reach(listener.endpoint, codec=JSON if way == "json" else None)
    client = Client(connection, route_timeout=5_000, route_fallback="pass")
    await client.start(None, EVENTS)
    try:
        yield client.proxy
    finally:
        await client.stop()
        if serving is not None:
            await serving
        server.stop()
        if way != "memory":
            listener.stop()
            await listener.stopped()
