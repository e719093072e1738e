"""Ways to a running proxy: its own objects, or a client of the remote protocol."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support import memory_transport
from support.time_limits import STEP_MILLISECONDS
from wirewright import Proxy
from wirewright.remote.client import Client
from wirewright.remote.codec import JSON
from wirewright.remote.protocol import EVENTS
from wirewright.remote.service import RemoteService
from wirewright.remote.transport import reach
from wirewright.state import control

WAYS = ("in process", "memory", "tcp", "unix", "json")
IS_RUN_AGAIN = "WIREWRIGHT_TESTS_AGAIN" in os.environ
"""True where the same tests run with the newest versions, too: `.ci/run` sets the variable."""


@asynccontextmanager
async def reached(launched: Proxy, way: str, folder: Path) -> AsyncIterator[Proxy]:
    """A proxy as its user has it."""
    if way == "in process":
        yield launched
        return
    if way == "memory":
        async with memory_transport.connected() as proxy:
            yield proxy
        return
    service = RemoteService(control)
    await service.start(f"unix:{folder / 'ww.sock'}" if way == "unix" else "127.0.0.1:0")
    connection = await reach(service.endpoint, codec=JSON if way == "json" else None)
    client = Client(connection, route_timeout=STEP_MILLISECONDS, route_fallback="pass")
    await client.start(None, EVENTS)
    try:
        yield client.proxy
    finally:
        await client.stop()
        await service.stop()
