"""The rows of a capture as objects, after a check: SQLite keeps a value of any type in any column."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from wirewright.capture.read_limits import LEAST_ROW
from wirewright.capture.records import FrameFlag, RecordedFrame, Socket
from wirewright.capture.schema import headers_from_json, headers_to_json
from wirewright.capture.tables import LARGEST_ID
from wirewright.values import Direction

SOCKET_COLUMNS = tuple(field.name for field in fields(Socket))
_HEADERS = ("request_headers", "response_headers")

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


def _is_of(value: Any, kind: Kind) -> bool:
    if isinstance(kind, range):
        return type(value) is int and value in kind
    return value is None if kind is None else type(value) is kind


def socket_row(socket: Socket) -> tuple[Any, ...]:
    """The row of a socket."""
    values = {name: getattr(socket, name) for name in SOCKET_COLUMNS}
    headers = {name: headers_to_json(values[name]) for name in _HEADERS if values[name] is not None}
    return tuple((values | headers).values())


def socket_of(row: tuple[Any, ...]) -> Socket:
    """The socket of a row. Raises ValueError for texts that were not written here."""
    urlsplit(row[2])  # raises ValueError
    values = dict(zip(SOCKET_COLUMNS, row, strict=True))
    if values["closed_by"] not in _CLOSED_BY:
        raise ValueError(f"{values['closed_by']!r:.40} does not close sockets")
    headers = {name: headers_from_json(values[name]) for name in _HEADERS if values[name] is not None}
    return Socket(**(values | headers))


def frame_of(row: tuple[Any, ...]) -> RecordedFrame:
    """The frame of a row. Raises ValueError for values that were not written here: only a text message has
    text."""
    id_, socket_id, time_ns, from_client, opcode, size, payload, flags, original = row
    if not (
        type(id_) is type(socket_id) is type(time_ns) is type(opcode) is type(size) is int
        and 0 <= opcode < 16
        and size >= 0
        and type(payload) is (str if opcode == 1 else bytes)
        and (from_client == 0 or from_client == 1)
        and (original is None or type(original) in (str, bytes))
        and (flags == 0 or (type(flags) is int and 0 < flags < 16))
    ):
        raise ValueError("a frame has a value that is not one of its column")
    direction = Direction.SENT if from_client else Direction.RECEIVED
    shown = FrameFlag(flags) if flags else FrameFlag.NONE  # most have none
    return RecordedFrame(id_, socket_id, time_ns, direction, opcode, size, payload, shown, original)
