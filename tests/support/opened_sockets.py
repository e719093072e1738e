"""Sockets through a proxy that a test makes itself."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from mitmproxy import ctx

from support.event_log import Recording, Recordings
from support.raw_peers import RawSocket, raw_socket
from wirewright import launch

SocketWith = Callable[..., AbstractAsyncContextManager[tuple[RawSocket, Recording]]]
"""Opens a socket through a proxy with these addons and options, one of the addons before all others."""


def opens_sockets(confdir: Path, lane: str) -> SocketWith:
    @asynccontextmanager
    async def opened(
        *addons: object, first: object = None, **options: Any
    ) -> AsyncIterator[tuple[RawSocket, Recording]]:
        async with launch(port=0, confdir=confdir, options={"ws_lane": lane, **options}) as proxy:
            for addon in addons:
                ctx.master.addons.add(addon)
            if first is not None:
                ctx.master.addons.add(first)
                ctx.master.addons.chain.insert(0, ctx.master.addons.chain.pop())
            recordings = Recordings(proxy)
            async with raw_socket(proxy.port) as socket:
                yield socket, recordings.only

    return opened
