"""Frames of a capture, sorted by time without keeping them in memory."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count, islice
from typing import Self

from wirewright.capture.errors import CaptureError
from wirewright.capture.read_limits import SizeLimit
from wirewright.capture.reader import PAGE, Capture
from wirewright.capture.records import RecordedFrame

BATCH = 1_000
"""How many rows are inserted at once."""

_numbers = count(1)


class Selection:
    """Frames of some sockets, ordered by the rank of their socket, then by time, then by id.

    A context manager, and iterable while it is open. SQLite sorts in a temporary file with about 20 bytes a
    frame; payloads are read a page at a time. The capture is not changed.
    """

    def __init__(
        self,
        capture: Capture,
        ranks: Mapping[int, int],
        *,
        until: int,
        after: int = 0,
        holds: Callable[[RecordedFrame], bool] | None = None,
    ) -> None:
        """`ranks` maps the ids of sockets to ranks, which are 0 or more. `after` (excluded) and `until`
        (included) are ids of frames. `holds` chooses among the frames; None chooses all of them.

        Raises CaptureError for a damaged file.
        """
        self._capture, self._ranks = capture, ranks
        self._name = f"temp.selection_{next(_numbers)}"
        capture._rows(
            f"CREATE TABLE {self._name} (rank INTEGER, time_ns INTEGER CHECK (typeof(time_ns) = 'integer'), "
            "frame_id INTEGER, socket_id INTEGER, PRIMARY KEY (rank, time_ns, frame_id)) WITHOUT ROWID"
        )
        if holds is None:
            self._take_all(after, until)
        else:
            self._take(after, until, holds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(CaptureError):  # the table is gone already if the capture was closed
            self._capture._rows(f"DROP TABLE {self._name}")

    def __iter__(self) -> Iterator[RecordedFrame]:
        statement = f"""
            SELECT id, frames.socket_id, frames.time_ns, from_client, opcode, size, payload, flags, original
            FROM {self._name} AS one CROSS JOIN frames ON id = frame_id
            WHERE (rank, one.time_ns, frame_id) > (?, ?, ?)
            ORDER BY rank, one.time_ns, frame_id LIMIT {PAGE}
            """  # noqa: S608
        size_limit = SizeLimit(self._capture.path)
        page = self._capture._page(statement, (-1, 0, 0), size_limit)
        while page:
            yield from page
            last = page[-1]
            page = self._capture._page(
                statement, (self._ranks[last.socket_id], last.time_ns, last.id), size_limit
            )

    def spans(self) -> dict[int, tuple[int, int]]:
        """The times of the first and of the last chosen frame of each socket that has any, in nanoseconds."""
        rows = self._capture._rows(
            f"SELECT socket_id, min(time_ns), max(time_ns) FROM {self._name} GROUP BY socket_id"  # noqa: S608
        )
        return {socket_id: (first, last) for socket_id, first, last in rows}

    def _take_all(self, after: int, until: int) -> None:
        ranks = f"{self._name}_ranks"
        self._capture._rows(f"CREATE TABLE {ranks} (socket_id INTEGER PRIMARY KEY, rank INTEGER)")
        self._insert(ranks, iter(self._ranks.items()))
        self._capture._rows(
            f"INSERT INTO {self._name} SELECT rank, time_ns, id, frames.socket_id "  # noqa: S608
            f"FROM frames CROSS JOIN {ranks} AS ranks ON ranks.socket_id = frames.socket_id "
            "WHERE id > ? AND id <= ? ORDER BY rank, time_ns, id",
            (after, until),
        )
        self._capture._rows(f"DROP TABLE {ranks}")

    def _take(self, after: int, until: int, holds: Callable[[RecordedFrame], bool]) -> None:
        ranks = self._ranks
        self._insert(
            self._name,
            (
                (ranks[frame.socket_id], frame.time_ns, frame.id, frame.socket_id)
                for frame in self._capture.frames(after=after, until=until)
                if frame.socket_id in ranks and holds(frame)
            ),
        )

    def _insert(self, table: str, rows: Iterator[tuple[int, ...]]) -> None:
        while batch := list(islice(rows, BATCH)):
            width = len(batch[0])
            values = ", ".join([f"({', '.join('?' * width)})"] * len(batch))
            flat = [value for row in batch for value in row]
            self._capture._rows(f"INSERT INTO {table} VALUES {values}", flat)  # noqa: S608
