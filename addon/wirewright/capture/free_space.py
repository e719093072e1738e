"""The free space on the disk of a capture, so that the recording ends before the disk is full."""

import math
import shutil
from pathlib import Path

from wirewright.capture.errors import CaptureError
from wirewright.printable import get_logger

logger = get_logger(__name__)

DEFAULT_MIN_FREE = 100 * 2**20
"""Bytes that are left free without `ws_capture_min_free`."""
COPIES = 2
"""SQLite writes each page twice: into the log beside the file, and later into the file."""


class FreeSpace:
    """How much must stay free on the disk of a capture. For the writer's thread."""

    def __init__(self, path: Path, least: int | None) -> None:
        """`least` is in bytes: None for DEFAULT_MIN_FREE, 0 for no limit.

        Raises ValueError for fewer than 0 bytes, and CaptureError if less is free already.
        """
        self._path = path
        self._least = DEFAULT_MIN_FREE if least is None else least
        self._is_warned = False
        if self._least < 0:
            raise ValueError(f"min_free must be 0 or more bytes, not {least!r}")
        if path.parent.is_dir() and (free := _free(path.parent)) is not None and free < self._least:
            raise CaptureError(
                f"{path}: the disk has {_mib(free)} free, and {_mib(self._least)} must stay free "
                "(ws_capture_min_free): free some, or set it lower"
            )

    @property
    def shortage(self) -> str:
        """The reason for the end of a recording or an import."""
        return f"less than {_mib(self._least)} would be left free on the disk (ws_capture_min_free)"

    def room(self, logged: int = 0) -> float:
        """How many bytes may still be written, so that enough stays free. Infinite without a limit.

        `logged` is how many bytes are in the log beside the file, and not in the file itself yet.
        """
        if not self._least or (free := _free(self._path.parent)) is None:
            return math.inf
        return (free - logged - self._least) / COPIES

    def is_short(self, waiting: int, logged: int = 0) -> bool:
        """True if too little is free after `waiting` bytes are written. Warns once at twice the minimum."""
        spare = self.room(logged) - waiting
        if COPIES * spare < self._least and not self._is_warned:
            self._is_warned = True
            logger.warning(
                "%s: the disk has %s free; the recording ends when it has less than %s",
                self._path,
                _mib(_free(self._path.parent) or 0),
                _mib(self._least),
            )
        return spare < 0


def _free(folder: Path) -> int | None:
    """Bytes that this user may still write; None if the file system does not tell."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
