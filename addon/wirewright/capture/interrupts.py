"""When Ctrl-C may interrupt a command that writes a capture: never while its files are made or closed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class _Deferral:
    """Takes the place of the handler of Ctrl-C, and remembers that one came."""

    def __init__(self) -> None:
        self.handler = signal.getsignal(signal.SIGINT)
        self._has_come = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._has_come = True

    def deliver(self) -> None:
        """Call the handler if a Ctrl-C has come. It may raise KeyboardInterrupt."""
        if self._has_come:
            self._has_come = False
            signal.raise_signal(signal.SIGINT)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Have a Ctrl-C in this block raise KeyboardInterrupt at its end, or within `interrupts_allowed`.

    Nothing happens in other threads than the main one: only that one gets KeyboardInterrupts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferral = _Deferral()
    signal.signal(signal.SIGINT, deferral)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, deferral.handler)
        deferral.deliver()


@contextmanager
def interrupts_allowed() -> Iterator[None]:
    """Have a Ctrl-C in this block raise KeyboardInterrupt at once, also within `interrupts_deferred`."""
    deferral = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not isinstance(deferral, _Deferral):
        yield
        return
    signal.signal(signal.SIGINT, deferral.handler)
    try:
        deferral.deliver()
        yield
    finally:
        signal.signal(signal.SIGINT, deferral)
