"""An app whose sockets are routed."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import websockets
from websockets.exceptions import ConnectionClosed

from wirewright import Proxy

NOWHERE = "nowhere.invalid"
"""A host that no name server knows."""


@contextlib.asynccontextmanager
async def app(proxy: Proxy, url: str, **options: Any) -> AsyncIterator[websockets.ClientConnection]:
    """An app's socket through the proxy."""
    async with websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}", **options) as connection:
        yield connection


async def closed(connection: websockets.ClientConnection) -> tuple[int, str]:
    """How an app's socket has ended, once it has."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.recv()
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""
