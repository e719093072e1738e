"""The libraries that the suite judges: each as a client and as a server that echo every message."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

import aiohttp
import websockets
from aiohttp import web


class Library(ABC):
    """A WebSocket library."""

    name: str

    @abstractmethod
    async def echo(self, port: int, resource: str, proxy_port: int | None) -> None:
        """As a client of a loopback server, through the HTTP proxy on `proxy_port`, until it is closed."""

    @abstractmethod
    def serve(self) -> AbstractAsyncContextManager[int]:
        """As a server, on the port that this gives."""

    @property
    def version(self) -> str:
        return version(self.name)


class Websockets(Library):
    name = "websockets"

    async def echo(self, port: int, resource: str, proxy_port: int | None) -> None:
        proxy = f"http://127.0.0.1:{proxy_port}" if proxy_port else None
        with contextlib.suppress(websockets.WebSocketException, OSError):
            async with websockets.connect(
                f"ws://127.0.0.1:{port}{resource}", proxy=proxy, ping_interval=None, max_size=None
            ) as connection:
                async for message in connection:
                    await connection.send(message)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        async with websockets.serve(_echo_all, "127.0.0.1", 0, ping_interval=None, max_size=None) as server:
            yield next(iter(server.sockets)).getsockname()[1]


class Aiohttp(Library):
    name = "aiohttp"

    async def echo(self, port: int, resource: str, proxy_port: int | None) -> None:
        # With `ws:` it would send `GET ws://...` to a proxy, with `http:` it sends `GET http://...`.
        proxy = f"http://127.0.0.1:{proxy_port}" if proxy_port else None
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(
                    f"http://127.0.0.1:{port}{resource}", proxy=proxy, compress=15, max_msg_size=0
                ) as connection,
            ):
                async for message in connection:
                    if message.type is aiohttp.WSMsgType.TEXT:
                        await connection.send_str(message.data)
                    elif message.type is aiohttp.WSMsgType.BINARY:
                        await connection.send_bytes(message.data)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        runner = web.ServerRunner(web.Server(_answer))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield runner.addresses[0][1]
        finally:
            await runner.cleanup()


async def _echo_all(connection: websockets.ServerConnection) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in connection:
            await connection.send(message)


async def _answer(request: web.BaseRequest) -> web.WebSocketResponse:
    connection = web.WebSocketResponse(max_msg_size=0)
    await connection.prepare(request)
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async for message in connection:
            if message.type is aiohttp.WSMsgType.TEXT:
                await connection.send_str(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                await connection.send_bytes(message.data)
    return connection


LIBRARIES: tuple[Library, ...] = (Websockets(), Aiohttp())
