"""Apps that a proxy tells apart: by their address, the port that they connect to, and their proxy user."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import websockets
from mitmproxy import ctx
from websockets.sync.client import ClientConnection, connect

from support.ports import free_port
from wirewright.mitm.flow_socket import proxyserver

OPTIONS = {"proxyauth": "any"}


def modes() -> list[str]:
    """The modes of a proxy with two ports."""
    return ["regular", f"regular@{free_port()}"]


def ports() -> list[int]:
    """The ports of the proxy of this process, in the order of its modes."""
    assert ctx.master is not None
    return [address[1] for server in proxyserver().servers for address in server.listen_addrs]


@dataclass(frozen=True)
class Device:
    """One app, at an address of this machine."""

    port: int
    """The port of the proxy."""
    user: str = "ann"
    address: str = "127.0.0.1"

    @property
    def _proxy(self) -> str:
        return f"http://{self.user}:secret@127.0.0.1:{self.port}"

    @asynccontextmanager
    async def socket(self, url: str, **options: Any) -> AsyncIterator[websockets.ClientConnection]:
        """A socket through the proxy."""
        source: Any = {"local_addr": (self.address, 0)}
        async with websockets.connect(url, proxy=self._proxy, **source, **options) as connection:
            yield connection

    @contextmanager
    def threaded_socket(self, url: str) -> Iterator[ClientConnection]:
        """The same without an event loop."""
        with connect(url, proxy=self._proxy, source_address=(self.address, 0)) as connection:
            yield connection
