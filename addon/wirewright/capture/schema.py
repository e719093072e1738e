"""The file of a capture session: an SQLite database, described in docs/capture.md."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirewright.capture.capture_file import CaptureFile, check_readable
from wirewright.capture.errors import CaptureError as CaptureError
from wirewright.model.handshake import Headers

APPLICATION_ID = 0x5757_4331
"""In the file's header: "WWC1"."""
VERSION = 2
"""Of the tables; in the file's header, too. Any change of them is a new one.

1 had headers as an object by name, and no `response_body`. It is read as it is, and becomes 2 when a session
is added.
"""
ALIVE_SECONDS = 2.0
"""A session that has not ended is still being written if its recorder was seen within this time."""

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


@dataclass(frozen=True, slots=True)
class WritableCapture:
    """A capture that is open for writing, and the session that was added to it."""

    connection: sqlite3.Connection
    """It may be used from one thread at a time."""
    session: int
    file: CaptureFile

    def close(self) -> None:
        """Close the connection. The capture is one file again, if nobody reads it."""
        with suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if self.file.is_in_place:  # SQLite deletes its files by name: these may be another file's now
                self.connection.execute("PRAGMA journal_mode = MEMORY")
        self.connection.close()

    def discard(self) -> None:
        """Close the connection, and delete the file if this program made it."""
        self.close()
        if self.file.is_new:
            self.file.release()


class _BeingWritten(CaptureError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: it is being written by another recorder")


def create_or_append(path: Path, program: str, session: int | None = None) -> WritableCapture:
    """A capture that may be written, with a new session; it is made if there is none.

    `session` is the session's id, for a capture that goes on in a new file. Raises CaptureError for a file
    that is not a capture, is of a newer Wirewright, is being written, is not this user's alone or has foreign
    files beside it, and where no file can be. After a recorder that was killed it takes ALIVE_SECONDS.
    """
    with _telling_of(path):
        file = CaptureFile.claim(path)
        connection = _connect_to_write(file)
        try:
            file.make_private()
            _enter_wal_mode(connection)
            file.check_again()
            file.free_journal()
            dead = _wait_for_the_last_recorder(connection, path)
            return WritableCapture(connection, _begin_session(connection, path, program, session, dead), file)
        except BaseException as error:
            connection.close()
            if file.is_new and not isinstance(error, _BeingWritten):
                file.release()
            raise


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises CaptureError for what is no capture, or is a newer one."""
    check_readable(path)
    connection = _connect(path, f"file:{_quoted(path)}?mode=ro")
    try:
        with _telling_of(path):
            if _is_empty(connection):
                raise CaptureError(f"{path}: it is empty: its recorder ended before it wrote anything")
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


def _connect(path: Path, uri: str) -> sqlite3.Connection:
    with _telling_of(path):
        return sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )


def _connect_to_write(file: CaptureFile) -> sqlite3.Connection:
    try:
        connection = _connect(file.path, f"file:{_quoted(file.path)}?mode=rw")
        try:
            with _telling_of(file.path):
                if not _is_empty(connection):
                    _check(connection, file.path)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        file.release()
        raise
    return connection


def _enter_wal_mode(connection: sqlite3.Connection) -> None:
    """Without a `-journal` on the disk: the change of the mode is one write within a sector."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # what is committed outlives this process


def _is_empty(connection: sqlite3.Connection) -> bool:
    """True for a file without a table, as of a recorder that was killed right after it had made the file."""
    if connection.execute("PRAGMA application_id").fetchone()[0]:
        return False
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None


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
    """Tell a recorder that is alive from one that was killed, whatever was done to the clock: a recorder that
    is alive writes a new time into its session.

    Returns the session of a dead one.
    """
    first = latest = _unfinished(connection)
    until = time.monotonic() + ALIVE_SECONDS
    while latest is not None:
        if latest != first:
            raise _BeingWritten(path)
        if time.monotonic() > until:
            break
        time.sleep(0.05)
        latest = _unfinished(connection)
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
        if _unfinished(connection) not in (None, dead):
            raise _BeingWritten(path)
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


def _unfinished(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """The newest session if it has not ended, and when its recorder was last seen."""
    if not connection.execute("PRAGMA application_id").fetchone()[0]:
        return None  # a new file
    row: tuple[int, int] | None = connection.execute(
        "SELECT id, seen_ns FROM sessions WHERE ended_ns IS NULL AND id = (SELECT max(id) FROM sessions)"
    ).fetchone()
    return row


def _quoted(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file:")
