"""Gives memory that was freed back to the system. The C library keeps it for the process otherwise."""

import asyncio
import ctypes
import gc
import threading
from collections.abc import Callable

DELAY_SECONDS = 5.0
"""From the end of connections until memory is given back: their buffers are freed by then."""
FEWEST_CONNECTIONS = 8
"""Connections that must have ended at least. A socket remembers 4 MiB of messages at most by default."""
FEWEST_BEFORE_REST = 64
"""The same, if none is open any more: few connections leave little."""


class FreedMemory:
    """Gives freed memory back when at most half of the connections are open that there were, or none.

    While about as many begin as end, new ones take the memory of those that have ended. To give back 150 of
    300 MB takes 40 ms, in which every thread waits that allocates memory. When no connection is open any
    more, it collects garbage first.

    `trim` does it: malloc_trim(3) of the GNU C library, or nothing where the library has no such function.
    """

    def __init__(self, trim: Callable[[int], int] | None = None) -> None:
        self._trim = trim or _malloc_trim()
        self._open = self._most = 0
        """The number of open connections, and the largest number since memory was last given back."""
        self._ended = 0
        """The connections that have ended since memory was last given back with none open."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_began(self) -> None:
        """Count a connection."""
        self._open += 1
        self._most = max(self._most, self._open)

    def connection_ended(self) -> None:
        """Count a connection no longer. Memory may be given back in DELAY_SECONDS. Needs a loop."""
        self._open = max(0, self._open - 1)
        self._ended += 1
        is_due = self._most - self._open >= max(FEWEST_CONNECTIONS, self._open)
        is_due = is_due or (not self._open and self._ended >= FEWEST_BEFORE_REST)
        if is_due and self._trim is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_SECONDS, self._give_back)

    def cancel(self) -> None:
        """Cancel what is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_back(self) -> None:
        self._timer, self._most = None, self._open
        if not self._open:
            self._ended = 0
            # Closed connections are reference cycles, and Python collects these only while it allocates.
            gc.collect()
        # A call by ctypes releases the interpreter's lock.
        threading.Thread(target=self._trim, args=(0,), name="wirewright-memory", daemon=True).start()


def _malloc_trim() -> Callable[[int], int] | None:
    """malloc_trim(3); None on other systems."""
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # TypeError on Windows
        return None
    return trim
