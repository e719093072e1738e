"""Servers for the tests: real sockets on loopback, port 0."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import websockets
from websockets.asyncio.server import Server, ServerConnection

Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@asynccontextmanager
async def serving(
    handler: Handler = echo,
    *,
    tls: ssl.SSLContext | None = None,
    subprotocols: Sequence[websockets.Subprotocol] | None = None,
) -> AsyncIterator[str]:
    """A `websockets` server; its URL, without a path."""
    async with websockets.serve(
        handler, "127.0.0.1", 0, ssl=tls, subprotocols=subprotocols, max_size=None
    ) as server:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{_port(server)}"


RawHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving_raw(handler: RawHandler) -> AsyncIterator[str]:
    """A TCP server that says whatever `handler` writes; its `ws://` URL, without a path."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _port(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port
