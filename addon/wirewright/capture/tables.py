"""The tables of a capture, and the check that a database has these and nothing else."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from wirewright.capture.errors import CaptureError

APPLICATION_ID = 0x5757_4331
"""In the file's header: "WWC1"."""
VERSION = 2
"""The version of the tables, which is also in the file's header. It changes with every change of the tables.

Version 1 had headers as an object by name, and no `response_body`. It can be read. It is converted to version
2 when a session is added.
"""
LARGEST_ID = 2**53
"""The limit of ids. SQLite numbers a row with the largest id plus one, or at random after 2**63 - 1."""

TABLES = """
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    started_ns INTEGER NOT NULL,
    seen_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    program TEXT NOT NULL
);
CREATE TABLE sockets (
    id INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (id),
    url TEXT NOT NULL,
    asked_ns INTEGER NOT NULL,
    opened_ns INTEGER,
    closed_ns INTEGER,
    request_headers TEXT NOT NULL,
    response_headers TEXT,
    status INTEGER,
    subprotocol TEXT,
    extensions TEXT,
    client_address TEXT,
    server_address TEXT,
    close_code INTEGER,
    close_reason TEXT,
    closed_by TEXT,
    error TEXT,
    response_body BLOB
);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY,
    socket_id INTEGER NOT NULL REFERENCES sockets (id),
    time_ns INTEGER NOT NULL,
    from_client INTEGER NOT NULL,
    opcode INTEGER NOT NULL,
    size INTEGER NOT NULL,
    payload,
    flags INTEGER NOT NULL DEFAULT 0,
    original
);
CREATE TABLE gaps (
    id INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (id),
    time_ns INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    reason TEXT NOT NULL
);
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (id),
    socket_id INTEGER REFERENCES sockets (id),
    time_ns INTEGER NOT NULL,
    text TEXT NOT NULL
);
"""
TO_VERSION_2 = """
ALTER TABLE sockets ADD COLUMN response_body BLOB;
UPDATE sockets SET request_headers =
    (SELECT json_group_array(json_array(key, value)) FROM json_each(request_headers));
UPDATE sockets SET response_headers =
    (SELECT json_group_array(json_array(key, value)) FROM json_each(response_headers))
    WHERE response_headers IS NOT NULL;
"""
_TOKEN = re.compile(r"\w+|[^\w\s]", re.ASCII)

INSERT_REMARK = "INSERT INTO annotations (session_id, time_ns, text) VALUES (?, ?, ?)"
INSERT_GAP = "INSERT INTO gaps (session_id, time_ns, frames, bytes, reason) VALUES (?, ?, ?, ?, ?)"
END_SESSION = "UPDATE sessions SET ended_ns = ? WHERE id = ?"


def tokens(statement: str) -> list[str]:
    """The words and marks of one of these statements: two with the same tokens make the same table."""
    return _TOKEN.findall(statement)


def _statements(version: int) -> Iterator[str]:
    for statement in filter(str.strip, TABLES.split(";")):
        yield statement.replace(",\n    response_body BLOB", "") if version == 1 else statement


_KNOWN = {
    version: {tokens(each)[2]: tokens(each) for each in _statements(version)}
    for version in range(1, VERSION + 1)
}
"""By version and name, the tokens of the tables."""


def check_tables(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Raise CaptureError for a database that is not made of the tables of a capture of this version.

    A view, a trigger, an index or a generated column would be run by SQLite when frames are read or written.
    """
    missing = set(_KNOWN[version])
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if name not in missing or not isinstance(sql, str) or tokens(sql) != _KNOWN[version][name]:
            what = f"Wirewright did not make its {f'{kind} {name}'[:60]!a}"
            raise CaptureError(f"{path}: {what}: drop it, or use a copy of the capture without it")
        missing.remove(name)
    if missing:
        raise CaptureError(f"{path}: it is damaged: it has not all tables of a capture")


def check_ids(connection: sqlite3.Connection, path: Path) -> None:
    """Raise CaptureError if the next rows would not have the next ids."""
    for table in _KNOWN[VERSION]:
        (newest,) = connection.execute(f"SELECT max(id) FROM {table}").fetchone()  # noqa: S608
        if newest is not None and not (isinstance(newest, int) and newest < LARGEST_ID):
            raise CaptureError(f"{path}: it is damaged: the ids of its {table} are too large")
