"""When Ctrl-C may interrupt a command that writes a capture: never while its files are made or closed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Have a Ctrl-C in this block raise KeyboardInterrupt at its end, or within `interrupts_allowed`.

    Nothing happens in other threads, which get no KeyboardInterrupt, and on Windows.
    """
    yield from _masked("SIG_BLOCK")


@contextmanager
def interrupts_allowed() -> Iterator[None]:
    """Have a Ctrl-C in this block raise KeyboardInterrupt at once, also within `interrupts_deferred`."""
    yield from _masked("SIG_UNBLOCK")


def _masked(how: str) -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # It calls the handler of a signal that has come, which may raise.
        signal.pthread_sigmask(getattr(signal, how), {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
