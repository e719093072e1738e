"""The codes and reasons that a close frame may have: RFC 6455, 5.5 and 7.4."""

MAX_REASON_SIZE = 123
"""Bytes of UTF-8: a control frame carries 125, two of which are the code (5.5)."""
_SERVERS_CODES = frozenset({*range(1000, 1004), *range(1007, 1015)})
"""The protocol's own codes that an endpoint may send (7.4.1), a server among them."""


def check_close(code: int, reason: str, *, as_server: bool = False) -> None:
    """Raise ValueError for a code or a reason that may not be sent, TypeError for one of a wrong type.

    An app may choose 1000 and 3000 to 4999, as in a browser; a server may also send the protocol's own codes.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"code must be an int, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"reason must be str, not {type(reason).__name__}")
    allowed = _SERVERS_CODES if as_server else {1000}
    if code not in allowed and not 3000 <= code <= 4999:
        names = "1000 to 1003, 1007 to 1014" if as_server else "1000"
        raise ValueError(f"code must be {names} or 3000 to 4999, not {code!r}")
    size = len(reason.encode())
    if size > MAX_REASON_SIZE:
        raise ValueError(f"reason must be at most {MAX_REASON_SIZE} bytes of UTF-8, not {size}")
