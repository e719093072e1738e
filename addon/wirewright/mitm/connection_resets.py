"""TCP resets: connections that end by RST instead of FIN (RFC 9293, 3.10.7)."""

import asyncio
import socket
import struct
import sys

from mitmproxy import http
from mitmproxy.proxy.server import ConnectionHandler

from wirewright.model.errors import Error

_LINGER = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER: on, for 0 seconds. Closing the connection then drops what is unsent, and resets it."""


def reset_when_closed(handler: ConnectionHandler, flow: http.HTTPFlow) -> list[asyncio.WriteTransport]:
    """Have the connections of a flow reset when they are closed. Returns their transports.

    Raises Error for a connection that is not one of the operating system's.
    """
    ends = (flow.client_conn, flow.server_conn)
    found = [handler.transports[end].writer for end in ends if end in handler.transports]
    writers = [writer for writer in found if writer is not None]
    sockets = [
        writer.get_extra_info("socket") for writer in writers if isinstance(writer, asyncio.StreamWriter)
    ]
    if len(sockets) < len(writers) or None in sockets:
        raise Error(
            "how='rst' is not possible: the app's traffic is captured, and has no TCP connection here"
        )
    for each in sockets:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    return [writer.transport for writer in writers if isinstance(writer, asyncio.StreamWriter)]
