"""The event loop's end of a wait of the sync API: an inbox, which the loop fills with an event's values."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from queue import SimpleQueue
from typing import Any

from wirewright.memory import MemoryUse, budget
from wirewright.model.emitter import EmittedEvent, Emitter
from wirewright.model.errors import EndedError, Error
from wirewright.model.event_wait import Candidate, EventWait, Timeout, WaitOptions
from wirewright.sync.dispatcher import is_too_much, size_of

__tracebackhide__ = True  # pytest shows the line that calls


class EventInbox(EventWait):
    """The loop's end of a wait."""

    def __init__(
        self, emitter: Emitter, event: str, timeout: Timeout, options: WaitOptions, *, takes_any: bool
    ) -> None:
        """With `takes_any` the first value ends the wait: there is no predicate."""
        self.items: SimpleQueue[list[Candidate | Error]] = SimpleQueue()
        self.judged = 0
        """Bytes of the values for which the predicate has been called. Only the waiting thread writes it."""
        self._noted = 0
        self._share = budget.share(MemoryUse.QUEUED)
        self._takes_any = takes_any
        self._left_out = 0
        """The number of values that were not put in: too many waited for the predicate."""
        self._is_over = False
        self._call_when_filled: Callable[[], object] | None = None
        self._deadline: float | None = None
        """The loop's time until which an async predicate may answer; None for a wait without a limit."""
        self._limit: asyncio.Timeout | None = None
        """That of the async predicate that has been called and has not answered."""
        self._answering: asyncio.Task[Any] | None = None
        """The task of that predicate."""
        self._has_grace = False
        """True if a predicate was called after the deadline, which is a later one since then."""
        self.is_undecided = False
        """True if an async predicate has not answered in time."""
        self.wants = (event, *options.ends)
        super().__init__(emitter, event, timeout, options)
        if self._deadline is None and self.milliseconds:
            self._deadline = asyncio.get_running_loop().time() + self.milliseconds / 1000

    @property
    def is_over(self) -> bool:
        return self._is_over

    def when_filled(self, call: Callable[[], object]) -> None:
        """Call a function once there is an item."""
        if self.items.empty():
            self._call_when_filled = call
        else:
            call()

    def cancel(self) -> None:
        self._is_over = True
        self._share.follow(0)
        self._dispose()

    def give_up(self) -> None:
        """End the wait, and cancel the async predicate that has not answered: nobody waits any more."""
        self.cancel()
        if self._answering is not None:
            self._answering.cancel()

    def fail(self, message: str) -> None:
        self._conclude(EndedError(message))

    def _listen(self) -> None:
        self.emitter._attach(self)

    def _ignore(self) -> None:
        self.emitter._detach(self)

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        if event == self._event:
            newest = self.options.newest_frame
            self._add(values, None, None if newest is None else newest() + 1 - len(values))
        elif event in self.options.ends:
            self._fail_at_end(self.options.end_text())

    def _consider(self, value: Any, number: int | None = None, frame: int | None = None) -> None:
        self._add([value], number, frame)

    def _add(self, values: Sequence[Any], number: int | None, first: int | None) -> None:
        """`first` is the number of the first value among all frames, if they are frames."""
        candidates: list[Candidate | Error] = []
        for index, value in enumerate(values):
            if is_too_much(self._noted - self.judged):
                self._left_out += 1
                continue
            self._noted += size_of((value,))
            candidates.append(self._candidate(value, number, None if first is None else first + index))
            if self._takes_any:
                self._put(candidates)
                self.cancel()
                return
        self._share.follow(self._noted - self.judged)
        if candidates:
            self._put(candidates)

    async def verdict(self, held: Awaitable[object], grace: float) -> object:
        """The answer of an async predicate; False if the wait is over first.

        After the end of the wait, predicates have `grace` seconds, all calls together.
        """
        now = asyncio.get_running_loop().time()
        if self._deadline is not None and self._deadline <= now and not self._has_grace:
            self._has_grace = True
            self._deadline = now + grace
        limit = self._limit = asyncio.timeout_at(self._deadline)
        self._answering = asyncio.current_task()
        try:
            async with limit:
                return await held
        except TimeoutError:
            if not limit.expired():
                raise  # the predicate's own
            self.is_undecided = True
            return False
        finally:
            self._limit = self._answering = None

    def _conclude(self, error: Error) -> None:
        if self._is_over:
            return
        if isinstance(error, (TimeoutError, EndedError)):  # else a value that came before may still count
            self._deadline = asyncio.get_running_loop().time()
            if self._limit is not None and not self._limit.expired():
                self._limit.reschedule(self._deadline)
        self._put([error])
        self.cancel()

    def _put(self, items: list[Candidate | Error]) -> None:
        self.items.put(items)
        if (call := self._call_when_filled) is not None:
            self._call_when_filled = None
            call()

    def _remark(self) -> str:
        left_out = f" ({self._left_out:,} messages were left out: too many waited for the predicate)"
        return super()._remark() + (left_out if self._left_out else "")
