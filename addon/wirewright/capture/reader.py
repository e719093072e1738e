"""Reads captures, also while they are written: lazily, a frame at a time, in the order of the file."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import lt
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from wirewright.capture import row_types
from wirewright.capture.cassettes.cassette_file import is_cassette
from wirewright.capture.errors import CaptureError
from wirewright.capture.read_limits import LEAST_ROW, SizeLimit
from wirewright.capture.records import Annotation, Gap, RecordedFrame, Session, Socket
from wirewright.capture.row_types import SOCKET_COLUMNS
from wirewright.capture.schema import explain, open_to_read, version_of

__tracebackhide__ = True  # pytest shows the line that calls

T = TypeVar("T")
RowT = TypeVar("RowT", Socket, Gap, Annotation)
PAGE = 500
"""How many frames are read at once."""
PAGE_BYTES = 4 * 1024 * 1024
"""And about how many bytes."""

_NO_ROOM = (
    "the disk for temporary files is full: sorting takes about 20 bytes a frame there. "
    "Set SQLITE_TMPDIR to a folder with room"
)


_GAPS = "SELECT id, session_id, time_ns, frames, bytes, reason FROM gaps ORDER BY id"
_ANNOTATIONS = "SELECT id, session_id, time_ns, text FROM annotations ORDER BY id"
_SOCKETS = f"SELECT {', '.join(SOCKET_COLUMNS)} FROM sockets ORDER BY id"  # noqa: S608
_SOCKETS_OF_VERSION_1 = _SOCKETS.replace("response_body", "NULL AS response_body")
_SESSIONS = "SELECT id, started_ns, seen_ns, ended_ns, program FROM sessions ORDER BY id"
_FRAMES = """
SELECT id, socket_id, time_ns, from_client, opcode, size, payload, flags, original
FROM frames
WHERE id > :after AND (:until IS NULL OR id <= :until) AND (:socket IS NULL OR socket_id = :socket)
ORDER BY id LIMIT :page
"""
_FRAMES_BY_INDEX = """
SELECT id, frames.socket_id, time_ns, from_client, opcode, size, payload, flags, original
FROM temp.by_socket AS one CROSS JOIN frames ON id = frame_id
WHERE one.socket_id = :socket AND frame_id > :after AND frame_id <= :until
ORDER BY frame_id LIMIT :page
"""
_INDEX = """
CREATE TEMP TABLE by_socket (
    socket_id INTEGER, frame_id INTEGER, PRIMARY KEY (socket_id, frame_id)
) WITHOUT ROWID
"""


class Watch(Protocol):
    """A function that yields the frames that it is given, for example to count them."""

    def __call__(self, frames: Iterable[T], /) -> Iterator[T]:
        """Yield the same frames."""


class Capture:
    """An open capture; a context manager that closes it. It sees what is written meanwhile."""

    def __init__(self, path: str | Path) -> None:
        """Raises CaptureError for what is no capture that this version can read."""
        self.path = Path(path)
        if is_cassette(self.path):
            what = (
                "it is a cassette, a text file: replay it, or import it into a capture (`wirewright import`)"
            )
            raise CaptureError(f"{self.path}: {what}")
        self._connection, self._statement_limit = open_to_read(self.path)
        self._indexed: int | None = None
        """The newest frame that the index by socket has."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def on_progress(self, call: Callable[[], object]) -> None:
        """Call this about once a millisecond while SQLite works, as it does when it sorts frames. It must not
        use the capture."""
        self._statement_limit.on_progress = call

    def sessions(self) -> list[Session]:
        """Return the sessions, oldest first."""
        return [Session(*row) for row in self._table(_SESSIONS, row_types.SESSION)]

    def sockets(self) -> list[Socket]:
        """Return the sockets in the order of the file. `records.oldest_first` sorts them by time."""
        # Another program may add a session meanwhile, and with it the tables become those of this version.
        statement = _SOCKETS_OF_VERSION_1 if version_of(self._connection) == 1 else _SOCKETS
        rows = self._table(statement, row_types.SOCKET)
        try:
            sockets = [row_types.socket_of(row) for row in rows]
        except ValueError:
            raise self._damage("a socket's headers, URL or end cannot be read") from None
        return self._of_sessions(sockets)

    def frames(
        self, *, after: int = 0, until: int | None = None, socket: int | None = None, page: int = PAGE
    ) -> Iterator[RecordedFrame]:
        """Iterate over the frames of all sockets or of one, in the order in which they were recorded.

        `after` (excluded) and `until` (included) are ids of frames. `page` is how many frames are read at
        once. Frames that are written meanwhile are included. The iteration ends when there are no more.
        """
        if socket is not None and self._indexed is not None:
            last = self._indexed if until is None else min(until, self._indexed)
            for frames in self._pages(_FRAMES_BY_INDEX, after, last, socket, page):
                yield from frames
            after = max(after, last)
        for frames in self._pages(_FRAMES, after, until, socket, page):
            yield from frames

    def index_by_socket(self) -> int:
        """Index the frames by socket, so that `frames(socket=...)` need not read those of other sockets.

        Returns the id of the newest frame in the index. Later frames are found without it. The index pays off
        for more than one socket. The capture is not changed: the index is a temporary file of SQLite's, of
        about 10 bytes a frame.
        """
        newest = self.newest()
        if self._indexed is None:
            self._rows(_INDEX)
        self._rows(
            "INSERT INTO temp.by_socket SELECT socket_id, id FROM frames WHERE id > ? AND id <= ? "
            "ORDER BY socket_id, id",
            (self._indexed or 0, newest),
        )
        self._indexed = newest
        return newest

    def gaps(self) -> list[Gap]:
        """Return the gaps: frames that were not recorded, with the reasons."""
        return self._of_sessions([Gap(*row[1:]) for row in self._table(_GAPS, row_types.GAP)])

    def annotations(self) -> list[Annotation]:
        """The remarks, oldest first."""
        rows = self._table(_ANNOTATIONS, row_types.ANNOTATION)
        remarks = [Annotation(*row[1:]) for row in sorted(rows, key=lambda row: (row[2], row[0]))]
        return self._of_sessions(remarks)

    def spans(self) -> dict[int, tuple[int, int]]:
        """The ids of the first and of the last frame of each socket that has any."""
        rows = self._rows("SELECT socket_id, min(id), max(id) FROM frames GROUP BY socket_id")
        return {socket_id: (first, last) for socket_id, first, last in rows}

    def count(self) -> int:
        """How many frames there are now."""
        ((count,),) = self._rows("SELECT count(id) FROM frames")  # Ctrl-C cannot end a `count(*)`
        return int(count)

    def newest(self) -> int:
        """The id of the newest frame; 0 if there is none."""
        ((newest,),) = self._rows("SELECT max(id) FROM frames")
        return newest or 0

    def _pages(
        self, statement: str, after: int, until: int | None, socket: int | None, page: int
    ) -> Iterator[list[RecordedFrame]]:
        values = {"until": until, "socket": socket, "page": page}
        size_limit = SizeLimit(self.path)
        while frames := self._page(statement, {**values, "after": after}, size_limit):
            ids = [after, *(frame.id for frame in frames)]
            if not all(map(lt, ids, ids[1:])):
                raise self._damage("its frames are not in order")
            yield frames
            after = ids[-1]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Read everything in the block from the same state of the file."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            self._rows("COMMIT")

    def _page(
        self, statement: str, values: Mapping[str, Any] | Sequence[Any], size_limit: SizeLimit
    ) -> list[RecordedFrame]:
        """The next few: a whole page is read before any of it is looked at, so that no writer has to wait."""
        frames, size = [], 0
        self._statement_limit.begin()
        try:
            for row in self._connection.execute(statement, values):
                frame = row_types.frame_of(row)
                frames.append(frame)
                original = frame.original
                size += len(frame.payload) + (LEAST_ROW if original is None else LEAST_ROW + len(original))
                if size > PAGE_BYTES:
                    break
        except sqlite3.Error as error:
            raise self._failure(error) from error
        except ValueError as error:
            raise self._damage(str(error)) from None
        size_limit.take(size)
        return frames

    def _table(self, statement: str, kinds: Sequence[Sequence[row_types.Kind]]) -> list[Any]:
        """All rows of a small table. They begin with their ids, and are in the order of the ids."""
        rows: list[Any] = []
        size_limit = SizeLimit(self.path)
        self._statement_limit.begin()
        try:
            for row in self._connection.execute(statement):
                size_limit.take(row_types.check_row(row, kinds))
                if rows and row[0] <= rows[-1][0]:
                    raise ValueError("its rows are not in order")
                rows.append(row)
        except sqlite3.Error as error:
            raise self._failure(error) from error
        except ValueError as error:
            raise self._damage(str(error)) from None
        return rows

    def _of_sessions(self, rows: list[RowT]) -> list[RowT]:
        """The same rows. Raises CaptureError if one of them is of no session."""
        known = {session.id for session in self.sessions()}
        if not all(row.session_id in known for row in rows):
            raise self._damage("a row is of no session")
        return rows

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        self._statement_limit.begin()
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _damage(self, what: str) -> CaptureError:
        return CaptureError(f"{self.path}: it is damaged: {what}")

    def _failure(self, error: sqlite3.Error) -> CaptureError:
        if ended := self._statement_limit.explain(error):
            return ended
        if isinstance(error, sqlite3.IntegrityError):  # of a temporary table: nothing else is written
            return self._damage("a frame has a value that is not one of its column")
        # A capture that is read takes no room. SQLite's temporary files do, which may be on another disk.
        reason = _NO_ROOM if "full" in str(error) else explain(error)
        return CaptureError(f"{self.path}: {reason}")


def open(path: str | Path) -> Capture:  # noqa: A001  as in `wirewright.capture.open`
    """Open a capture to read it."""
    return Capture(path)
