"""mitmproxy's own page for a request that failed: the body of its 400 or 502.

The page of a server whose answer is no HTTP has that answer in it, whatever its size. To format 4 MiB takes
350 ms, in which nothing else passes.
"""

from collections.abc import Callable
from typing import Any

MAX_MESSAGE = 4096
"""Characters of an error's message that are used. It may quote an answer of megabytes."""


def make_error_response(stock: Callable[..., bytes]) -> Callable[..., bytes]:
    """Cut long messages."""

    def make_error_response(status_code: int, message: str = "", *more: Any, **named: Any) -> bytes:
        if len(message) > MAX_MESSAGE:
            message = message[: MAX_MESSAGE - 1] + "…"
        return stock(status_code, message, *more, **named)

    return make_error_response
