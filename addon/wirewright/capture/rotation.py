"""A capture that has got large goes on in another file: `session.db`, `session-2.db`, `session-3.db`, …"""

import math
import sqlite3
import time
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

from wirewright.capture.capture_file import CaptureFile, is_free
from wirewright.capture.errors import CaptureError
from wirewright.capture.schema import WritableCapture, create_or_append
from wirewright.capture.tables import END_SESSION, INSERT_REMARK
from wirewright.printable import get_logger

logger = get_logger(__name__)

RETRY_SECONDS = 5.0
SMALLEST_MAX_SIZE = 1024 * 1024
"""Bytes: the tables alone take some tens of thousands."""


class Rotation:
    """When a file has reached its size, the next one, and which are kept. For the writer's thread.

    Files are never renamed: somebody may be reading them (https://www.sqlite.org/howtocorrupt.html, 4.1).
    """

    def __init__(self, path: Path, program: str, max_size: int, keep: int | None) -> None:
        """Raises ValueError for a size below SMALLEST_MAX_SIZE bytes, and if less than one file is kept."""
        if max_size < SMALLEST_MAX_SIZE:
            raise ValueError(f"max_size must be {SMALLEST_MAX_SIZE:,} bytes or more, not {max_size!r}")
        if keep is not None and keep < 1:
            raise ValueError(f"rotate must be 1 file or more, or None for all, not {keep!r}")
        self._program = program
        self._max_size, self._keep = max_size, keep
        self._ours: deque[CaptureFile] = deque()
        """Files that were made here, oldest first. Others are not ours to delete."""
        self._names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
        self._following: Path | None = None
        """A name that was tried, and could not be used yet."""
        self._failed_at = -math.inf

    def next_file(self, full: WritableCapture) -> WritableCapture | None:
        """Close a full file, and return the next one, with the same session and its open sockets.

        Returns None if the file is not full, or if no other file can be made. In that case the recording goes
        on in the same file, and the log says so. Call it between transactions.
        """
        try:
            if _size(full.connection) < self._max_size or time.monotonic() - self._failed_at < RETRY_SECONDS:
                return None
            if self._following is None or not is_free(self._following):
                self._following = next(filter(is_free, self._names))
            following = self._continue(full, self._following)
        except (CaptureError, sqlite3.Error, OSError) as error:
            if self._failed_at == -math.inf:
                logger.error("%s: the capture grows beyond its max_size: %s", full.file.path, error)
            self._failed_at = time.monotonic()
            return None
        self._following, self._failed_at = None, -math.inf
        logger.info("WebSockets are recorded in %s now", following.file.path)
        if full.file.is_new and not self._ours:
            self._ours.append(full.file)
        self._ours.append(following.file)
        while self._keep is not None and len(self._ours) > self._keep:
            self._ours.popleft().delete()
        return following

    def _continue(self, full: WritableCapture, path: Path) -> WritableCapture:
        open_sockets = full.connection.execute(
            "SELECT * FROM sockets WHERE session_id = ? AND closed_ns IS NULL", (full.session_id,)
        ).fetchall()
        following = create_or_append(path, self._program, full.session_id)
        try:
            following.connection.execute("BEGIN")
            for row in open_sockets:
                places = ", ".join("?" * len(row))
                following.connection.execute(f"INSERT INTO sockets VALUES ({places})", row)  # noqa: S608
            following.connection.execute("COMMIT")
        except BaseException:
            following.discard()
            raise
        now = time.time_ns()
        with suppress(sqlite3.Error):
            full.connection.execute(
                INSERT_REMARK,
                (full.session_id, now, f"goes on in {path.name}"),
            )
            full.connection.execute(END_SESSION, (now, full.session_id))
        full.close()
        return following


def _size(connection: sqlite3.Connection) -> int:
    """Bytes, with what is not in the file itself yet."""
    ((pages,), (page_size,)) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    return int(pages * page_size)
