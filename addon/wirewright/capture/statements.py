"""Statements about sockets and the session that wait to be written, and how long their texts may be."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from wirewright.capture.frame_batches import Row
from wirewright.capture.scanned_text import REDACTED
from wirewright.capture.schema import headers_to_json, writable
from wirewright.model.handshake import Headers

LARGEST_TEXT = 16 * 1024 * 1024
"""Characters of a URL, of the headers of a request or an answer, or of a remark. A row of them fits into
SQLite's limit (`read_limits.ROW_BYTES`)."""
SHORT_TEXT = 2_000
"""The same while too much waits to be written."""
STATEMENT_BYTES = 500
"""About what a statement takes in memory beside its texts."""
CUT_FIELD = "Wirewright-Cut"
"""The name of a field in the place of all further ones. Its value is REDACTED, so that no replay sends it."""
_LARGEST_PART = 8
"""A single field has at most this part of the room for all, so that one long cookie costs no other field."""


class Statement(NamedTuple):
    """One about a socket or the session."""

    sql: str
    values: Row
    weight: int = 0
    """Bytes that it takes while it waits; 0 for those of the writer's own thread."""


def statement(sql: str, values: Iterable[Any], most: int) -> tuple[Statement, int]:
    """A statement whose texts have at most `most` characters each, and how many bytes were cut off.

    Values may be Headers, which become JSON.
    """
    columns: list[Any] = []
    weight, cut = STATEMENT_BYTES, 0
    for value in values:
        column, missing = _headers(value, most) if isinstance(value, Headers) else _shortened(value, most)
        columns.append(column)
        weight += len(column) if isinstance(column, str | bytes) else 0
        cut += missing
    return Statement(sql, tuple(columns), weight), cut


def _shortened(value: Any, most: int) -> tuple[Any, int]:
    """A text is cut. Bytes, which may be compressed, are left out as a whole."""
    if isinstance(value, str):
        missing = max(0, len(value) - most)
        return writable(f"{value[:most]}…" if missing else value), missing
    if isinstance(value, bytes) and len(value) > most:
        return None, len(value)
    return value, 0


def _headers(headers: Headers, most: int) -> tuple[str, int]:
    """Header fields as JSON. A value that is too long is REDACTED."""
    if sum(len(name) + len(value) for name, value in headers.pairs) <= most:
        whole = headers_to_json(headers)
        if len(whole) <= most:
            return whole, 0
    kept: list[tuple[str, str]] = []
    room, missing = most, 0
    for name, value in headers.pairs:
        size = len(name) + len(value)
        if room <= 0 or len(name) > most // _LARGEST_PART:
            room, missing = 0, missing + size
            continue
        if len(value) > most // _LARGEST_PART or len(json.dumps(value)) > room:
            missing, value = missing + len(value), REDACTED
        kept.append((name, value))
        room -= len(json.dumps((name, value)))
    return headers_to_json(Headers([*kept, (CUT_FIELD, REDACTED)] if room <= 0 else kept)), missing
