"""Which connections of the proxy in this process are spliced."""

import asyncio

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver

from wirewright.mitm.splice.spliced_connection import SplicedConnection


def spliced_connections() -> int:
    """How many connections of the proxy are read past mitmproxy's layers."""
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    return sum(
        isinstance(io.writer, asyncio.StreamWriter)
        and isinstance(io.writer.transport.get_protocol(), SplicedConnection)
        for handler in server.connections.values()
        for io in handler.transports.values()
    )
