"""Gives memory that was freed back to the system. The C library keeps it for the process otherwise."""

import asyncio
import ctypes
import threading
from collections.abc import Callable

DELAY_SECONDS = 5.0
"""From the end of a connection until memory is given back: its buffers are freed by then. It is not done more
often, because the next connections take this memory again, which costs time."""


class FreedMemory:
    """Gives freed memory back after connections have ended.

    `trim` does it: malloc_trim(3) of the GNU C library, or nothing where the library has no such function.
    """

    def __init__(self, trim: Callable[[int], int] | None = None) -> None:
        self._trim = trim or _malloc_trim()
        self._timer: asyncio.TimerHandle | None = None

    def give_back_soon(self) -> None:
        """Give memory back in DELAY_SECONDS, once for all connections that end by then. Needs a loop."""
        if self._trim is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._give_back)

    def cancel(self) -> None:
        """Cancel what is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_back(self) -> None:
        self._timer = None
        # It takes milliseconds. The interpreter's lock is released meanwhile.
        threading.Thread(target=self._trim, args=(0,), name="wirewright-memory", daemon=True).start()


def _malloc_trim() -> Callable[[int], int] | None:
    """malloc_trim(3); None on other systems."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # TypeError on Windows
        return None
    return trim
