"""Writes a capture, in a thread of its own: the wire hands things over and never waits for the disk."""

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from itertools import chain, groupby
from typing import Any

from wirewright.capture.frame_batches import FrameBatch, Row
from wirewright.capture.frame_insertion import insert_rows
from wirewright.capture.free_space import FreeSpace
from wirewright.capture.losses import Losses, describe
from wirewright.capture.rotation import Rotation
from wirewright.capture.schema import WritableCapture, explain
from wirewright.capture.statements import Statement
from wirewright.capture.switch_interval import short_switch_interval
from wirewright.capture.tables import END_SESSION, INSERT_GAP, INSERT_REMARK
from wirewright.capture.write_queue import Queued, WriteQueue
from wirewright.printable import get_logger

logger = get_logger(__name__)

COMMIT_SECONDS = 0.1
"""Seconds after which a frame is in the file, if the disk keeps up."""
SEEN_SECONDS = 1.0
"""Seconds after which an idle recorder writes that it is alive."""
RETRY_SECONDS = 0.5
"""The pause after an attempt to write that has failed."""
RETRY_BYTES = 1024 * 1024
"""Bytes of waiting frames that the next attempt takes: a file that still cannot be written costs little."""
LAST_ATTEMPTS = 5
"""How many attempts are made to write the end of a session. Each waits up to a second for a locked file."""
LONG_BYTES = 1024 * 1024
"""Bytes that take long to be searched for secrets, if they came at once."""
NEWER_SESSION = "another program has begun a session in the file while this one was suspended"


class _FileLost(Exception):
    """The recorder can write nothing more into its file. The text is the reason."""


class Writer:
    """One connection, and the thread that writes what is in the queue."""

    def __init__(
        self,
        target: WritableCapture,
        space: FreeSpace,
        rotation: Rotation | None = None,
        on_over: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_over` is called in the writer's thread when it ends, also by itself for lack of free space."""
        self.queue = WriteQueue(target.file.path)
        self._target = target
        self._session = target.session_id
        self._space = space
        self._rotation = rotation
        self._on_over = on_over
        self._flushes: deque[threading.Event] = deque()
        self._failures: dict[str, Losses] = {}
        """Frames that could not be written, by reason."""
        self._failed_statements: dict[str, Losses] = {}
        """The same for statements."""
        self._unreadable = Losses("the recorder failed: its log says how")
        self._found_unreadable: list[FrameBatch] = []
        """Frames of the attempt that runs whose rows cannot be made."""
        self._is_over = False
        """True once all was written and the file was closed."""
        self._seen = -math.inf
        """The last time at which it was written that the recorder is alive, by the monotonic clock."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wirewright-capture", daemon=True)
        self._thread.start()

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._target.connection

    def flush(self) -> None:
        """Return when everything that was handed over until now has been tried to be written."""
        written = threading.Event()
        self._flushes.append(written)
        self.queue.wake.set()
        if not self._is_over:  # else the thread may not have seen it
            written.wait()

    def stop(self) -> None:
        """Write what waits, end the session and close the file."""
        self._stopped.set()
        self.queue.wake.set()
        self._thread.join()

    # The thread

    def _run(self) -> None:
        try:
            self._record()
            self.queue.is_closed = True
            self._end()
        except Exception as error:
            self._log_end(error)
        finally:
            self.queue.is_closed = True
            self._close()

    def _close(self) -> None:
        try:
            self._target.close()
        except Exception as error:
            self._log_end(error)
        finally:
            self._is_over = True  # `flush` must not wait for a thread that has ended
            self._end_flushes(len(self._flushes))
            self._on_over()

    def _log_end(self, error: Exception) -> None:
        """Say that the recording ends by a mistake of ours, and what is lost by that."""
        logger.exception("%s: the recording has ended, as the recorder failed", self.queue.path)
        self._count_lost(f"{type(error).__name__}: {error}", self.queue.take())
        self._log_losses()

    def _log_losses(self) -> None:
        if missing := describe(self._losses):
            logger.warning("%s: %s", self.queue.path, missing)

    def _record(self) -> None:
        """Write what comes, until the recording is stopped or the disk is nearly full."""
        while not self._stopped.is_set():
            self.queue.wake.wait(RETRY_SECONDS if self.queue.failure else COMMIT_SECONDS)
            self.queue.wake.clear()
            if self._lacks_space():
                break
            self._write()

    def _lacks_space(self) -> bool:
        """True if the recording has to end because the disk is nearly full."""
        if not self._space.is_short(self.queue.waiting_bytes, self._target.logged_bytes):
            return False
        remark = f"the recording ends here: {self._space.shortage}"
        self.queue.append(Statement(INSERT_REMARK, (self._session, time.time_ns(), remark)))
        logger.warning("%s: the recording has ended: %s", self.queue.path, self._space.shortage)
        return True

    def _end(self) -> None:
        """Write what waits and the end of the session. The log has the count of what is missing."""
        self._leave_out_what_has_no_space()
        self.queue.append(Statement(END_SESSION, (time.time_ns(), self._session)))
        for _ in range(LAST_ATTEMPTS):
            self._write()
            if not self.queue and all(losses.is_noted for losses in self._losses):
                break
        else:
            self._give_up()
        self._log_losses()

    def _leave_out_what_has_no_space(self) -> None:
        """Count frames that wait as lost, from the first one on that would fill the disk."""
        room = self._space.room(self._target.logged_bytes)
        if self.queue.waiting_bytes <= room:
            return
        taken, kept, left_out = self.queue.take(), list[Queued](), list[Queued]()
        room -= sum(each.weight for each in taken if isinstance(each, Statement))
        for each in taken:
            if isinstance(each, Statement):
                kept.append(each)
                continue
            room = room - each.weight if each.weight <= room else -1
            (kept if room >= 0 else left_out).append(each)
        self.queue.put_back(kept)
        self._count_lost(self._space.shortage, left_out)

    def _give_up(self) -> None:
        """Count the frames that still wait as lost. The end and the gaps take less space than they do."""
        left, reason = self.queue.take(), self.queue.failure
        self._count_lost(reason, [each for each in left if not isinstance(each, Statement)])
        self._count_lost(reason, self._store([each for each in left if isinstance(each, Statement)]))

    @property
    def _losses(self) -> tuple[Losses, ...]:
        failures = *self._failures.values(), *self._failed_statements.values()
        return *self.queue.refused, self._unreadable, self.queue.unread, *failures

    def _write(self) -> None:
        """Write what waits now, in one transaction; after a failure, a small one first."""
        flushes = len(self._flushes)
        was_failing = bool(self.queue.failure)
        try:
            self._write_some()
            if was_failing and not self.queue.failure:
                self._write_some()
        finally:
            self._end_flushes(flushes)

    def _end_flushes(self, count: int) -> None:
        for _ in range(count):
            self._flushes.popleft().set()

    def _write_some(self) -> None:
        taken = self.queue.take(RETRY_BYTES if self.queue.failure else math.inf)
        is_idle = not taken and all(losses.is_noted for losses in self._losses)
        if not is_idle or time.monotonic() - self._seen >= SEEN_SECONDS:
            self.queue.put_back(self._store(taken))

    def _store(self, taken: Sequence[Queued]) -> Sequence[Queued]:
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
        self.queue.release(self._without_unreadable(taken))
        self._rotate()
        return []

    def _without_unreadable(self, taken: Sequence[Queued]) -> Sequence[Queued]:
        """Remove and count frames whose rows cannot be made, so that no further attempt counts them again."""
        unreadable, self._found_unreadable = self._found_unreadable, []
        if not unreadable:
            return taken
        for each in unreadable:
            self._unreadable.add(each)
        self.queue.release(unreadable)
        ids = set(map(id, unreadable))
        return [each for each in taken if id(each) not in ids]

    def _store_each(self, taken: Sequence[Queued]) -> Sequence[Queued]:
        """Write each in a transaction of its own. Returns what is to be tried again."""
        for number, each in enumerate(taken):
            if again := self._store([each]):
                return [*again, *taken[number + 1 :]]
        return []

    def _commit(self, taken: Sequence[Queued], totals: Iterable[tuple[Losses, tuple[int, int]]]) -> None:
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
                insert_rows(self._connection, chain.from_iterable(map(self._rows_of, several)))
        for gap in self._gaps(totals):
            self._connection.execute(gap.sql, gap.values)
        self._note_seen()
        self._connection.execute("COMMIT")

    def _note_seen(self) -> None:
        """Write that the recorder is alive. Raises _FileLost if the file has a newer recorder."""
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
        self.queue.path = self._target.file.path

    def _rows_of(self, frames: FrameBatch) -> Iterable[Row]:
        try:
            with short_switch_interval() if frames.size >= LONG_BYTES else nullcontext():
                return frames.rows()
        except Exception:  # one message must not cost all others
            logger.exception("%s: frames are not recorded", self.queue.path)
            self._found_unreadable.append(frames)
            return ()

    def _gaps(self, totals: Iterable[tuple[Losses, tuple[int, int]]]) -> Iterator[Statement]:
        """Statements that add the losses since the last transaction to the gaps of the file."""
        for losses, total in totals:
            if total != losses.noted:
                missing = total[0] - losses.noted[0], total[1] - losses.noted[1]
                reason = losses.reason
                if losses in self.queue.without_room and self.queue.failure:
                    reason = f"{reason}: {self.queue.failure}"
                yield Statement(INSERT_GAP, (self._session, time.time_ns(), *missing, reason))

    def _note_failure(self, reason: str) -> None:
        """Say once that nothing can be written now, however often it is tried."""
        if reason != self.queue.failure:
            self.queue.failure = reason
            logger.error(
                "%s: nothing can be written: %s. Up to %s of frames wait until it is possible again",
                self.queue.path,
                reason,
                self.queue.room.shown,
            )

    def _recover(self) -> None:
        if self.queue.failure:
            self.queue.failure = ""
            logger.info("%s: frames are recorded again", self.queue.path)

    def _count_unwritable(self, reason: str, taken: Iterable[Queued]) -> None:
        """Count frames and statements that can never be written, and say so once for each reason."""
        self.queue.failure = ""
        if reason not in self._failures:
            self._failures[reason] = Losses(reason)
            logger.error("%s: frames are not recorded: %s", self.queue.path, reason)
        self._count_lost(reason, taken)

    def _count_lost(self, reason: str, taken: Iterable[Queued]) -> None:
        for each in taken:
            if isinstance(each, Statement):
                self._failed_statements.setdefault(reason, Losses(reason)).size += each.weight
            else:
                self._failures.setdefault(reason, Losses(reason)).add(each)
        self.queue.release(taken)
