"""Writes a capture, in a thread of its own: the wire hands things over and never waits for the disk."""

import logging
import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from wirewright.capture.rotation import Rotation
from wirewright.capture.schema import close, explain, writable

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 0.1
"""What passes is in the file so much later, if the disk keeps up."""
SEEN_SECONDS = 1.0
"""How often the file is told that its recorder is alive, while nothing passes."""
LAST_ATTEMPTS = 5
"""How often the end is tried to be written, while another program keeps the file locked for a second."""
WARN_SECONDS = 5.0
"""How often the log says that frames come too fast."""
QUEUE_BYTES = 32 * 1024 * 1024
"""Bytes of frames that may wait to be written. Further ones are not recorded, and are counted."""
LARGE_BYTES = 1024 * 1024
"""Larger frames have a limit of their own: a large message must not use up the room of others."""
LARGE_QUEUE_BYTES = 128 * 1024 * 1024
"""Bytes of large frames that may wait. A single one may be of any size."""
MESSAGE_BYTES = 64
"""About what a waiting message takes beside its payload."""
ROWS = (4_000, 400, 40, 1)
"""How many rows one statement inserts. SQLite works without Python's lock, so the loop runs meanwhile; but
after each statement the lock has to be had back, and a busy loop keeps it for five milliseconds."""

_COLUMNS = ("socket_id", "time_ns", "from_client", "opcode", "size", "payload", "flags", "original")

Row = tuple[Any, ...]


class Frames(Protocol):
    """Frames of one socket that came at the same time."""

    @property
    def size(self) -> int:
        """Bytes of their payloads."""

    def __len__(self) -> int: ...

    def rows(self) -> Iterable[Row]:
        """As they go into the table, with or without the last two columns; called in the writer's thread."""


class Statement(NamedTuple):
    """One about a socket or the session."""

    sql: str
    values: Row


class _NewerSession(OSError):
    """Another program took this recorder for a dead one. Both would give their sockets the same numbers."""


@dataclass(slots=True)
class Losses:
    """Frames that are not in the file, for one reason. Changed by one thread alone."""

    reason: str
    frames: int = 0
    size: int = 0
    noted: tuple[int, int] = (0, 0)
    """How many frames and bytes the file knows of."""

    def add(self, frames: Frames) -> None:
        self.frames += len(frames)
        self.size += frames.size

    @property
    def total(self) -> tuple[int, int]:
        return self.frames, self.size


class Room:
    """A limit in bytes for frames that wait to be written. One thread calls `put`, another one `taken`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.losses = Losses(f"more than {size // 1024 / 1024:g} MiB waited to be written")
        self._put = self._taken = 0

    @property
    def waiting(self) -> int:
        return self._put - self._taken

    def admits(self, weight: int) -> bool:
        """True if there is room. Frames that are larger than the room are admitted when nothing waits."""
        return not self.waiting or self.waiting + weight <= self.size

    def put(self, weight: int) -> None:
        self._put += weight

    def taken(self, weight: int) -> None:
        self._taken += weight


class Writer:
    """One connection, one thread, one queue that is bounded in bytes."""

    def __init__(
        self, connection: sqlite3.Connection, session: int, path: Path, rotation: Rotation | None = None
    ) -> None:
        self._connection = connection
        self._session = session
        self._path = path
        self._rotation = rotation
        self._queue: deque[Frames | Statement] = deque()
        """In the order in which it came: a socket is there before its frames, and its end after them."""
        self._flushes: deque[threading.Event] = deque()
        self._room, self._large_room = Room(QUEUE_BYTES), Room(LARGE_QUEUE_BYTES)
        self._failures: dict[str, Losses] = {}
        """Frames that could not be written, by reason."""
        self._failing = ""
        """Why the last attempt failed; "" if it did not."""
        self._unreadable = Losses("the recorder failed: its log says how")
        self._warned = -math.inf
        self._inode = path.stat().st_ino
        self._seen = 0.0
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wirewright-capture", daemon=True)
        self._thread.start()

    def put(self, frames: Frames) -> None:
        """Hand over frames; if too much is waiting they are counted instead."""
        weight, room = _weight(frames), self._room_of(frames)
        if not room.admits(weight):
            room.losses.add(frames)
            if time.monotonic() - self._warned > WARN_SECONDS:
                self._warned = time.monotonic()
                logger.warning(
                    "%s: frames come faster than they can be written: %s are not recorded until now",
                    self._path,
                    f"{self._room.losses.frames + self._large_room.losses.frames:,}",
                )
            return
        room.put(weight)
        self._queue.append(frames)
        if room.waiting > room.size // 8:
            self._wake.set()

    def _room_of(self, frames: Frames) -> Room:
        return self._large_room if frames.size > LARGE_BYTES else self._room

    def execute(self, statement: str, *values: object) -> None:
        """Hand over a statement about a socket or the session. None is left out: there are few."""
        self._queue.append(Statement(statement, tuple(map(writable, values))))

    def flush(self) -> None:
        """Return when everything that was handed over until now has been tried to be written."""
        if not self._thread.is_alive():
            return
        written = threading.Event()
        self._flushes.append(written)
        self._wake.set()
        written.wait()

    def stop(self) -> None:
        """Write what waits, end the session and close the file."""
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(COMMIT_SECONDS)
            self._wake.clear()
            self._write()
        self.execute("UPDATE sessions SET ended_ns = ? WHERE id = ?", time.time_ns(), self._session)
        for _ in range(LAST_ATTEMPTS):
            self._write()
            if not self._queue and all(losses.total == losses.noted for losses in self._losses):
                break
        close(self._connection)

    @property
    def _losses(self) -> tuple[Losses, ...]:
        return (
            *(self._room.losses, self._large_room.losses, self._unreadable),
            *self._failures.values(),
        )

    def _write(self) -> None:
        """What waits now, in one transaction."""
        flushes = _all_of(self._flushes)
        taken = _all_of(self._queue)
        is_idle = not taken and all(losses.noted == losses.total for losses in self._losses)
        if not is_idle or time.time() - self._seen >= SEEN_SECONDS:
            # Next time there may be room, or no lock.
            self._queue.extendleft(reversed(self._store(taken)))
        for each in taken:
            if not isinstance(each, Statement):
                self._room_of(each).taken(_weight(each))
        _set_all(flushes)

    def _store(self, taken: Sequence[Frames | Statement]) -> list[Statement]:
        """Write these in one transaction; if one of them cannot be written, the others in their own.

        Returns statements that are to be tried again. Frames that are not written are counted.
        """
        totals = [(losses, losses.total) for losses in self._losses]
        try:
            self._commit(taken, totals)
        except Exception as error:  # a thread that ends would leave the others waiting
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if len(taken) > 1 and not isinstance(error, (sqlite3.OperationalError, OSError)):
                return [again for each in taken for again in self._store([each])]
            self._failed(error, taken)
            is_passing = isinstance(error, sqlite3.OperationalError)
            return [each for each in taken if isinstance(each, Statement)] if is_passing else []
        self._seen = time.time()
        self._failing = ""
        for losses, total in totals:
            losses.noted = total
        self._rotate()
        return []

    def _commit(
        self, taken: Sequence[Frames | Statement], totals: Iterable[tuple[Losses, tuple[int, int]]]
    ) -> None:
        if self._path.stat().st_ino != self._inode:
            raise FileNotFoundError
        self._connection.execute("BEGIN")
        self._note_seen()
        for is_statement, group in groupby(taken, lambda each: isinstance(each, Statement)):
            several: Iterable[Any] = group
            if is_statement:
                for statement in several:
                    self._connection.execute(*statement)
            else:
                self._insert(chain.from_iterable(map(self._rows_of, several)))
        for gap in self._gaps(totals):
            self._connection.execute(*gap)
        self._note_seen()
        self._connection.execute("COMMIT")

    def _note_seen(self) -> None:
        """Tell the file that its recorder is alive. Raises _NewerSession if it has a newer one."""
        seen = self._connection.execute(
            "UPDATE sessions SET seen_ns = ? WHERE id = ? AND id = (SELECT max(id) FROM sessions)",
            (time.time_ns(), self._session),
        )
        if not seen.rowcount:
            raise _NewerSession

    def _rotate(self) -> None:
        """Go on in the next file, if this one is full and not the last."""
        if self._rotation is None or self._stopped.is_set():
            return
        if following := self._rotation.next_file(self._connection):
            self._connection, self._path = following
            self._inode = self._path.stat().st_ino

    def _rows_of(self, frames: Frames) -> Iterable[Row]:
        try:
            return frames.rows()
        except Exception:  # one message must not cost all others
            logger.exception("%s: frames are not recorded", self._path)
            self._unreadable.add(frames)
            return ()

    def _insert(self, rows: Iterable[Row]) -> None:
        for width, alike in groupby(rows, len):
            while batch := list(islice(alike, ROWS[0])):
                start = 0
                for count in ROWS:
                    while len(batch) - start >= count:
                        values = list(chain.from_iterable(batch[start : start + count]))
                        self._connection.execute(insertion(count, width), values)
                        start += count

    def _gaps(self, totals: Iterable[tuple[Losses, tuple[int, int]]]) -> Iterator["Statement"]:
        """What tells the file of frames that it does not have."""
        for losses, (frames, size) in totals:
            if frames > losses.noted[0]:
                missing = frames - losses.noted[0], size - losses.noted[1]
                yield Statement(
                    "INSERT INTO gaps (session_id, time_ns, frames, bytes, reason) VALUES (?, ?, ?, ?, ?)",
                    (self._session, time.time_ns(), *missing, losses.reason),
                )

    def _failed(self, error: Exception, taken: Sequence[Frames | Statement]) -> None:
        if isinstance(error, FileNotFoundError):
            reason = "the file is gone"
        elif isinstance(error, _NewerSession):
            reason = "another program has begun a session in the file while this one was suspended"
        elif isinstance(error, sqlite3.Error):
            reason = explain(error)
        else:
            reason = f"{type(error).__name__}: {error}"
        losses = self._failures.setdefault(reason, Losses(reason))
        for each in taken:
            if not isinstance(each, Statement):
                losses.add(each)
        if reason != self._failing:  # once, however often it is tried
            self._failing = reason
            logger.error("%s: frames are not recorded: %s", self._path, reason)


def _weight(frames: Frames) -> int:
    """Bytes that they take while they wait."""
    return frames.size + MESSAGE_BYTES * len(frames)


def _set_all(events: Iterable[threading.Event]) -> None:
    for event in events:
        event.set()


def _all_of(queue: deque[Any]) -> list[Any]:
    """Take out what is in a queue to which another thread appends."""
    return [queue.popleft() for _ in range(len(queue))]


@cache
def insertion(rows: int, width: int) -> str:
    """The statement that inserts so many rows of frames, of the first `width` columns."""
    one = f"({', '.join('?' * width)})"
    return f"INSERT INTO frames ({', '.join(_COLUMNS[:width])}) VALUES {', '.join([one] * rows)}"  # noqa: S608
