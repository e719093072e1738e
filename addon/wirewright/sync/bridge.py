"""An event loop in a thread of its own, for callers that have none.

Three kinds of threads meet here. The loop's runs the proxy, and a user's async functions. The dispatcher's
runs listeners and routes' handlers, in the order of the events: each in a greenlet of its own, as in
Playwright's sync API, so that one that waits for something lets those after it have their turn. All others
are the callers': what they wait for is judged in them.
"""

import asyncio
import inspect
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from wirewright.printable import get_logger
from wirewright.requirements import require

try:
    from greenlet import getcurrent, greenlet
except ImportError:
    require(["greenlet"])  # it says how to add the package
    raise

from wirewright.memory import MemoryUse, budget
from wirewright.model import user_errors
from wirewright.model.errors import EndedError, Error
from wirewright.model.waiter import LatePredicate

logger = get_logger(__name__)

T = TypeVar("T")
Job = Callable[[], object]

MOST_BYTES = 64 * 1024 * 1024
"""How much may wait for the dispatcher, or for one wait's predicate; frames that come then are left out. The
budget of the process may be used up before."""
CALL_BYTES, VALUE_BYTES = 500, 60
"""About what a call that waits takes beside its arguments, and a value that is to be judged."""
LAST_SECONDS = 5.0
"""How long listeners may take for what is left when the proxy ends."""
OVERDUE_SECONDS = 1.0
"""How long an async predicate may take that is called after the wait's timeout."""


class Mailbox:
    """The queue of jobs of one thread, in the order in which they came.

    Both threads report its size to the memory budget, perhaps in the wrong order. The next report corrects
    it.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, int]] = SimpleQueue()
        self._given = self._done = 0  # each is written by one thread alone
        self._share = budget.share(MemoryUse.QUEUED)

    @property
    def weight(self) -> int:
        """About how many bytes of memory what waits here takes."""
        return self._given - self._done

    def put(self, job: Job, weight: int = 0) -> None:
        """Leave something to do; what weighs anything comes from the loop's thread."""
        if weight:
            self._given += weight
            self._share.follow(self.weight)
        self._jobs.put((job, weight))

    def do_next(self) -> None:
        """Do the next of it, once there is one."""
        job, weight = self._jobs.get()
        if weight:
            self._done += weight
            self._share.follow(self.weight)
        job()

    def wait_for(self, is_done: Callable[[], bool], seconds: float) -> None:
        """Return when something is done, or the time is up; nothing that comes here is done meanwhile."""
        until = time.monotonic() + seconds
        with suppress(Empty):
            while not is_done():
                self._jobs.get(timeout=max(0.0, until - time.monotonic()))

    def take_rest(self) -> list[Job]:
        """What is left, for somebody else."""
        rest = []
        with suppress(Empty):
            while True:
                rest.append(self._jobs.get_nowait()[0])
        return rest


class Questions:
    """What a wait asks of whoever waits for it: the thread that came last, or nobody yet.

    Without a lock: a signal's handler that waits itself may come in the middle of anything.
    """

    def __init__(self) -> None:
        self._kept: SimpleQueue[Job] = SimpleQueue()
        self._readers: list[Mailbox] = []

    def put(self, job: Job) -> None:
        self._kept.put(job)
        self._hand_over()

    def enter(self, reader: Mailbox) -> None:
        """Somebody has time for them."""
        self._readers.append(reader)
        self._hand_over()

    def leave(self, reader: Mailbox) -> None:
        """No longer; what is left is for the others."""
        self._readers.remove(reader)
        for job in reader.take_rest():
            self.put(job)

    def _hand_over(self) -> None:
        while self._readers:
            try:
                job = self._kept.get_nowait()
            except Empty:
                return
            try:
                self._readers[-1].put(job)
            except IndexError:  # it has left in this moment
                self._kept.put(job)


class Running(Generic[T]):
    """A coroutine in the loop's thread, as another thread sees it: it is done when it has cleaned up, too.

    Without a lock, as `Questions`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T],
        when_done: Callable[[], object],
    ) -> None:
        self.is_done = False
        self._loop = loop
        self._coroutine = coroutine
        self._when_done = when_done
        self._task: asyncio.Task[T] | None = None
        self.began = threading.Event()
        """Set when the coroutine has got to its first await."""
        loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        """Have it end soon."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._cancel)

    def result(self) -> T:
        """What it has returned, or raised."""
        assert self._task is not None
        return self._task.result()

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._settle)
        self._loop.call_soon(self.began.set)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _settle(self, task: "asyncio.Task[T]") -> None:
        if not task.cancelled():
            task.exception()  # seen: whoever was interrupted does not look
        self.is_done = True
        self._when_done()


class Bridge:
    """The loop, the dispatcher, and the ways from one thread into another."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._jobs = Mailbox()
        self._hub: greenlet
        """The dispatcher's own greenlet; those of listeners and handlers come back to it."""
        self._idle: list[greenlet] = []
        """Greenlets that have nothing to do: a new one costs as much as twenty turns."""
        self._waiting = 0
        """Handlers that wait for something."""
        self._is_over = False
        self._is_last = False
        """Whether the dispatcher has done all that it was given, but for the handlers that wait."""
        self._is_forced = False
        self._lock = threading.RLock()  # a signal's handler may come here in the middle
        """Nobody begins what would never end."""
        self._runner = threading.Thread(target=self._run_loop, name="wirewright-proxy", daemon=True)
        self._dispatcher = threading.Thread(target=self._dispatch, name="wirewright-dispatcher", daemon=True)

    def start(self) -> None:
        """Begin both threads; whatever interrupts this, `stop` ends them."""
        self._runner.start()
        self._dispatcher.start()

    def stop(self) -> None:
        """End both threads, once the dispatcher has done what it was given until now, or had time for it.

        Whoever interrupts this leaves threads that end by themselves.
        """
        if os.getpid() != self._process:
            return  # a forked child has none of them
        with self._lock:
            self._is_over = True
        try:
            self._jobs.put(self._end_dispatching)
            if not self.is_dispatcher and self._dispatcher.ident is not None:
                self._dispatcher.join(LAST_SECONDS)
                if self._dispatcher.is_alive():
                    logger.warning("a listener or a handler is still at work: what came after it is left out")
        finally:
            self._is_forced = not self.is_dispatcher
            self._jobs.put(_nothing)
            self.post(self._shut_down)
        if self._runner.ident is not None:
            self._runner.join()
        else:
            self.loop.close()

    def _end_dispatching(self) -> None:
        self._is_last = True

    def _shut_down(self) -> None:
        self._ending = self.loop.create_task(self._cancel_all())

    async def _cancel_all(self) -> None:
        """End what is still under way, and let it clean up."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()  # a block that was entered in the moment of a Ctrl-C
        await asyncio.sleep(0)  # who waits for what has just ended is told
        self.loop.stop()

    def settle(self, seconds: float = LAST_SECONDS) -> None:
        """Return when the dispatcher has done what it was given until now, or the time is up."""
        done = threading.Event()
        self.in_turn(done.set)
        done.wait(seconds)
        self.wait(_turns())  # what handlers have answered goes on in the loop

    # For callers

    def call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What a function returns or raises in the loop's thread, where it must not wait for anything."""
        if self.is_loop:
            return function(*arguments, **options)

        async def run() -> T:
            return function(*arguments, **options)

        return self.wait(run())

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called in the loop's thread; nobody waits for it."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(function, *arguments)

    def wait(
        self, coroutine: Coroutine[Any, Any, T], questions: Questions | None = None, *, has_turn: bool = False
    ) -> T:
        """Run a coroutine in the loop, and return or raise its result. The caller answers `questions`.

        With `has_turn`, the dispatcher does nothing before the coroutine has reached its first await. An
        interrupt of the caller, such as Ctrl-C, cancels the coroutine. If the caller is a handler, other
        handlers run meanwhile. Raises Error where the caller must not wait.
        """
        if self.is_dispatcher:
            running = self._switch_until_done(coroutine, questions, has_turn=has_turn)
        else:
            running = self._answer_until_done(coroutine, questions or Questions())
        try:
            return running.result()
        except Error as error:
            raise error.with_traceback(None) from None  # of the loop's insides, which tell a user nothing
        except asyncio.CancelledError:
            if self._is_over:
                raise EndedError("Proxy closed") from None
            raise

    def call_user(self, function: Callable[..., Any], arguments: Sequence[object]) -> Any:
        """Call a user's function, and return or raise its result.

        An async function runs in the loop. It reaches its first await before the caller's thread does
        anything else, and the caller waits until it has ended.
        """
        result = function(*arguments)
        if not inspect.isawaitable(result):
            return result
        value, error = self.wait(_outcome(result), has_turn=True)
        if error is not None:
            raise error
        return value

    def _start(self, coroutine: Coroutine[Any, Any, T], when_done: Callable[[], object]) -> Running[T]:
        why = ""
        if os.getpid() != self._process:
            why = "this is a forked process: the proxy's threads are not in it"
        elif self.is_loop:
            why = "the proxy's thread, in which async functions run, cannot wait: use a plain function"
        else:
            with self._lock:
                if not self._is_over:
                    return Running(self.loop, coroutine, when_done)
        coroutine.close()
        raise Error(why) if why else EndedError("Proxy closed")

    def _switch_until_done(
        self, coroutine: Coroutine[Any, Any, T], questions: Questions | None, *, has_turn: bool
    ) -> Running[T]:
        handler = getcurrent()
        running = self._start(coroutine, lambda: self._jobs.put(handler.switch))
        if has_turn:
            running.began.wait(LAST_SECONDS)
        if questions is not None:
            questions.enter(self._jobs)
        self._waiting += 1
        self._hub.switch()
        self._waiting -= 1
        return running

    def _answer_until_done(self, coroutine: Coroutine[Any, Any, T], questions: Questions) -> Running[T]:
        mailbox = Mailbox()
        running = self._start(coroutine, lambda: mailbox.put(_nothing))
        questions.enter(mailbox)
        try:
            while not running.is_done:
                mailbox.do_next()
        except BaseException:
            running.cancel()
            mailbox.wait_for(lambda: running.is_done, LAST_SECONDS)  # it may have to clean up
            raise
        finally:
            questions.leave(mailbox)
        return running

    @property
    def is_loop(self) -> bool:
        """Whether this is the loop's thread, as in an async function of a user's."""
        return threading.current_thread() is self._runner

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
        return self.ask_there(self._jobs.put, function, *arguments)

    def ask_there(
        self, put: Callable[[Job], object], function: Callable[..., object], *arguments: object
    ) -> "asyncio.Future[Any]":
        """The same in the thread that does what is put there."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        put(partial(self.run_handler, self._answer, answer, function, arguments))
        return answer

    def is_behind(self) -> bool:
        """Whether the dispatcher has been left so much to do that no more should be added."""
        return _is_too_much(self._jobs.weight)

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
            del function, arguments  # a greenlet that waits for its next handler keeps no socket alive
            self._idle.append(getcurrent())
            function, arguments = self._hub.switch()

    def _answer(
        self, answer: "asyncio.Future[Any]", function: Callable[..., object], arguments: tuple[object, ...]
    ) -> None:
        if answer.done():
            return  # the wait is over
        try:
            result = self.call_user(function, arguments)
        except StopIteration as error:
            stopped = RuntimeError("the function raised StopIteration")
            stopped.__cause__ = error
            self.post(_set_exception, answer, stopped)
        except Exception as error:
            self.post(_set_exception, answer, error)
        except BaseException as error:
            ended = RuntimeError(f"{type(error).__name__}: {error}")
            ended.__cause__ = error
            self.post(_set_exception, answer, ended)
            if not self.is_dispatcher:
                raise
        else:
            self.post(_set_result, answer, result)

    # The threads

    def _run_loop(self) -> None:
        if self._is_over:
            return  # it was stopped before it began
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def _dispatch(self) -> None:
        self._hub = getcurrent()
        while not (self._is_forced or (self._is_last and not self._waiting)):
            try:
                self._jobs.do_next()
            except BaseException:  # sys.exit() ends no thread that others need
                user_errors.report("the dispatcher", "a listener", sys.exception())
        self._idle.clear()


class CallersPredicate(LatePredicate):
    """A predicate that is asked in the thread that waits, as soon as that has time."""

    def __init__(self, bridge: Bridge, questions: Questions, predicate: Callable[[Any], object]) -> None:
        self._bridge = bridge
        self._questions = questions
        self._predicate = predicate
        self._noted = self._judged = 0  # each is written by one thread alone
        self._share = budget.share(MemoryUse.QUEUED)
        self._is_overdue = False
        """Whether an async predicate was cancelled, as the wait timed out."""

    def takes(self, value: object) -> bool:
        if _is_too_much(self._noted - self._judged):
            return False
        self._noted += VALUE_BYTES + _size((value,))
        self._share.follow(self._noted - self._judged)
        return True

    def first(self, values: Sequence[object]) -> Awaitable[int | None]:
        return self._bridge.ask_there(self._questions.put, self._first, values)

    def _first(self, values: Sequence[object]) -> int | None:
        for index, value in enumerate(values):
            if self._is_overdue:
                break
            if self._bridge.call_user(self._judge, (value,)):
                return index
            self._judged += VALUE_BYTES + _size((value,))
            self._share.follow(self._noted - self._judged)
        return None

    def _judge(self, value: object) -> Any:
        verdict = self._predicate(value)
        return self._in_time(verdict) if inspect.isawaitable(verdict) else verdict

    async def _in_time(self, verdict: Awaitable[object]) -> object:
        seconds = None
        if self.deadline is not None:
            seconds = max(self.deadline - self._bridge.loop.time(), OVERDUE_SECONDS)
        try:
            async with asyncio.timeout(seconds) as limit:
                return await verdict
        except TimeoutError:
            if not limit.expired():
                raise  # the predicate's own
            self._is_overdue = True
            return False


def _is_too_much(waiting: int) -> bool:
    """Whether so many bytes wait for a thread that no more may be added."""
    return waiting > MOST_BYTES or not budget.admits(0, waiting)


def _size(arguments: Sequence[object]) -> int:
    return sum(len(each) for each in arguments if isinstance(each, (str, bytes)))


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _nothing() -> None:
    """Wakes who waits."""


async def _outcome(awaitable: Awaitable[T]) -> tuple[T | None, BaseException | None]:
    """The value, or the exception: one that ends the program must not end the loop."""
    try:
        return await awaitable, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error


def _set_result(answer: "asyncio.Future[Any]", value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _set_exception(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
