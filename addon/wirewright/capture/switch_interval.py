"""Python's switch interval: how long a thread that computes keeps the interpreter's lock from another one."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_SECONDS = 0.001

_lock = threading.Lock()
_intervals: list[float] = []
"""The interval before each block that is being executed, in the order of their beginnings."""


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Have other threads wait 1 ms for the interpreter's lock in this block, instead of the usual 5 ms.

    The event loop gives up the lock at each system call, and a message takes several of them to the other
    end. Always that short, the interval would take some percent of the recorder's speed.
    """
    with _lock:
        _intervals.append(sys.getswitchinterval())
        sys.setswitchinterval(min(SHORT_SECONDS, _intervals[0]))
    try:
        yield
    finally:
        with _lock:
            usual = _intervals[0]
            _intervals.pop()
            if not _intervals:
                sys.setswitchinterval(usual)
