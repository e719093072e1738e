"""The arguments of `close` and `abort`. RFC 6455, 5.5 and 7.4, has the codes and reasons of close frames."""

from collections.abc import Mapping
from typing import Literal

from wirewright.values import Direction

__tracebackhide__ = True  # pytest shows the line that calls

MAX_REASON_SIZE = 123
"""Bytes of UTF-8: a control frame carries 125, two of which are the code (5.5)."""
_PROTOCOL_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})
"""The protocol's own codes that an endpoint may send: 7.4.1, and IANA's registry of close codes.

1004 is reserved; 1005, 1006 and 1015 never stand in a frame; 1016 to 2999 are not assigned (7.4.2)."""


CloseTarget = Literal["both", "client", "server"]
"""The ends that get a close frame."""
CLOSE_DIRECTIONS: Mapping[str, frozenset[Direction]] = {
    "both": frozenset(Direction),
    "client": frozenset({Direction.RECEIVED}),
    "server": frozenset({Direction.SENT}),
}
"""By target, the directions of the close frames."""


def check_close(code: int, reason: str) -> None:
    """Raise ValueError for a code or a reason that may not be sent, TypeError for one of a wrong type.

    A browser lets its page send only 1000 and 3000 to 4999. All other endpoints may send the protocol's own
    codes, too.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"code must be an int, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"reason must be str, not {type(reason).__name__}")
    if code not in _PROTOCOL_CODES and not 3000 <= code <= 4999:
        raise ValueError(f"code must be 1000 to 1003, 1007 to 1014 or 3000 to 4999, not {code!r}")
    size = len(reason.encode())
    if size > MAX_REASON_SIZE:
        raise ValueError(f"reason must be at most {MAX_REASON_SIZE} bytes of UTF-8, not {size}")


def check_how(how: str) -> None:
    """Raise ValueError for a way to cut a connection that does not exist."""
    if how not in ("fin", "rst"):
        raise ValueError(f"how must be 'fin' or 'rst', not {how!r}")
