"""A capture that has got large goes on in another file: `session.db`, `session-2.db`, `session-3.db`, …"""

import logging
import math
import sqlite3
import time
from collections import deque
from contextlib import suppress
from itertools import count
from pathlib import Path

from wirewright.capture.schema import CaptureError, close, create_or_append

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
LEAST = 1024 * 1024
"""Bytes: the tables alone take some tens of thousands."""


class Rotation:
    """When a file has reached its size, the next one, and which are kept. For the writer's thread.

    Files are never renamed: somebody may be reading them (https://www.sqlite.org/howtocorrupt.html, 4.1).
    """

    def __init__(self, path: Path, program: str, max_size: int, keep: int | None) -> None:
        """Raises ValueError for a size of less than LEAST bytes, and where less than one file is kept."""
        if max_size < LEAST:
            raise ValueError(f"max_size must be {LEAST:,} bytes or more, not {max_size!r}")
        if keep is not None and keep < 1:
            raise ValueError(f"rotate must be 1 file or more, or None for all, not {keep!r}")
        self._first = path
        self._program = program
        self._max_size, self._keep = max_size, keep
        # What others have recorded in the first file is not ours to delete.
        self._ours: deque[Path] = deque() if path.exists() else deque([path])
        self._names = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
        self._following: Path | None = None
        """A name that was tried, and could not be used yet."""
        self._failed_at = -math.inf

    def next_file(self, connection: sqlite3.Connection) -> tuple[sqlite3.Connection, Path] | None:
        """If a file is full: the next one, with the session and the sockets that are open; it is closed then.

        Called between transactions. Where no other file can be made the first one goes on, and the log says
        so.
        """
        path = self._following or self._first
        try:
            if _size(connection) < self._max_size or time.monotonic() - self._failed_at < RETRY_SECONDS:
                return None
            path = self._following or next(name for name in self._names if not name.exists())
            following = self._continue(connection, path)
        except (CaptureError, sqlite3.Error) as error:
            if self._failed_at == -math.inf:
                logger.error("%s: the capture grows beyond its max_size: %s", self._first, error)
            self._following, self._failed_at = path, time.monotonic()
            return None
        self._following, self._failed_at = None, -math.inf
        logger.info("WebSockets are recorded in %s now", path)
        self._ours.append(path)
        while self._keep is not None and len(self._ours) > self._keep:
            _delete(self._ours.popleft())
        return following, path

    def _continue(self, connection: sqlite3.Connection, path: Path) -> sqlite3.Connection:
        newest = "SELECT id FROM sessions ORDER BY id DESC LIMIT 1"
        (session,) = connection.execute(newest).fetchone()
        open_sockets = connection.execute(
            "SELECT * FROM sockets WHERE session_id = ? AND closed_ns IS NULL", (session,)
        ).fetchall()
        following, _ = create_or_append(path, self._program, session)
        try:
            following.execute("BEGIN")
            for row in open_sockets:
                following.execute(f"INSERT INTO sockets VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
            following.execute("COMMIT")
        except BaseException:
            following.close()
            raise
        now = time.time_ns()
        with suppress(sqlite3.Error):
            connection.execute(
                "INSERT INTO annotations (session_id, time_ns, text) VALUES (?, ?, ?)",
                (session, now, f"goes on in {path.name}"),
            )
            connection.execute("UPDATE sessions SET ended_ns = ? WHERE id = ?", (now, session))
        close(connection)
        return following


def _size(connection: sqlite3.Connection) -> int:
    """Bytes, with what is not in the file itself yet."""
    ((pages,), (page_size,)) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    return int(pages * page_size)


def _delete(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):
            name.unlink(missing_ok=True)
