"""Inserts rows of frames into a capture, thousands with one statement."""

import sqlite3
from collections.abc import Iterable
from functools import cache
from itertools import chain, groupby, islice

from wirewright.capture.frame_batches import Row

ROWS = (4_000, 400, 40, 1)
"""How many rows one statement inserts. SQLite runs without Python's lock. After each statement the thread has
to take the lock back, and a busy event loop keeps it for five milliseconds."""

_COLUMNS = ("socket_id", "time_ns", "from_client", "opcode", "size", "payload", "flags", "original")


def insert_rows(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Insert them in their order. They have all columns, or all but the last two."""
    for width, alike in groupby(rows, len):
        while batch := list(islice(alike, ROWS[0])):
            start = 0
            for count in ROWS:
                while len(batch) - start >= count:
                    values = list(chain.from_iterable(batch[start : start + count]))
                    connection.execute(insertion(count, width), values)
                    start += count


@cache
def insertion(rows: int, width: int) -> str:
    """The statement that inserts so many rows of frames, of the first `width` columns."""
    one = f"({', '.join('?' * width)})"
    return f"INSERT INTO frames ({', '.join(_COLUMNS[:width])}) VALUES {', '.join([one] * rows)}"  # noqa: S608
