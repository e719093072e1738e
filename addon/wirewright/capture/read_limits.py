"""Limits for a database that somebody else may have made.

A page of an SQLite file can be its own parent, and thousands of rows can share one long value. A small file
then has rows without end, and values that take more memory than there is.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from wirewright.capture.errors import CaptureError

ROW_BYTES = 512 * 1024 * 1024
"""The largest row. A message of `ws_max_message` (64 MiB) fits, with what it was changed to."""
STEPS = 50_000
"""SQLite calls the progress handler after so many instructions: about a millisecond."""
STEPS_PER_BYTE = 16
"""How many instructions a statement may take for each byte of the file. Sorting takes about one."""
LEAST_ROW = 8
"""Bytes that any row of a capture takes in the file, beside its texts and payloads."""
LEAST_STEPS = 1_000_000
"""Instructions that a statement may take whatever the size of the file."""


class StatementLimit:
    """Ends statements that take too many steps for the size of a file, and lets Ctrl-C end them."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Limit the statements of a connection from which nothing was read yet."""
        self._path = path
        self._steps = 0
        self._is_exceeded = False
        self._raised: BaseException | None = None
        self.on_progress: Callable[[], object] = lambda: None
        """Called about once a millisecond while a statement runs."""
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_BYTES)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.set_progress_handler(self._step, STEPS)

    def begin(self) -> None:
        """Begin to count the steps of another statement."""
        self._steps, self._is_exceeded, self._raised = 0, False, None

    def explain(self, error: sqlite3.Error) -> CaptureError | None:
        """The error of a statement that this limit has ended; None for any other error.

        Raises what a handler of a signal has raised meanwhile, as KeyboardInterrupt for Ctrl-C.
        """
        if self._is_exceeded:
            return CaptureError(f"{self._path}: it is damaged: it has more rows than fit in it")
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise self._raised or KeyboardInterrupt from None
        return None

    def _step(self) -> bool:
        """True to end the statement."""
        try:
            self.on_progress()
            self._steps += STEPS
            if self._steps > LEAST_STEPS:
                self._is_exceeded = self._steps > LEAST_STEPS + STEPS_PER_BYTE * size_of(self._path)
        except BaseException as error:  # SQLite would end the statement, and forget the reason
            self._raised = error
            return True
        return self._is_exceeded


class SizeLimit:
    """How many bytes of values one look through a file may give: not more than the file has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given = 0
        self._size = -1

    def take(self, size: int) -> None:
        """Count bytes that were read. Raises CaptureError if there are more than the file has."""
        self._given += size
        if self._given > self._size:
            self._size = size_of(self._path)
            if self._given > self._size:
                raise CaptureError(f"{self._path}: it is damaged: its values are larger than the file")


def size_of(path: Path) -> int:
    """Bytes of a capture, with what is not in the file itself yet; 0 if it is gone."""
    size = 0
    for each in (path, path.with_name(f"{path.name}-wal")):
        try:
            size += each.stat().st_size
        except OSError:
            continue
    return size
