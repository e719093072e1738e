"""`GET ws://host/path`: the absolute form in which some stacks ask a proxy for a WebSocket.

RFC 6455, 4.1, has clients use CONNECT; aiohttp and some phones do this instead, and mitmproxy answers 400.
Such a target means what the same one means with `http`, or `https` for `wss`.
"""

import re

from mitmproxy.net.http.http1 import read

_TARGET = re.compile(rb"(\S+ +)ws(s?://)", re.IGNORECASE)

_stock_read_request_line = read._read_request_line


def install() -> None:
    """Have mitmproxy take such targets."""
    read._read_request_line = _read_request_line


def uninstall() -> None:
    """Have mitmproxy refuse them again."""
    read._read_request_line = _stock_read_request_line


def _read_request_line(line: bytes) -> tuple[str, int, bytes, bytes, bytes, bytes, bytes]:
    if target := _TARGET.match(line):
        line = target.expand(rb"\1http\2") + line[target.end() :]
    return _stock_read_request_line(line)
