"""Writes a capture, in a thread of its own: the wire hands things over and never waits for the disk."""

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from wirewright.capture.free_space import FreeSpace
from wirewright.capture.losses import UNREAD, Frames, Losses, Room, Row, amount, describe, weight_of
from wirewright.capture.rotation import Rotation
from wirewright.capture.schema import WritableCapture, explain
from wirewright.capture.statements import LARGEST_TEXT, SHORT_TEXT, Statement, statement
from wirewright.capture.tables import END_SESSION, INSERT_REMARK
from wirewright.memory import budget
from wirewright.printable import get_logger

logger = get_logger(__name__)

COMMIT_SECONDS = 0.1
"""What passes is in the file so much later, if the disk keeps up."""
SEEN_SECONDS = 1.0
"""How often the file is told that its recorder is alive, while nothing passes."""
RETRY_SECONDS = 0.5
"""The pause after an attempt to write that has failed."""
RETRY_BYTES = 1024 * 1024
"""Bytes of waiting frames that the next attempt takes: a file that still cannot be written costs little."""
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
ROWS = (4_000, 400, 40, 1)
"""How many rows one statement inserts. SQLite works without Python's lock, so the loop runs meanwhile; but
after each statement the lock has to be had back, and a busy loop keeps it for five milliseconds."""

_COLUMNS = ("socket_id", "time_ns", "from_client", "opcode", "size", "payload", "flags", "original")


NEWER_SESSION = "another program has begun a session in the file while this one was suspended"


class _FileLost(Exception):
    """The recorder can write nothing more into its file. The text is the reason."""


class Writer:
    """One connection, one thread, one queue that is bounded in bytes."""

    def __init__(
        self,
        target: WritableCapture,
        space: FreeSpace,
        rotation: Rotation | None = None,
        on_over: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_over` is called in the writer's thread when it ends, also by itself for lack of free space."""
        self._target = target
        self._session = target.session_id
        self._space = space
        self._rotation = rotation
        self._on_over = on_over
        self._queue: deque[Frames | Statement] = deque()
        """In the order in which it came: a socket is there before its frames, and its end after them."""
        self._flushes: deque[threading.Event] = deque()
        self._room, self._large_room = Room(QUEUE_BYTES), Room(LARGE_QUEUE_BYTES)
        self._failures: dict[str, Losses] = {}
        """Frames that could not be written, by reason."""
        self._failed_statements: dict[str, Losses] = {}
        """The same for statements."""
        self._failure_reason = ""
        """Why the last attempt failed; "" if it did not."""
        self._unreadable = Losses("the recorder failed: its log says how")
        self._unread = Losses(UNREAD)
        self._refused_for_memory = Losses("all messages together have used up ws_memory")
        self._cut = Losses("headers and other long texts were cut")
        self._without_row = Losses(
            "handshakes, ends of sockets and remarks came faster than they can be written"
        )
        """Frames of sockets that are not in the file, too."""
        self._found_unreadable: list[Frames] = []
        """Frames of the attempt that runs whose rows cannot be made."""
        self.is_over = False
        """Whether nothing more is taken in."""
        self._is_closed = False
        """True once all was written and the file was closed."""
        self._warned = -math.inf
        self._seen = -math.inf
        """When the file was last told that its recorder is alive, by the monotonic clock."""
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wirewright-capture", daemon=True)
        self._thread.start()

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._target.connection

    @property
    def _path(self) -> Path:
        return self._target.file.path

    def put(self, frames: Frames) -> None:
        """Hand over frames; if too much is waiting they are counted instead."""
        if self.is_over:
            return
        weight, room = weight_of(frames), self._room_of(frames)
        has_memory = budget.admits(weight, room.waiting)
        if not (has_memory and room.admits(weight)):
            self._lose_now(room.losses if has_memory else self._refused_for_memory, frames)
            return
        room.put(weight)
        self._queue.append(frames)
        if room.waiting > room.size // 8 and not self._failure_reason:
            self._wake.set()

    def _room_of(self, frames: Frames) -> Room:
        return self._large_room if frames.size > LARGE_BYTES else self._room

    def leave_out(self, frames: Frames) -> None:
        """Count frames of a socket whose row could not be handed over."""
        if not self.is_over:
            self._lose_now(self._without_row, frames)

    def _lose_now(self, losses: Losses, frames: Frames) -> None:
        losses.add(frames)
        self._warn_of(losses)

    def _warn_of(self, losses: Losses) -> None:
        if time.monotonic() - self._warned > WARN_SECONDS:
            self._warned = time.monotonic()
            left_out = self._refused
            frames, size = sum(each.frames for each in left_out), sum(each.size for each in left_out)
            missing = amount(frames, f"{size:,} bytes")
            logger.warning(
                "%s: %s: so far %s were not recorded",
                self._path,
                self._failure_reason or losses.reason,
                missing,
            )

    def count_unread(self) -> None:
        """Count a message that passed and could not be read."""
        self._unread.frames += 1

    def execute(self, sql: str, *values: object) -> bool:
        """Hand over a statement about a socket or the session. Values may be Headers.

        If too much is waiting, long texts are cut. If twice as much is, it is left out. Either is counted.
        Returns False for one that is left out.
        """
        if self.is_over:
            return False
        room = self._room
        given, cut = statement(sql, values, LARGEST_TEXT)
        if not (budget.admits(given.weight, room.waiting) and room.admits(given.weight)):
            whole, (given, cut) = given, statement(sql, values, SHORT_TEXT)
            if room.waiting + given.weight > 2 * room.size:
                self._without_row.size += whole.weight
                self._warn_of(self._without_row)
                return False
        if cut:
            self._cut.size += cut
            self._warn_of(self._cut)
        room.put(given.weight)
        self._queue.append(given)
        return True

    def flush(self) -> None:
        """Return when everything that was handed over until now has been tried to be written."""
        written = threading.Event()
        self._flushes.append(written)
        self._wake.set()
        if not self._is_closed:  # else nobody may have seen it
            written.wait()

    def stop(self) -> None:
        """Write what waits, end the session and close the file."""
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        try:
            self._record()
            self.is_over = True
            self._end()
        except Exception as error:
            self._log_end(error)
        finally:
            self.is_over = True
            self._close()

    def _close(self) -> None:
        try:
            self._target.close()
        except Exception as error:
            self._log_end(error)
        finally:
            self._is_closed = True  # `flush` must not wait for a thread that has ended
            _set_all(_all_of(self._flushes))
            self._on_over()

    def _log_end(self, error: Exception) -> None:
        """Say that the recording ends by a mistake of ours, and what is lost by that."""
        logger.exception("%s: the recording has ended, as the recorder failed", self._path)
        self._count_lost(f"{type(error).__name__}: {error}", _all_of(self._queue))
        if missing := describe(self._losses):
            logger.warning("%s: %s", self._path, missing)

    def _record(self) -> None:
        """Write what comes, until the recording is stopped or the disk is nearly full."""
        while not self._stopped.is_set():
            self._wake.wait(RETRY_SECONDS if self._failure_reason else COMMIT_SECONDS)
            self._wake.clear()
            if self._lacks_space():
                break
            self._write()

    def _lacks_space(self) -> bool:
        """Whether the capture ends by itself, as the disk is nearly full."""
        if not self._space.is_short(self._room.waiting + self._large_room.waiting):
            return False
        remark = f"the recording ends here: {self._space.shortage}"
        self._queue.append(Statement(INSERT_REMARK, (self._session, time.time_ns(), remark)))
        logger.warning("%s: the recording has ended: %s", self._path, self._space.shortage)
        return True

    def _end(self) -> None:
        """Write what waits and the end of the session. The log has the count of what is missing."""
        self._queue.append(Statement(END_SESSION, (time.time_ns(), self._session)))
        for _ in range(LAST_ATTEMPTS):
            self._write()
            if not self._queue and all(losses.is_noted for losses in self._losses):
                break
        else:
            self._give_up()
        if missing := describe(self._losses):
            logger.warning("%s: %s", self._path, missing)

    def _give_up(self) -> None:
        """Count the frames that still wait as lost. The end and the gaps take less space than they do."""
        left = _all_of(self._queue)
        reason = self._failure_reason
        self._count_lost(reason, [each for each in left if not isinstance(each, Statement)])
        self._count_lost(reason, self._store([each for each in left if isinstance(each, Statement)]))

    @property
    def _refused(self) -> tuple[Losses, ...]:
        """Frames and statements for which there was no room."""
        rooms = self._room.losses, self._large_room.losses
        return *rooms, self._refused_for_memory, self._without_row, self._cut

    @property
    def _losses(self) -> tuple[Losses, ...]:
        return (
            *self._refused,
            self._unreadable,
            self._unread,
            *self._failures.values(),
            *self._failed_statements.values(),
        )

    def _write(self) -> None:
        """Write what waits now, in one transaction; after a failure, a small one first."""
        flushes = _all_of(self._flushes)
        was_failing = bool(self._failure_reason)
        try:
            self._write_some(self._take())
            if was_failing and not self._failure_reason:
                self._write_some(self._take())
        finally:
            _set_all(flushes)

    def _take(self) -> list[Frames | Statement]:
        """Take out what waits; after a failure RETRY_BYTES of it."""
        if not self._failure_reason:
            return _all_of(self._queue)
        taken: list[Frames | Statement] = []
        size = 0
        while self._queue and size < RETRY_BYTES:
            each = self._queue.popleft()
            size += each.weight if isinstance(each, Statement) else each.size
            taken.append(each)
        return taken

    def _write_some(self, taken: Sequence[Frames | Statement]) -> None:
        is_idle = not taken and all(losses.is_noted for losses in self._losses)
        if not is_idle or time.monotonic() - self._seen >= SEEN_SECONDS:
            self._queue.extendleft(reversed(self._store(taken)))

    def _store(self, taken: Sequence[Frames | Statement]) -> Sequence[Frames | Statement]:
        """Write these in one transaction; if one of them cannot be written, the others in their own.

        Returns what is to be tried again. Frames that can never be written are counted.
        """
        totals = [(losses, losses.total) for losses in self._losses]
        try:
            self._commit(taken, totals)
        except Exception as error:  # a thread that ends would leave the others waiting
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            taken = self._without_unreadable(taken)
            if isinstance(error, (sqlite3.OperationalError, OSError)):
                self._note_failure(explain(error) if isinstance(error, sqlite3.Error) else str(error))
                return taken
            if len(taken) > 1 and not isinstance(error, _FileLost):
                return self._store_each(taken)
            reason = str(error) if isinstance(error, _FileLost) else f"{type(error).__name__}: {error}"
            self._count_unwritable(reason, taken)
            return []
        self._seen = time.monotonic()
        self._recover()
        for losses, total in totals:
            losses.noted = total
        self._leave_rooms(self._without_unreadable(taken))
        self._rotate()
        return []

    def _without_unreadable(self, taken: Sequence[Frames | Statement]) -> Sequence[Frames | Statement]:
        """The others: those are counted once, however often the transaction is tried."""
        unreadable, self._found_unreadable = self._found_unreadable, []
        if not unreadable:
            return taken
        for each in unreadable:
            self._unreadable.add(each)
        self._leave_rooms(unreadable)
        ids = set(map(id, unreadable))
        return [each for each in taken if id(each) not in ids]

    def _store_each(self, taken: Sequence[Frames | Statement]) -> Sequence[Frames | Statement]:
        """Write each in a transaction of its own. Returns what is to be tried again."""
        for number, each in enumerate(taken):
            if again := self._store([each]):
                return [*again, *taken[number + 1 :]]
        return []

    def _commit(
        self, taken: Sequence[Frames | Statement], totals: Iterable[tuple[Losses, tuple[int, int]]]
    ) -> None:
        if not self._target.file.is_in_place:
            raise _FileLost("the file is gone")
        self._connection.execute("BEGIN")
        self._note_seen()
        for is_statement, group in groupby(taken, lambda each: isinstance(each, Statement)):
            several: Iterable[Any] = group
            if is_statement:
                for each in several:
                    self._connection.execute(each.sql, each.values)
            else:
                self._insert(chain.from_iterable(map(self._rows_of, several)))
        for gap in self._gaps(totals):
            self._connection.execute(gap.sql, gap.values)
        self._note_seen()
        self._connection.execute("COMMIT")

    def _note_seen(self) -> None:
        """Tell the file that its recorder is alive. Raises _FileLost if it has a newer one."""
        seen = self._connection.execute(
            "UPDATE sessions SET seen_ns = ? WHERE id = ? AND id = (SELECT max(id) FROM sessions)",
            (time.time_ns(), self._session),
        )
        if not seen.rowcount:
            raise _FileLost(NEWER_SESSION)

    def _rotate(self) -> None:
        """Go on in the next file, if this one is full and not the last."""
        if self._rotation is None or self._stopped.is_set():
            return
        self._target = self._rotation.next_file(self._target) or self._target

    def _rows_of(self, frames: Frames) -> Iterable[Row]:
        try:
            return frames.rows()
        except Exception:  # one message must not cost all others
            logger.exception("%s: frames are not recorded", self._path)
            self._found_unreadable.append(frames)
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
        """Statements that add the losses since the last transaction to the gaps of the file."""
        for losses, (frames, size) in totals:
            if (frames, size) != losses.noted:
                missing = frames - losses.noted[0], size - losses.noted[1]
                is_full = losses is self._room.losses or losses is self._large_room.losses
                reason = (
                    f"{losses.reason}: {self._failure_reason}"
                    if is_full and self._failure_reason
                    else losses.reason
                )
                yield Statement(
                    "INSERT INTO gaps (session_id, time_ns, frames, bytes, reason) VALUES (?, ?, ?, ?, ?)",
                    (self._session, time.time_ns(), *missing, reason),
                )

    def _note_failure(self, reason: str) -> None:
        """Say once that nothing can be written now, however often it is tried."""
        if reason != self._failure_reason:
            self._failure_reason = reason
            logger.error(
                "%s: nothing can be written: %s. Up to %s of frames wait until it is possible again",
                self._path,
                reason,
                self._room.shown,
            )

    def _recover(self) -> None:
        if self._failure_reason:
            self._failure_reason = ""
            logger.info("%s: frames are recorded again", self._path)

    def _count_unwritable(self, reason: str, taken: Iterable[Frames | Statement]) -> None:
        """Count frames and statements that can never be written, and say so once for each reason."""
        self._failure_reason = ""
        if reason not in self._failures:
            self._failures[reason] = Losses(reason)
            logger.error("%s: frames are not recorded: %s", self._path, reason)
        self._count_lost(reason, taken)

    def _count_lost(self, reason: str, taken: Iterable[Frames | Statement]) -> None:
        for each in taken:
            if isinstance(each, Statement):
                self._failed_statements.setdefault(reason, Losses(reason)).size += each.weight
            else:
                self._failures.setdefault(reason, Losses(reason)).add(each)
        self._leave_rooms(taken)

    def _leave_rooms(self, taken: Iterable[Frames | Statement]) -> None:
        for each in taken:
            if isinstance(each, Statement):
                self._room.taken(each.weight)
            else:
                self._room_of(each).taken(weight_of(each))


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
