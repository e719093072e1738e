"""Gives memory that was freed back to the system. The C library keeps it for the process otherwise."""

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LARGE_BYTES = 32 * 1024 * 1024
"""Bytes of freed memory that the process may keep for later sockets."""
DELAY_SECONDS = 1.0
"""Seconds from the end of a connection to the check of the memory: its buffers are freed by then."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0  # no statm on Windows either
_STATM = Path("/proc/self/statm")


class FreedMemory:
    """Gives freed memory back after connections have ended, if the process has grown by LARGE_BYTES.

    `trim` does it: malloc_trim(3) of the GNU C library, or nothing where the library has no such function.
    """

    def __init__(self, trim: Callable[[int], int] | None = None) -> None:
        self._trim = trim or _malloc_trim()
        self._kept = resident_bytes()
        """The smallest resident size since memory was last given back, in bytes."""
        self._timer: asyncio.TimerHandle | None = None

    def give_back_soon(self) -> None:
        """Check the memory in DELAY_SECONDS, once for all connections that end by then. Needs a loop."""
        if self._trim is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._look)

    def cancel(self) -> None:
        """Cancel the check that is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        resident = resident_bytes()
        self._kept = min(self._kept, resident)
        if resident - self._kept >= LARGE_BYTES:
            # It takes milliseconds. The interpreter's lock is released meanwhile.
            threading.Thread(target=self._give_back, name="wirewright-memory", daemon=True).start()

    def _give_back(self) -> None:
        assert self._trim is not None
        self._trim(0)
        self._kept = resident_bytes()


def resident_bytes() -> int:
    """Bytes of this process in RAM; 0 if the system does not report them."""
    with suppress(OSError):
        return int(_STATM.read_text().split()[1]) * _PAGE_BYTES
    return 0


def _malloc_trim() -> Callable[[int], int] | None:
    """malloc_trim(3); None on other systems."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # TypeError on Windows
        return None
    return trim
