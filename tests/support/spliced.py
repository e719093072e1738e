"""Which connections of the proxy in this process are spliced."""

import asyncio
from collections.abc import Iterator

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver

from wirewright.mitm.splice.spliced_connection import SplicedConnection


def spliced_connections() -> int:
    """How many connections of the proxy are read past mitmproxy's layers."""
    return len([*_transports()])


def paused_connections() -> int:
    """How many of them are not read at the moment."""
    return sum(not transport.is_reading() for transport in _transports())


def _transports() -> Iterator[asyncio.Transport]:
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    for handler in server.connections.values():
        for io in handler.transports.values():
            if isinstance(io.writer, asyncio.StreamWriter):
                transport = io.writer.transport
                assert isinstance(transport, asyncio.Transport)
                if isinstance(transport.get_protocol(), SplicedConnection):
                    yield transport
