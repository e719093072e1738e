"""Captures that were made to harm the program that opens them."""

import sqlite3
import struct
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

PAGE = 4096


def run(path: Path, *statements: str) -> None:
    """Change a capture as its author can."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def make_endless(path: Path, table: str) -> None:
    """Let a table have more than 10^10 rows in five pages, each of them 500 times the parent of the next."""
    data = bytearray(path.read_bytes())
    root, last = _root(path, table), len(data) // PAGE
    leaf = bytes(data[(root - 1) * PAGE : root * PAGE])
    for page, child in ((root, last + 1), (last + 1, last + 2), (last + 2, last + 3), (last + 3, last + 4)):
        _put(data, page, _parent(child))
    _put(data, last + 4, leaf)
    data[28:32] = struct.pack(">I", last + 4)  # how many pages there are
    path.write_bytes(data)


def share_a_long_value(path: Path, table: str, rows: int) -> None:
    """Let several rows have the one long value of the only row of a table."""
    data = bytearray(path.read_bytes())
    root = _root(path, table)
    start = (root - 1) * PAGE
    (first,) = struct.unpack(">H", data[start + 8 : start + 10])
    cell = bytes(data[start + first : start + PAGE])
    id_at = next(index for index, byte in enumerate(cell) if byte < 128) + 1  # after the size of the row
    assert cell[id_at] == 1
    cells = [cell[:id_at] + bytes([id_ + 1]) + cell[id_at + 1 :] for id_ in range(rows)]
    data[start : start + PAGE] = _page(13, cells, b"")
    path.write_bytes(data)


def _root(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    return int(row[0])


def _parent(child: int) -> bytes:
    """An inner page (https://www.sqlite.org/fileformat2.html, 1.6) with one child, as often as it fits."""
    pointer = struct.pack(">I", child)
    return _page(5, [pointer + b"\x01"] * 500, pointer)


def _page(kind: int, cells: Iterable[bytes], right: bytes) -> bytes:
    content, places = b"", []
    for cell in cells:
        content = cell + content
        places.append(PAGE - len(content))
    header = struct.pack(">BHHHB", kind, 0, len(places), PAGE - len(content), 0) + right
    header += b"".join(struct.pack(">H", place) for place in places)
    assert len(header) + len(content) <= PAGE
    return header + bytes(PAGE - len(header) - len(content)) + content


def _put(data: bytearray, page: int, content: bytes) -> None:
    data[(page - 1) * PAGE : page * PAGE] = content
