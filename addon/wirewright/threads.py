"""An event loop in a thread of its own, for callers that have none.

Three kinds of threads meet here. The loop's runs the proxy, and nothing of a user's. The dispatcher's runs
listeners and routes' handlers, in the order of the events: each in a greenlet of its own, as in Playwright's
sync API, so that one that waits for something lets those after it have their turn. All others are the
callers': what they wait for is judged in them.
"""

import asyncio
import concurrent.futures
import inspect
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from greenlet import getcurrent, greenlet

from wirewright.model.errors import Error
from wirewright.model.waiter import LatePredicate

logger = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[], object]

MOST_BYTES = 64 * 1024 * 1024
"""How much may wait for one thread; frames that come then are left out."""
CALL_BYTES, VALUE_BYTES = 500, 60
"""About what a call that waits takes beside its arguments, and a value that is to be judged."""
LAST_SECONDS = 5.0
"""How long listeners may take for what is left when the proxy ends."""


class Load(Protocol):
    """What a thread is left to do."""

    @property
    def weight(self) -> int:
        """About how many bytes of memory it takes."""


class Mailbox:
    """What one thread has to do, in the order in which it came."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, int]] = SimpleQueue()
        self._given = self._done = 0  # each is written by one thread alone
        self._other: Mailbox | None = None
        self._lock = threading.Lock()

    @property
    def weight(self) -> int:
        """About how many bytes of memory what waits here takes."""
        return self._given - self._done

    def put(self, job: Job, weight: int = 0) -> None:
        """Leave something to do; what weighs anything comes from the loop's thread."""
        with self._lock:
            if self._other is not None:
                self._other.put(job, weight)
                return
            if weight:
                self._given += weight
            self._jobs.put((job, weight))

    def do_next(self) -> None:
        """Do the next of it, once there is one."""
        job, weight = self._jobs.get()
        if weight:
            self._done += weight
        job()

    def forward(self, other: "Mailbox") -> None:
        """Leave what is here, and what comes, to whoever has another mailbox."""
        with self._lock:
            self._other = other
            while not self._jobs.empty():
                other.put(*self._jobs.get())


class Bridge:
    """The loop, the dispatcher, and the ways from one thread into another."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._jobs = Mailbox()
        self._loads: set[Load] = {self._jobs}
        """What threads have been left to do. For the loop's thread."""
        self._hub: greenlet
        """The dispatcher's own greenlet; those of listeners and handlers come back to it."""
        self._idle: list[greenlet] = []
        """Greenlets that have nothing to do: a new one costs as much as twenty turns."""
        self._ended = threading.Event()
        self._is_over = False
        self._lock = threading.Lock()
        """Nobody begins what would never end."""
        self._runner = threading.Thread(target=self._run_loop, name="wirewright-proxy", daemon=True)
        self._dispatcher = threading.Thread(target=self._dispatch, name="wirewright-dispatcher", daemon=True)
        self._runner.start()
        self._dispatcher.start()

    def stop(self) -> None:
        """End both threads, once the dispatcher has done what it was given until now, or had time for it."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        self._jobs.put(self._ended.set)
        if not self.is_dispatcher:
            self._dispatcher.join(LAST_SECONDS)
            if self._dispatcher.is_alive():
                logger.warning("a listener or a handler is still at work: what came after it is left out")
                self._ended.set()
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._runner.join()
        self._loop.close()

    # For callers

    def call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What a function returns or raises in the loop's thread, where it must not wait for anything."""

        async def run() -> T:
            return function(*arguments, **options)

        return self.wait(run())

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called in the loop's thread; nobody waits for it."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    def wait(self, coroutine: Coroutine[Any, Any, T], mailbox: Mailbox | None = None) -> T:
        """What a coroutine returns or raises; the caller does meanwhile what is put into the mailbox.

        Whatever interrupts the caller, such as Ctrl-C, cancels the coroutine. In a handler, others have their
        turn meanwhile. Raises Error where nothing can be waited for.
        """
        running = self._start(coroutine)
        if self.is_dispatcher:
            self._switch_until(running, mailbox)
        else:
            _work_until(running, mailbox or Mailbox())
        try:
            return running.result()
        except Error as error:
            raise error.with_traceback(None) from None  # of the loop's insides, which tell a user nothing
        except concurrent.futures.CancelledError:
            if self._is_over:
                raise Error("Proxy closed") from None
            raise

    def _start(self, coroutine: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        why = ""
        if os.getpid() != self._process:
            why = "this is a forked process: the proxy's threads are not in it"
        elif threading.current_thread() is self._runner:
            why = "this thread runs the proxy: nothing can be waited for in it"
        else:
            with self._lock:
                if not self._is_over:
                    return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        raise Error(why or "Proxy closed")

    def _switch_until(self, running: "concurrent.futures.Future[Any]", mailbox: Mailbox | None) -> None:
        if mailbox is not None:
            mailbox.forward(self._jobs)
        handler = getcurrent()
        running.add_done_callback(lambda _: self._jobs.put(handler.switch))
        self._hub.switch()

    @property
    def is_dispatcher(self) -> bool:
        """Whether this is the thread of listeners and handlers."""
        return threading.current_thread() is self._dispatcher

    def in_turn(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the dispatcher call a function that never waits, after all that it was given until now; at
        once where it is the dispatcher's thread that calls."""
        if self.is_dispatcher:
            function(*arguments)
        else:
            self._jobs.put(partial(function, *arguments))

    # For the loop's thread

    def dispatch(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the dispatcher call a function that never waits; what it calls by `run_handler` may."""
        self._jobs.put(partial(function, *arguments), CALL_BYTES + _size(arguments))

    def ask(self, function: Callable[..., object], *arguments: object) -> "asyncio.Future[Any]":
        """What a function of a user's returns or raises, in the dispatcher's thread."""
        return self.ask_there(self._jobs, CALL_BYTES + _size(arguments), function, *arguments)

    def ask_there(
        self, mailbox: Mailbox, weight: int, function: Callable[..., object], *arguments: object
    ) -> "asyncio.Future[Any]":
        """The same in the thread that empties a mailbox."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        mailbox.put(partial(self.run_handler, self._answer, answer, function, arguments), weight)
        return answer

    def watch(self, load: Load, until: "asyncio.Future[Any]") -> None:
        """Have what a thread is left to do count until something is done."""
        self._loads.add(load)
        until.add_done_callback(lambda _: self._loads.discard(load))

    def is_behind(self) -> bool:
        """Whether some thread has been left so much to do that no more should be added."""
        return any(load.weight > MOST_BYTES for load in self._loads)

    # For the thread that does a job

    def run_handler(self, function: Callable[..., object], *arguments: object) -> None:
        """Call what may wait; in the dispatcher's thread this returns as soon as it does."""
        if not self.is_dispatcher:
            function(*arguments)
        else:
            worker = self._idle.pop() if self._idle else greenlet(self._work)
            worker.switch(function, arguments)

    def _work(self, function: Callable[..., object], arguments: tuple[object, ...]) -> None:
        while True:
            function(*arguments)
            self._idle.append(getcurrent())
            function, arguments = self._hub.switch()

    def _answer(
        self, answer: "asyncio.Future[Any]", function: Callable[..., object], arguments: tuple[object, ...]
    ) -> None:
        if answer.done():
            return  # the wait is over
        try:
            result = _plain(function, arguments)
        except StopIteration as error:
            stopped = RuntimeError("the function raised StopIteration")
            stopped.__cause__ = error
            self.post(_set_exception, answer, stopped)
        except Exception as error:
            self.post(_set_exception, answer, error)
        except BaseException as error:
            self.post(_set_exception, answer, RuntimeError(f"{type(error).__name__}: {error}"))
            if not self.is_dispatcher:
                raise
        else:
            self.post(_set_result, answer, result)

    # The threads

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _dispatch(self) -> None:
        self._hub = getcurrent()
        while not self._ended.is_set():
            try:
                self._jobs.do_next()
            except BaseException:  # sys.exit() ends no thread that others need
                logger.exception("a listener raised")
        self._idle.clear()


class CallersPredicate(LatePredicate):
    """A predicate that is asked in the thread that waits, as soon as that has time."""

    def __init__(self, bridge: Bridge, mailbox: Mailbox, predicate: Callable[[Any], object]) -> None:
        self._bridge = bridge
        self._mailbox = mailbox
        self._predicate = predicate
        self._noted = self._judged = 0  # each is written by one thread alone

    @property
    def weight(self) -> int:
        return self._noted - self._judged

    def note(self, value: object) -> None:
        self._noted += VALUE_BYTES + _size((value,))

    def first(self, values: Sequence[object]) -> Awaitable[int | None]:
        return self._bridge.ask_there(self._mailbox, 0, self._first, values)

    def _first(self, values: Sequence[object]) -> int | None:
        for index, value in enumerate(values):
            if _plain(self._predicate, (value,)):
                return index
            self._judged += VALUE_BYTES + _size((value,))
        return None


def _work_until(running: "concurrent.futures.Future[Any]", mailbox: Mailbox) -> None:
    running.add_done_callback(lambda _: mailbox.put(_nothing))
    try:
        while not running.done():
            mailbox.do_next()
    except BaseException:
        running.cancel()
        raise
    finally:
        mailbox.put(_nothing)  # another thread may wait for the same


async def _cancel_all() -> None:
    """End what is still under way, and let it clean up."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _size(arguments: Sequence[object]) -> int:
    return sum(len(each) for each in arguments if isinstance(each, (str, bytes)))


def _nothing() -> None:
    """Wakes who waits."""


def check_plain(function: Callable[..., object]) -> None:
    """Raise TypeError for an async function: nobody here would await it."""
    if inspect.iscoroutinefunction(function):
        raise _no_plain_function(function)


def _plain(function: Callable[..., object], arguments: tuple[object, ...]) -> object:
    result = function(*arguments)
    if inspect.iscoroutine(result):
        result.close()
        raise _no_plain_function(function)
    return result


def _no_plain_function(function: Callable[..., object]) -> TypeError:
    return TypeError(f"{function!r} is async: the sync API takes plain functions")


def _set_result(answer: "asyncio.Future[Any]", value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _set_exception(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
