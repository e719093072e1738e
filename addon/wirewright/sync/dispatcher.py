"""The thread that calls listeners and routes' handlers, in the order of the events.

Each of them is called in a greenlet, as in Playwright's sync API: the next handler runs while one waits.
"""

import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

from wirewright.requirements import require

try:
    from greenlet import getcurrent, greenlet
except ImportError:
    require(["greenlet"])  # it says how to add the package
    raise

from wirewright.memory import MemoryUse, budget

Calls = Iterator[tuple[Callable[[Any], object], object, Callable[[BaseException], object]]]
"""A user's functions in the order in which they are called, each with its value, and with a function that is
given what it raises."""
Job = tuple[Callable[..., Calls | None], tuple[object, ...], int]
"""A function, its arguments, and about how many bytes of memory they take. The function must not wait. It may
return calls that do."""

MOST_BYTES = 64 * 1024 * 1024
"""The largest size of the dispatcher's queue, and of the inbox of one wait. Above it new frames are left out.
If the memory budget is used up, frames are left out earlier."""
CALL_BYTES, VALUE_BYTES = 500, 60
"""About what a job of the dispatcher takes beside its values, and each value beside its payload."""


class Dispatcher:
    """One thread with a queue of jobs."""

    def __init__(self, finish: Callable[[Awaitable[Any]], object]) -> None:
        """`finish` waits for what an async function has returned."""
        self.dispatched = 0
        """The sequence number of the event that was dispatched last. It is changed in the loop's thread."""
        self.thread = threading.Thread(target=self._dispatch, name="wirewright-dispatcher", daemon=True)
        self.waiting = 0
        """The number of handlers that wait for something."""
        self._finish = finish
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._added = self._done = 0  # bytes; each is written by one thread alone
        self._share = budget.share(MemoryUse.QUEUED)
        self._hub: greenlet
        """The thread's own greenlet, which the workers return to."""
        self._idle: list[greenlet] = []
        """Workers without calls: to make a greenlet takes as long as twenty switches."""
        self._is_last = False
        """True if all that came before the end is done, but for handlers that wait."""
        self._is_forced = False

    @property
    def is_current(self) -> bool:
        """True in the dispatcher's thread."""
        return threading.current_thread() is self.thread

    def in_turn(self, function: Callable[[], Calls | None]) -> None:
        """Call a function, and make the calls that it returns, after what the dispatcher was given until now.

        They have no sequence number.
        """
        self._jobs.put((function, (), 0))

    def dispatch(self, function: Callable[..., Calls], *arguments: object, size: int = 0) -> None:
        """Make the calls that a function returns. It is given the arguments and a new sequence number.

        The calls may take `size` bytes. For the loop's thread.
        """
        self.dispatched += 1
        size += CALL_BYTES
        self._added += size
        self._share.follow(self._added - self._done)
        self._jobs.put((function, (*arguments, self.dispatched), size))

    def is_behind(self) -> bool:
        """True if so much waits here that no more should be added."""
        return is_too_much(self._added - self._done)

    def pause(self, begin: Callable[[Callable[[], object]], object]) -> None:
        """Have others run, in a handler. `begin` is given a function that makes the handler go on."""
        begin(partial(self._jobs.put, (_resume, (getcurrent(),), 0)))
        self.waiting += 1
        self._hub.switch()
        self.waiting -= 1

    def end_soon(self) -> None:
        """End the thread when what it was given until now is done, and no handler waits."""
        self.in_turn(self._end)

    def end_now(self) -> None:
        """End the thread after the job that it does now."""
        self._is_forced = True
        self.in_turn(_nothing)

    def _end(self) -> None:
        self._is_last = True

    def _dispatch(self) -> None:
        self._hub = getcurrent()
        while not (self._is_forced or (self._is_last and not self.waiting)):
            function, arguments, size = self._jobs.get()
            if size:
                self._done += size
                self._share.follow(self._added - self._done)
            calls = function(*arguments)
            del function, arguments  # the thread keeps no socket alive while it waits for its next job
            if calls is not None:
                self._run(calls)
                del calls
        self._idle.clear()

    def _run(self, calls: Calls) -> None:
        """Have a worker make the calls. If one of them waits, another worker makes those after it."""
        while True:
            worker = self._idle.pop() if self._idle else greenlet(self._work)
            if worker.switch(calls):
                return

    def _work(self, calls: Calls) -> None:
        while True:
            for function, value, report in calls:
                try:
                    result = function(value)
                    if result is not None and inspect.isawaitable(result):
                        self._finish(result)
                except BaseException as exception:  # sys.exit() ends no thread that others need
                    report(exception)
            del calls
            function = value = report = result = None  # type: ignore[assignment]  # they keep no socket alive
            self._idle.append(getcurrent())
            calls = self._hub.switch(True)


def is_too_much(waiting: int) -> bool:
    """True if so many bytes wait for a thread that no more may be added."""
    return waiting > MOST_BYTES or not budget.admits(0, waiting)


def size_of(values: Sequence[object]) -> int:
    """About how many bytes of memory some values take."""
    return VALUE_BYTES * len(values) + sum([len(each) for each in values if isinstance(each, (str, bytes))])


def _resume(handler: greenlet) -> None:
    handler.switch()


def _nothing() -> None:
    """Wakes the dispatcher."""
