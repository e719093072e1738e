"""Three real WebSocket clients behind one face: `websockets`, `aiohttp` and Node's `ws`."""

import asyncio
import base64
import json
import os
import re
import shutil
import socket
import ssl
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import websockets

from support.certificates import trusting
from wirewright import Proxy

Message = str | bytes
NODE_MODULES = Path(sys.prefix) / "node" / "node_modules"
NODE_CLIENT = Path(__file__).with_name("node_client.js")


class Client(ABC):
    """An app's end of one socket."""

    subprotocol: str | None
    port: int
    """The app's own port, as the proxy must see it."""

    @abstractmethod
    async def send(self, message: Message) -> None: ...

    @abstractmethod
    async def receive(self) -> Message: ...

    @abstractmethod
    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame, without a code for None, and wait until the socket is closed."""

    async def leave(self) -> None:
        """End the connection with no close frame."""
        raise NotImplementedError

    @abstractmethod
    async def closed(self) -> tuple[int, str]:
        """The close frame that the app was sent: its code (1005 for none, 1006 for no frame) and reason."""


@dataclass(frozen=True)
class Wish:
    """How an app wants its socket."""

    subprotocols: Sequence[str] = ()
    compress: bool = False


class WebsocketsClient(Client):
    def __init__(self, connection: websockets.ClientConnection) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol
        self.port = connection.local_address[1]

    async def send(self, message: Message) -> None:
        await self._connection.send(message)

    async def receive(self) -> Message:
        return await self._connection.recv()

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        assert code is not None, "websockets always sends a code"
        await self._connection.close(code, reason)

    async def leave(self) -> None:
        self._connection.transport.abort()

    async def closed(self) -> tuple[int, str]:
        await self._connection.wait_closed()
        assert self._connection.close_code is not None
        return self._connection.close_code, self._connection.close_reason or ""


@asynccontextmanager
async def connect_websockets(proxy: Proxy, url: str, wish: Wish) -> AsyncIterator[Client]:
    async with websockets.connect(
        url,
        proxy=f"http://127.0.0.1:{proxy.port}",
        ssl=trusting(proxy.ca_certificate) if url.startswith("wss:") else None,
        subprotocols=[websockets.Subprotocol(name) for name in wish.subprotocols] or None,
        compression="deflate" if wish.compress else None,
        max_size=None,
    ) as connection:
        yield WebsocketsClient(connection)


class AiohttpClient(Client):
    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self.subprotocol = connection.protocol
        self.port = connection.get_extra_info("sockname")[1]

    async def send(self, message: Message) -> None:
        if isinstance(message, str):
            await self._connection.send_str(message)
        else:
            await self._connection.send_bytes(message)

    async def receive(self) -> Message:
        message = await self._connection.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        received: Message = message.data
        return received

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        assert code is not None, "aiohttp always sends a code"
        await self._connection.close(code=code, message=reason.encode())

    async def leave(self) -> None:
        self._connection.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    async def closed(self) -> tuple[int, str]:
        message = await self._connection.receive()
        if message.type is aiohttp.WSMsgType.CLOSE:
            return message.data or 1005, message.extra or ""
        if message.type is aiohttp.WSMsgType.ERROR:
            return 1006, ""  # what it sends then is in `close_code`
        return self._connection.close_code or 1006, ""


@asynccontextmanager
async def connect_aiohttp(proxy: Proxy, url: str, wish: Wish) -> AsyncIterator[Client]:
    # It would send `GET ws://...` to the proxy, which mitmproxy refuses; with this it sends `GET http://...`.
    url = re.sub("^ws:", "http:", url)
    context: ssl.SSLContext | bool = trusting(proxy.ca_certificate) if url.startswith("wss:") else True
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            url,
            proxy=f"http://127.0.0.1:{proxy.port}",
            ssl=context,
            protocols=wish.subprotocols,
            compress=15 if wish.compress else 0,
            max_msg_size=0,
        ) as connection,
    ):
        yield AiohttpClient(connection)


class NodeClient(Client):
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def opened(self) -> None:
        said = await self._next("open")
        self.subprotocol = str(said["open"]) or None
        self.port = int(str(said["port"]))

    async def send(self, message: Message) -> None:
        if isinstance(message, str):
            await self._tell(text=message)
        else:
            await self._tell(binary=base64.b64encode(message).decode())

    async def receive(self) -> Message:
        said = await self._next("text", "binary")
        return str(said["text"]) if "text" in said else base64.b64decode(str(said["binary"]))

    async def close(self, code: int | None = 1000, reason: str = "") -> None:
        await self._tell(close=code, reason=reason)
        await self._next("closed")

    async def closed(self) -> tuple[int, str]:
        said = await self._next("closed")
        return int(str(said["closed"])), str(said["reason"])

    async def _tell(self, **command: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def _next(self, *keys: str) -> dict[str, object]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        said: dict[str, object] = json.loads(line) if line else {"nothing": "it ended"}
        assert said.keys() & set(keys), f"Node said {said} where one of {keys} was due"
        return said


@asynccontextmanager
async def connect_node(proxy: Proxy, url: str, wish: Wish) -> AsyncIterator[Client]:
    settings = {
        "url": url,
        "proxyPort": proxy.port,
        "ca": str(proxy.ca_certificate),
        "subprotocols": list(wish.subprotocols),
        "compress": wish.compress,
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        str(NODE_CLIENT),
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        limit=16 * 1024 * 1024,
    )
    try:
        client = NodeClient(process)
        await client.opened()
        yield client
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


Connect = Callable[[Proxy, str, Wish], AbstractAsyncContextManager[Client]]

NODE = pytest.mark.skipif(
    not (shutil.which("node") and (NODE_MODULES / "ws").is_dir()),
    reason="needs node on the PATH, and the `ws` package that the project's setup installs beside it",
)
CLIENTS = [
    pytest.param(connect_websockets, id="websockets"),
    pytest.param(connect_aiohttp, id="aiohttp"),
    pytest.param(connect_node, id="node", marks=NODE),
]
