"""The file of a capture session: an SQLite database, described in docs/capture.md."""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wirewright.capture.capture_file import JOURNAL, CaptureFile, check_readable
from wirewright.capture.errors import CaptureError as CaptureError
from wirewright.capture.read_limits import StatementLimit
from wirewright.capture.records import ALIVE_SECONDS
from wirewright.capture.tables import (
    APPLICATION_ID,
    TABLES,
    TO_VERSION_2,
    VERSION,
    check_ids,
    check_tables,
)
from wirewright.model.handshake import Headers
from wirewright.printable import get_logger

__tracebackhide__ = True  # pytest shows the line that calls

logger = get_logger(__name__)

BUSY_SECONDS = 1.0
"""How long another program may keep the file locked."""


@dataclass(frozen=True, slots=True)
class WritableCapture:
    """A capture that is open for writing, and the session that was added to it."""

    connection: sqlite3.Connection
    """It may be used from one thread at a time."""
    session_id: int
    """The id of the session."""
    file: CaptureFile

    def close(self) -> None:
        """Close the connection. The capture is one file again, if nobody reads it.

        It stays in WAL mode if another program has put a `-journal` beside it: SQLite would play that back.
        """
        is_in_place = self.file.is_in_place
        with suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if is_in_place:  # SQLite deletes its files by name: these may be another file's now
                self._leave_wal_mode()
        self.connection.close()
        if is_in_place:
            self.file.free_journal()
        else:
            self.file.release_journal()

    def _leave_wal_mode(self) -> None:
        if self.file.take_journal():
            self.connection.execute("PRAGMA journal_mode = MEMORY")
        else:
            logger.warning(
                "%s%s: another program has made it: delete it before %s is opened",
                self.file.path,
                JOURNAL,
                self.file.path.name,
            )

    @property
    def logged_bytes(self) -> int:
        """By how much the file grows when SQLite moves its log into it."""
        with suppress(sqlite3.Error, OSError):
            ((pages, size),) = self.connection.execute("SELECT * FROM pragma_page_count, pragma_page_size")
            return max(0, int(pages * size) - self.file.path.stat().st_size)
        return 0

    def discard(self) -> None:
        """Close the connection, and delete the file if this program made it."""
        self.close()
        if self.file.is_new:
            self.file.release()


class _AlreadyRecording(CaptureError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: it is being written by another recorder")


def create_or_append(path: Path, program: str, session_id: int | None = None) -> WritableCapture:
    """A capture that may be written, with a new session; it is made if there is none.

    `session_id` is the session's id, for a capture that goes on in a new file. Raises CaptureError for a file
    that is not a capture, is of a newer Wirewright, is being written, is not this user's alone or has foreign
    files beside it, and where no file can be. After a recorder that was killed it takes ALIVE_SECONDS.
    """
    with _as_capture_error(path):
        file = CaptureFile.claim(path)
    is_checked = False
    try:
        with _connected(path, "rw") as (connection, _):
            if not _is_empty(connection):
                _check(connection, path)
                check_ids(connection, path)
            is_checked = True
            file.make_private()
            _enter_wal_mode(connection)
            file.check_again()
            dead = _wait_for_the_last_recorder(connection, path)
            number = _begin_session(connection, path, program, session_id, dead)
            connection.set_progress_handler(None, 0)  # no statement of a recorder takes long
            return WritableCapture(connection, number, file)
    except BaseException as error:
        if isinstance(error, _AlreadyRecording):
            pass  # the other recorder uses the files
        elif file.is_new or not is_checked:
            file.release()
        else:
            file.release_journal()
        raise


def open_to_read(path: Path) -> tuple[sqlite3.Connection, StatementLimit]:
    """A connection that cannot write, and the limit for its statements.

    Raises CaptureError for a file that is not a capture, is empty, or is of a newer Wirewright.
    """
    with _as_capture_error(path):
        check_readable(path)
    with _connected(path, "ro") as (connection, limit):
        if _is_empty(connection):
            raise CaptureError(f"{path}: it is empty: its recorder ended before it wrote anything")
        _check(connection, path)
        return connection, limit


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a capture's tables."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def newest_socket(connection: sqlite3.Connection, path: Path) -> int:
    """The largest id of a socket; 0 if there is none. Raises CaptureError for a damaged file."""
    with _as_capture_error(path):
        (newest,) = connection.execute("SELECT max(id) FROM sockets").fetchone()
    return newest or 0


def writable(value: Any) -> Any:
    """Bytes of a URL or a reason that are not UTF-8 are surrogates, which SQLite does not take as text."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def headers_to_json(headers: Mapping[str, str]) -> str:
    """Header fields as they are in the file: an array of [name, value], in ASCII, which keeps surrogates."""
    return json.dumps(Headers(headers).pairs, separators=(",", ":"))


def headers_from_json(text: str) -> Headers:
    """Header fields of a file of either version. Raises ValueError for text that was not written here."""
    try:
        headers = Headers(json.loads(text))
        for pair in headers.pairs:
            "".join(pair).encode(errors="surrogateescape")  # raises UnicodeEncodeError, a ValueError
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None
    return headers


@contextmanager
def _as_capture_error(path: Path) -> Iterator[None]:
    """Turn what SQLite says into a sentence about a file."""
    try:
        yield
    except sqlite3.Error as error:
        raise CaptureError(f"{path}: {explain(error)}") from error
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from error


def explain(error: sqlite3.Error) -> str:
    """The error as a sentence for users."""
    said = str(error)
    for part, meaning in (
        ("not a database", "it is not a capture: it is not an SQLite database"),
        ("malformed", "it is damaged"),
        ("decode to UTF-8", "it is damaged: a text is not UTF-8"),
        ("too big", "a message is larger than a capture can have"),
        ("locked", "another program keeps it locked"),
        ("full", "the disk is full"),
        ("readonly", "it cannot be written"),
        ("unable to open", "it cannot be opened"),
        ("disk I/O", "the disk fails, or the file is gone"),
    ):
        if part in said:
            return meaning
    return said


@contextmanager
def _connected(path: Path, mode: Literal["ro", "rw"]) -> Iterator[tuple[sqlite3.Connection, StatementLimit]]:
    """A connection with a limit for its statements. It is closed if the block fails, with a CaptureError."""
    with _as_capture_error(path):
        connection = sqlite3.connect(
            f"file:{_quoted(path)}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_SECONDS,
        )
        try:
            limit = StatementLimit(connection, path)
            try:
                yield connection, limit
            except sqlite3.Error as error:
                raise limit.explain(error) or error from None
        except BaseException:
            connection.close()
            raise


def _enter_wal_mode(connection: sqlite3.Connection) -> None:
    """Switch a capture to WAL mode without a `-journal` on the disk.

    That is safe: the switch is one write within one sector.
    """
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # what is committed outlives this process


def _is_empty(connection: sqlite3.Connection) -> bool:
    """True for a file without a table, as of a recorder that was killed right after it had made the file."""
    if connection.execute("PRAGMA application_id").fetchone()[0]:
        return False
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = version_of(connection)
    if application != APPLICATION_ID:
        raise CaptureError(f"{path}: it is a database, but not a capture")
    if version > VERSION:
        raise CaptureError(
            f"{path}: it was written by a newer Wirewright (version {version} of the file, "
            f"this one knows {VERSION})"
        )
    if path.stat().st_size % connection.execute("PRAGMA page_size").fetchone()[0]:
        raise CaptureError(f"{path}: it is damaged: its end is missing")  # SQLite misses whole pages itself
    if version < 1:
        raise CaptureError(f"{path}: it is damaged: its version is {version}")
    check_tables(connection, path, version)


def _wait_for_the_last_recorder(connection: sqlite3.Connection, path: Path) -> tuple[int, int] | None:
    """Tell a recorder that is alive from one that was killed, whatever was done to the clock: a recorder that
    is alive writes a new time into its session.

    Returns the session of a dead one.
    """
    first = latest = _unfinished(connection)
    until = time.monotonic() + ALIVE_SECONDS
    while latest is not None:
        if latest != first:
            raise _AlreadyRecording(path)
        if time.monotonic() > until:
            break
        time.sleep(0.05)
        latest = _unfinished(connection)
    return latest


def _begin_session(
    connection: sqlite3.Connection,
    path: Path,
    program: str,
    session_id: int | None,
    dead: tuple[int, int] | None,
) -> int:
    now = time.time_ns()
    connection.execute("BEGIN IMMEDIATE")  # of two recorders the second one sees the first one's session
    try:
        _make_tables(connection)
        if _unfinished(connection) not in (None, dead):
            raise _AlreadyRecording(path)
        cursor = connection.execute(
            "INSERT INTO sessions (id, started_ns, seen_ns, program) VALUES (?, ?, ?, ?)",
            (session_id, now, now, program),
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
        statements = TABLES
    elif version_of(connection) == 1:
        statements = TO_VERSION_2
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
