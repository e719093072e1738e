"""The waits of `expect` and `next_frame`: the waiting code looks at an object after each of its changes.

`EventWait` waits for one event. A watch waits until a condition holds that several events may change.
"""

import asyncio
import builtins
from abc import abstractmethod
from collections.abc import Awaitable

from wirewright.model.emitter import Emitter
from wirewright.model.errors import EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_loops import call_in_loop
from wirewright.model.event_wait import TimedWait, Timeout

__tracebackhide__ = True  # pytest shows the line that calls


class ChangeWatch(TimedWait):
    """Waits for changes of an object, for a limited time, in the proxy's event loop.

    Steps (`steps.py`) wait for a change and look again. A subclass says what a change is.
    """

    def __init__(self, emitter: Emitter, timeout: Timeout, awaited: str) -> None:
        """`awaited` is a noun, for the message of a TimeoutError. Raises the errors of TimedWait."""
        self._name = awaited
        self.error: Error | None = None
        """The first of: the end of the object, the end of the proxy, a TimeoutError."""
        self.is_final = False
        """True if the time is up, or the proxy has ended."""
        self.is_undecided = False
        """True if an async function of the user's has not answered in time."""
        self._is_over = self._has_changed = False
        self._changed: asyncio.Future[None] | None = None
        """Done at the next change. None while nobody waits for one."""
        self._loop = asyncio.get_running_loop()
        super().__init__(emitter, timeout)
        self._deadline = self._loop.time() + self.milliseconds / 1000 if self.milliseconds else None

    @abstractmethod
    def _ignore(self) -> None:
        """Watch no longer."""

    @property
    def is_over(self) -> bool:
        return self.error is not None or self._is_over

    @property
    def is_timed_out(self) -> bool:
        """True if the time is up."""
        return isinstance(self.error, TimeoutError)

    async def change(self) -> None:
        """Return when something has happened since the last call, or since the watch began."""
        if self._is_over:  # its script was unloaded
            raise asyncio.CancelledError
        if not self._has_changed:
            self._changed = self._loop.create_future()
            try:
                await self._changed
            finally:
                self._changed = None
        self._has_changed = False

    async def verdict(self, held: Awaitable[object]) -> object:
        """The answer of an async function of the user's; False if the time of the watch is up first."""
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                return await held
        except builtins.TimeoutError:
            if limit.expired():
                self.is_undecided = True
                return False
            raise

    def why_over(self) -> str:
        """Why the watch is over, as the end of a sentence."""
        if self.is_timed_out:
            return f" within {self.milliseconds:.15g}ms"
        return "" if self.error is None else f" ({self.error.message})"

    def end(self) -> None:
        """End the watch. From any thread."""
        call_in_loop(self._loop, self.cancel)

    def cancel(self) -> None:
        self._dispose()
        if self._changed is not None:
            self._changed.cancel()

    def fail(self, message: str) -> None:
        self._conclude(EndedError(message))

    def _awaited(self) -> str:
        return self._name

    def _conclude(self, error: Error) -> None:
        self.error = self.error or error
        self.is_final = self.is_final or isinstance(error, TimeoutError | EndedError)
        self._wake()

    def _wake(self) -> None:
        self._has_changed = True
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _dispose(self, _: object = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._ignore()
        super()._dispose()
