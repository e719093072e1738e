"""An event loop whose clock jumps to the next timer instead of waiting for it."""

import asyncio
import selectors


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Time passes only while nothing is ready: then it is at once the time of the next timer."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))
        # The loop adds this to the time to tell which timers are due. The system's nanosecond is lost in a
        # float of a hundred days of seconds, and the timer of that moment would never be due.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if timeout is None and not ready:
            raise AssertionError("nothing will ever happen: no timer is set and nothing is ready")
        if not ready and timeout:
            self._loop.jump(timeout)
        return ready
