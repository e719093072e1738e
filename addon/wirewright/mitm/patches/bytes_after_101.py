"""Frames that come in one read with the 101.

mitmproxy takes what follows a head for what some clients send after CONNECT, and drops line feeds at its
start. After a 101 a line feed is the first byte of a frame (RFC 6455, 5.2: not the last one, opcode 10).
"""

from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers.http._http1 import Http1Connection

_stock_make_pipe = Http1Connection.make_pipe


def install() -> None:
    """Have mitmproxy pass on such bytes as they are."""
    Http1Connection.make_pipe = _make_pipe  # type: ignore[method-assign]


def uninstall() -> None:
    """Have mitmproxy do as before."""
    Http1Connection.make_pipe = _stock_make_pipe  # type: ignore[method-assign]


def _make_pipe(self: Http1Connection) -> layer.CommandGenerator[None]:
    assert self.response is not None
    if self.response.status_code != 101:
        yield from _stock_make_pipe(self)
        return
    self.state = self.passthrough
    # Its buffer holds a bytearray, and everybody else is given bytes.
    if early := bytes(self.buf.maybe_extract_at_most(len(self.buf)) or b""):
        yield from self.state(events.DataReceived(self.conn, early))
