"""An event loop in a thread of its own, for callers that have none.

Three kinds of threads meet here. The loop's runs the proxy, and nothing of a user's. The dispatcher's runs
listeners and routes' handlers, one after the other, in the order of the events. All others are the callers':
what they wait for is judged in them.
"""

import asyncio
import concurrent.futures
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from wirewright.model.errors import Error
from wirewright.model.waiter import LatePredicate

logger = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[], object]

MOST_BYTES = 64 * 1024 * 1024
"""How much may wait for one thread; frames that come then are left out."""
CALL_BYTES, VALUE_BYTES = 500, 60
"""About what a call that waits takes beside its arguments, and a value that is to be judged."""


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

    @property
    def weight(self) -> int:
        """About how many bytes of memory what waits here takes."""
        return self._given - self._done

    def put(self, job: Job, weight: int = 0) -> None:
        """Leave something to do; what weighs anything comes from the loop's thread."""
        if weight:
            self._given += weight
        self._jobs.put((job, weight))

    def do_next(self) -> None:
        """Do the next of it, once there is one."""
        job, weight = self._jobs.get()
        if weight:
            self._done += weight
        job()


class Bridge:
    """The loop, the dispatcher, and the ways from one thread into another."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._jobs = Mailbox()
        self._loads: set[Load] = {self._jobs}
        """What threads have been left to do. For the loop's thread."""
        self._ended = threading.Event()
        self._is_over = False
        self._lock = threading.Lock()
        """Nobody begins what would never end."""
        self._threads = [
            threading.Thread(target=self._run_loop, name="wirewright-proxy", daemon=True),
            threading.Thread(target=self._dispatch, name="wirewright-dispatcher", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads, once the dispatcher has done what it was given until now."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
        self._jobs.put(self._ended.set)
        if not self._is_dispatcher:
            self._threads[1].join()
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads[0].join()
        self._loop.close()

    # For callers

    def call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What a function returns or raises in the loop's thread, where it must not wait for anything."""

        async def run() -> T:
            return function(*arguments, **options)

        return self.wait(run())

    def wait(self, coroutine: Coroutine[Any, Any, T], mailbox: "Mailbox | None" = None) -> T:
        """What a coroutine returns or raises; the caller does meanwhile what is put into the mailbox.

        Whatever interrupts the caller, such as Ctrl-C, cancels the coroutine. The dispatcher goes on
        dispatching, so that a handler may wait for what other handlers do.
        """
        with self._lock:
            if self._is_over:
                coroutine.close()
                raise Error("Proxy closed")
            running = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        mailbox = mailbox or Mailbox()
        running.add_done_callback(lambda _: mailbox.put(_nothing))
        try:
            while not running.done():
                mailbox.do_next()
        except BaseException:
            running.cancel()
            raise
        try:
            return running.result()
        except concurrent.futures.CancelledError:
            if self._is_over:
                raise Error("Proxy closed") from None
            raise

    def mailbox(self) -> "Mailbox":
        """Where a wait of the calling thread is given what it has to judge."""
        return self._jobs if self._is_dispatcher else Mailbox()

    @property
    def _is_dispatcher(self) -> bool:
        return threading.current_thread() is self._threads[1]

    # For the loop's thread

    def dispatch(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the dispatcher call a listener; one that raises is logged."""
        self._jobs.put(partial(_call_listener, function, arguments), CALL_BYTES + _size(arguments))

    def ask(self, function: Callable[..., object], *arguments: object) -> "asyncio.Future[Any]":
        """What a function of a user's returns or raises, in the dispatcher's thread."""
        return self.ask_there(self._jobs, CALL_BYTES + _size(arguments), function, *arguments)

    def ask_there(
        self, mailbox: "Mailbox", weight: int, function: Callable[..., object], *arguments: object
    ) -> "asyncio.Future[Any]":
        """The same in the thread that empties a mailbox."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        mailbox.put(partial(self._answer, answer, function, arguments), weight)
        return answer

    def watch(self, load: "Load", until: "asyncio.Future[Any]") -> None:
        """Have what a thread is left to do count until something is done."""
        self._loads.add(load)
        until.add_done_callback(lambda _: self._loads.discard(load))

    def is_behind(self) -> bool:
        """Whether some thread has been left so much to do that no more should be added."""
        return any(load.weight > MOST_BYTES for load in self._loads)

    def _answer(
        self, answer: "asyncio.Future[Any]", function: Callable[..., object], arguments: tuple[object, ...]
    ) -> None:
        """Called in the thread that has the mailbox."""
        if answer.done():
            return  # the wait is over
        try:
            result = _plain(function, arguments)
        except StopIteration as error:
            stopped = RuntimeError("the function raised StopIteration")
            stopped.__cause__ = error
            self._tell(_set_exception, answer, stopped)
        except Exception as error:
            self._tell(_set_exception, answer, error)
        except BaseException as error:
            self._tell(_set_exception, answer, RuntimeError(f"{type(error).__name__}: {error}"))
            if not self._is_dispatcher:
                raise
        else:
            self._tell(_set_result, answer, result)

    def _tell(self, settle: Callable[..., None], answer: "asyncio.Future[Any]", value: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle, answer, value)

    # The threads

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _dispatch(self) -> None:
        while not self._ended.is_set():
            self._jobs.do_next()


class CallersPredicate(LatePredicate):
    """A predicate that is asked in the thread that waits, as soon as that has time."""

    def __init__(self, bridge: Bridge, mailbox: Mailbox, predicate: Callable[[Any], object]) -> None:
        self._bridge = bridge
        self._mailbox = mailbox
        self._predicate = predicate
        self._noted = self._judged = 0

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


async def _cancel_all() -> None:
    """End what is still under way, and let it clean up."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _size(arguments: tuple[object, ...]) -> int:
    return sum(len(each) for each in arguments if isinstance(each, (str, bytes)))


def _nothing() -> None:
    """Wakes who waits."""


def _call_listener(function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    try:
        _plain(function, arguments)
    except BaseException:  # pytest.fail() and sys.exit() end no thread that others need
        logger.exception("%s: a listener raised", arguments[0] if arguments else function)


def check_plain(function: Callable[..., object]) -> None:
    """Raise TypeError for an async function: nobody here would await it."""
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function!r} is async: the sync API takes plain functions")


def _plain(function: Callable[..., object], arguments: tuple[object, ...]) -> object:
    result = function(*arguments)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{function!r} is async: the sync API takes plain functions")
    return result


def _set_result(answer: "asyncio.Future[Any]", value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _set_exception(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
