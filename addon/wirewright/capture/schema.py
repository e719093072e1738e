"""The file of a capture session: an SQLite database, described in docs/capture.md."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wirewright.model.errors import Error
from wirewright.model.handshake import Headers

APPLICATION_ID = 0x5757_4331
"""In the file's header: "WWC1"."""
VERSION = 2
"""Of the tables; in the file's header, too. Any change of them is a new one.

1 had headers as an object by name, and no `response_body`. It is read as it is, and becomes 2 when a session
is added.
"""
ALIVE_SECONDS = 2.0
"""A session that has not ended and was last seen so recently is still being written."""

BUSY_SECONDS = 1.0
"""How long another program may keep the file locked."""

INJECTED, CHANGED, DROPPED, TRUNCATED = 1, 2, 4, 8
"""The bits of `frames.flags`."""

_TABLES = """
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
_TO_VERSION_2 = """
ALTER TABLE sockets ADD COLUMN response_body BLOB;
UPDATE sockets SET request_headers =
    (SELECT json_group_array(json_array(key, value)) FROM json_each(request_headers));
UPDATE sockets SET response_headers =
    (SELECT json_group_array(json_array(key, value)) FROM json_each(response_headers))
    WHERE response_headers IS NOT NULL;
"""


class CaptureError(Error):
    """A capture cannot be read or written, for a reason that a user can mend."""


def create_or_append(path: Path, program: str, session: int | None = None) -> tuple[sqlite3.Connection, int]:
    """A connection that may write to a capture, which is made if there is none, and the id of a new session.

    `session` is that id, for a capture that goes on in a new file. The connection may be used from one thread
    at a time. Raises CaptureError for a file that is no capture, or is of a newer Wirewright, or is being
    written, and where no file can be. After a recorder that was killed it takes up to ALIVE_SECONDS.
    """
    is_new = _make_file(path)
    connection = _connect(path, f"file:{_quoted(path)}?mode=rw")
    try:
        with _telling_of(path):
            if connection.execute("PRAGMA page_count").fetchone()[0]:
                _check(connection, path)
            path.chmod(0o600)  # it may have been there; the files beside it get what it has
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # what is committed outlives this process
            dead = _wait_for_the_last_recorder(connection, path)
            return connection, _begin_session(connection, path, program, session, dead)
    except BaseException:
        connection.close()
        if is_new:
            path.unlink(missing_ok=True)
        raise


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises CaptureError for what is no capture, or is a newer one."""
    if not path.is_file():
        raise CaptureError(f"{path}: {'it is a folder' if path.is_dir() else 'there is no such file'}")
    connection = _connect(path, f"file:{_quoted(path)}?mode=ro")
    try:
        with _telling_of(path):
            _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a capture's tables."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def newest_socket(connection: sqlite3.Connection, path: Path) -> int:
    """The largest id of a socket; 0 if there is none. Raises CaptureError for a damaged file."""
    with _telling_of(path):
        (newest,) = connection.execute("SELECT max(id) FROM sockets").fetchone()
    return newest or 0


def close(connection: sqlite3.Connection) -> None:
    """Close a connection that has written; the capture is one file again, if nobody reads it."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def writable(value: Any) -> Any:
    """Bytes of a URL or a reason that are not UTF-8 are surrogates, which SQLite does not take as text."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def headers_to_json(headers: Mapping[str, str]) -> str:
    """Header fields as they are in the file: an array of [name, value], in ASCII, which keeps surrogates."""
    return json.dumps(Headers(headers).pairs, separators=(",", ":"))


def headers_from_json(text: str) -> Headers:
    """Header fields of a file of either version."""
    return Headers(json.loads(text))


@contextmanager
def _telling_of(path: Path) -> Iterator[None]:
    """Turn what SQLite says into a sentence about a file."""
    try:
        yield
    except sqlite3.Error as error:
        raise CaptureError(f"{path}: {explain(error)}") from error
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error


def explain(error: sqlite3.Error) -> str:
    """What is wrong, for a person."""
    said = str(error)
    for part, meaning in (
        ("not a database", "it is no capture: it is no SQLite database"),
        ("malformed", "it is damaged"),
        ("locked", "another program keeps it locked"),
        ("full", "the disk is full"),
        ("readonly", "it cannot be written"),
        ("unable to open", "it cannot be opened"),
        ("disk I/O", "the disk fails, or the file is gone"),
    ):
        if part in said:
            return meaning
    return said


def _make_file(path: Path) -> bool:
    """Whether there was none. One that only its owner can read: what apps say is nobody else's business.

    One that is there is not opened: whoever closes a file gives up all locks of this process on it, SQLite's
    too (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    if path.is_dir():
        raise CaptureError(f"{path}: it is a folder")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return False
    except FileNotFoundError:
        raise CaptureError(f"{path}: the folder {path.parent} does not exist") from None
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None
    return True


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    with _telling_of(path):
        return sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = version_of(connection)
    if application != APPLICATION_ID:
        raise CaptureError(f"{path}: it is a database, but no capture")
    if version > VERSION:
        raise CaptureError(
            f"{path}: it was written by a newer Wirewright (version {version} of the file, "
            f"this one knows {VERSION})"
        )
    if path.stat().st_size % connection.execute("PRAGMA page_size").fetchone()[0]:
        raise CaptureError(f"{path}: it is damaged: its end is missing")  # SQLite misses whole pages itself
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"sessions", "sockets", "frames", "gaps"} <= tables:
        raise CaptureError(f"{path}: it is damaged: it has not all tables of a capture")


def _wait_for_the_last_recorder(connection: sqlite3.Connection, path: Path) -> tuple[int, int] | None:
    """Tell a recorder that is alive from one that was killed just now: its session gets no older.

    Returns the session of a dead one that looks alive, as where a clock was set back.
    """
    first = latest = _alive(connection)
    until = time.monotonic() + ALIVE_SECONDS
    while latest is not None:
        if latest != first:
            raise CaptureError(f"{path}: it is being written by another recorder")
        if time.monotonic() > until:
            break
        time.sleep(0.05)
        latest = _alive(connection)
    return latest


def _begin_session(
    connection: sqlite3.Connection,
    path: Path,
    program: str,
    session: int | None,
    dead: tuple[int, int] | None,
) -> int:
    now = time.time_ns()
    connection.execute("BEGIN IMMEDIATE")  # of two recorders the second one sees the first one's session
    try:
        _make_tables(connection)
        if _alive(connection) not in (None, dead):
            raise CaptureError(f"{path}: it is being written by another recorder")
        cursor = connection.execute(
            "INSERT INTO sessions (id, started_ns, seen_ns, program) VALUES (?, ?, ?, ?)",
            (session, now, now, program),
        )
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _make_tables(connection: sqlite3.Connection) -> None:
    """Create the tables in a new file, or bring those of an older version to this one."""
    if not connection.execute("PRAGMA application_id").fetchone()[0]:
        statements = _TABLES
    elif version_of(connection) == 1:
        statements = _TO_VERSION_2
    else:
        return
    for statement in statements.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _alive(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """The session that is being written, as far as the file tells, and when its recorder was last seen."""
    if not connection.execute("PRAGMA application_id").fetchone()[0]:
        return None  # a new file
    row: tuple[int, int] | None = connection.execute(
        "SELECT id, seen_ns FROM sessions WHERE ended_ns IS NULL AND seen_ns > ?",
        (time.time_ns() - int(ALIVE_SECONDS * 1e9),),
    ).fetchone()
    return row


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file:")
