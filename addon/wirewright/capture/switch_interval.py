"""Python's switch interval: how long a thread that computes keeps the interpreter's lock from another one."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT_SECONDS = 0.001

_lock = threading.Lock()
_blocks = 0
"""The number of blocks that are being executed, in several threads."""
_usual = 0.0
"""The interval before the first of them began."""


@contextmanager
def short_switch_interval() -> Iterator[None]:
    """Have other threads wait 1 ms for the interpreter's lock in this block, instead of the usual 5 ms.

    The event loop gives up the lock at each system call, and a message takes several of them to the other
    end. Always that short, the interval would take some percent of the recorder's speed.
    """
    global _blocks, _usual
    with _lock:
        if not _blocks:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(SHORT_SECONDS, _usual))
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                sys.setswitchinterval(_usual)
