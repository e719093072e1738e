"""`GET ws://host/path`: the absolute form in which some stacks ask a proxy for a WebSocket.

RFC 6455, 4.1, has clients use CONNECT; aiohttp and some phones do this instead, and mitmproxy answers 400.
Such a target means what the same one means with `http`, or `https` for `wss`.
"""

import re
from collections.abc import Callable
from typing import Any

_TARGET = re.compile(rb"(\S+ +)ws(s?://)", re.IGNORECASE)


def read_request_line(stock: Callable[..., object]) -> Callable[..., object]:
    """Have mitmproxy accept such targets."""

    def read_request_line(line: bytes, *more: Any, **named: Any) -> object:
        if target := _TARGET.match(line):
            line = target.expand(rb"\1http\2") + line[target.end() :]
        return stock(line, *more, **named)

    return read_request_line
