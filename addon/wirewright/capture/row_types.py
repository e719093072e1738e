"""The types of the values in a capture's rows. SQLite keeps a value of any type in any column."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from wirewright.capture.read_limits import LEAST_ROW
from wirewright.capture.tables import LARGEST_ID

_LARGEST = 2**63 - 1
Kind = range | type[str] | type[bytes] | None
"""Integers of a range, or values of a type, or NULL."""

_ID = range(-LARGEST_ID, LARGEST_ID)
_TIME = range(-_LARGEST, _LARGEST + 1)  # imports of an older Wirewright have times before 1970
_COUNT = range(_LARGEST + 1)

SESSION = ((_ID,), (_TIME,), (_TIME,), (_TIME, None), (str,))
GAP = ((_ID,), (_ID,), (_TIME,), (_COUNT,), (_COUNT,), (str,))
ANNOTATION = ((_ID,), (_ID,), (_TIME,), (str,))
SOCKET = (
    *((_ID,), (_ID,), (str,)),
    *((_TIME,), (_TIME, None), (_TIME, None)),
    *((str,), (str, None)),
    *((range(-1, 1000), None), (str, None), (str, None)),
    *((str, None), (str, None)),
    *((range(65_536), None), (str, None), (str, None), (str, None)),
    (bytes, None),
)
_CLOSED_BY = (None, "client", "server", "proxy")


def check_row(row: Sequence[Any], kinds: Sequence[Sequence[Kind]]) -> int:
    """The bytes that a row takes, at least. Raises ValueError if one of them has not one of its kinds."""
    size = LEAST_ROW
    for value, allowed in zip(row, kinds, strict=True):
        if type(value) in (str, bytes):
            size += len(value)
        if not any(_is_of(value, kind) for kind in allowed):
            raise ValueError(f"{value!r:.40} is not a value of its column")
    return size


def check_socket(row: Sequence[Any]) -> None:
    """Raise ValueError for a row of `sockets` with a text that was not written here."""
    urlsplit(row[2])  # raises ValueError
    if row[15] not in _CLOSED_BY:
        raise ValueError(f"{row[15]!r:.40} does not close sockets")


def _is_of(value: Any, kind: Kind) -> bool:
    if isinstance(kind, range):
        return type(value) is int and value in kind
    return value is None if kind is None else type(value) is kind
