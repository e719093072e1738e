"""Frames that come in one read with the 101.

mitmproxy takes what follows a head for what some clients send after CONNECT, and drops line feeds at its
start. After a 101 a line feed is the first byte of a frame (RFC 6455, 5.2: not the last one, opcode 10).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mitmproxy.proxy import events, layer

if TYPE_CHECKING:
    from mitmproxy.proxy.layers.http._http1 import Http1Connection

Pipe = Callable[..., layer.CommandGenerator[None]]


def make_pipe(stock: Pipe) -> Pipe:
    """Have mitmproxy forward such bytes as they are."""

    def make_pipe(self: "Http1Connection", *more: Any, **named: Any) -> layer.CommandGenerator[None]:
        assert self.response is not None
        if self.response.status_code != 101:
            yield from stock(self, *more, **named)
            return
        self.state = self.passthrough
        # The buffer is a bytearray, and layers expect bytes.
        if early := bytes(self.buf.maybe_extract_at_most(len(self.buf)) or b""):
            yield from self.state(events.DataReceived(self.conn, early))

    return make_pipe
