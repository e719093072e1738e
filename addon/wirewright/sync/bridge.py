"""An event loop in a thread of its own, for callers that have none.

Three kinds of threads meet here. The loop's thread runs the proxy, and a user's async functions. The
dispatcher's thread runs listeners and routes' handlers, in the order of the events: each in a greenlet, as in
Playwright's sync API, so that the next handler runs while one waits. All other threads are callers: a wait's
predicate is called in the thread that waits.
"""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from wirewright.model.awaitables import is_awaitable
from wirewright.model.errors import EndedError, Error
from wirewright.model.steps import Steps
from wirewright.printable import get_logger
from wirewright.sync.dispatcher import Calls, Dispatcher
from wirewright.sync.loop_task import LoopTask, outcome

__tracebackhide__ = True  # pytest shows the line that calls

logger = get_logger(__name__)

T = TypeVar("T")
ItemT = TypeVar("ItemT")
LAST_SECONDS = 5.0
"""How long listeners may take for what is left when the proxy ends."""
CLEAN_UP_SECONDS = 60.0
"""How long cancelled tasks may take for their cleaning up, before they are cancelled once more."""


class Inbox(Protocol[ItemT]):
    """A queue that the loop fills, and one thread empties."""

    items: SimpleQueue[ItemT]

    def when_filled(self, call: Callable[[], object]) -> None:
        """Call a function once there is an item. In the loop's thread."""


class Bridge:
    """The loop, the dispatcher, and the ways from one thread into another.

    Threads wait for each other by SimpleQueue alone. It needs no lock of Python's, so a signal's handler may
    use all of this while the function that it interrupts does the same.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.is_ended = False
        """True if the proxy is gone. It is set and read in the loop's thread."""
        self._process = os.getpid()
        self.dispatcher = Dispatcher(self._end_of)
        self._ending: asyncio.Task[None] | None = None
        """The last task of the loop."""
        self._is_over = False
        self._lock = threading.RLock()  # a signal's handler may come here in the middle
        """Guards `_is_over`: no call may begin after `stop`."""
        self._runner = threading.Thread(target=self._run_loop, name="wirewright-proxy", daemon=True)

    def start(self) -> None:
        """Start both threads. `stop` ends them, even if this is interrupted."""
        self._runner.start()
        self.dispatcher.thread.start()

    def stop(self) -> None:
        """End both threads, once the dispatcher has done what it was given until now, or had time for it.

        If this is interrupted, the threads end by themselves.
        """
        if os.getpid() != self._process:
            return  # a forked child has none of them
        with self._lock:
            self._is_over = True
        dispatcher = self.dispatcher
        try:
            dispatcher.end_soon()
            if not dispatcher.is_current and dispatcher.thread.ident is not None:
                dispatcher.thread.join(LAST_SECONDS)
                if dispatcher.thread.is_alive():
                    logger.warning("a listener or a handler still runs: later events are not dispatched")
        finally:
            if not dispatcher.is_current:
                dispatcher.end_now()
            self.post(self._shut_down)
        if self._runner.ident is not None:
            self._runner.join()
        else:
            self.loop.close()

    def abandon(self, last: Callable[[], Awaitable[object]]) -> None:
        """End both threads after awaiting `last` in the loop, for a `stop` that was interrupted.

        From any thread. It does not wait for the end.
        """
        if os.getpid() == self._process:
            with self._lock:
                self._is_over = True
            self.dispatcher.end_now()
            self.post(self._shut_down, last)

    def _shut_down(self, last: Callable[[], Awaitable[object]] | None = None) -> None:
        if self._ending is None:
            self._ending = self.loop.create_task(self._end_loop(last))

    async def _end_loop(self, last: Callable[[], Awaitable[object]] | None) -> None:
        try:
            if last is not None:
                await last()
        finally:
            await self._cancel_all()

    async def _cancel_all(self) -> None:
        """Cancel what is still under way, and let it clean up."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            if not task.cancelling():  # else it cleans up already
                task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=CLEAN_UP_SECONDS)
            for task in stubborn:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()  # a block that was entered in the moment of a Ctrl-C
        await asyncio.sleep(0)  # wakes the threads that wait for these tasks
        self.loop.stop()

    def settle(self, seconds: float = LAST_SECONDS) -> None:
        """Return when the dispatcher has done what it was given until now, or the time is up.

        A handler that begins to wait for what is there already has gone on, too.
        """
        until = time.monotonic() + seconds
        for _ in range(2):  # the loop wakes such a handler, and what handlers have answered goes on there
            done = threading.Event()
            self.dispatcher.in_turn(done.set)
            done.wait(max(0.0, until - time.monotonic()))
            self.wait(_turns())

    # For callers

    def call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Call a function in the loop's thread, and return or raise its result. It must not wait."""
        if self.is_loop:
            return function(*arguments, **options)
        replies: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

        def reply() -> None:
            try:
                replies.put((function(*arguments, **options), None))
            except BaseException as error:
                replies.put((None, error))

        self._begin(reply)
        result, error = replies.get()
        if isinstance(error, Error):
            raise error.with_traceback(None) from None  # of the loop's frames, which tell a user nothing
        if error is not None:
            raise error
        value: T = result
        return value

    def post(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have a function called in the loop's thread, without waiting for it."""
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(function, *arguments)

    def wait(self, coroutine: Coroutine[Any, Any, T], *, has_turn: bool = False) -> T:
        """Run a coroutine in the loop, and return or raise its result.

        With `has_turn`, the dispatcher does nothing before the coroutine has reached its first await. An
        interrupt of the caller, such as Ctrl-C, cancels the coroutine. If the caller is a handler, other
        handlers run meanwhile. Raises Error where the caller must not wait.
        """
        return self.finish(self.begin(coroutine, has_turn=has_turn and self.dispatcher.is_current))

    def begin(self, coroutine: Coroutine[Any, Any, T], *, has_turn: bool) -> LoopTask[T]:
        """Begin a coroutine in the loop; with `has_turn`, return when it has reached its first await.

        `finish` must follow. Raises Error where the caller must not wait.
        """
        running = LoopTask(self.loop, coroutine)
        try:
            self._begin(running.begin)
            if has_turn:
                with suppress(Empty):
                    running.has_begun.get(timeout=LAST_SECONDS)
        except Error:
            coroutine.close()
            raise
        except BaseException:
            self._give_up(running)
            raise
        return running

    def finish(self, running: LoopTask[T]) -> T:
        """Wait for a coroutine that has begun, and return or raise its result. See `wait`."""
        try:
            task = self.receive(running)
        except BaseException:
            self._give_up(running)
            raise
        try:
            return task.result()
        except Error as error:
            raise error.with_traceback(None) from None
        except asyncio.CancelledError:
            if self._is_over:
                raise EndedError("Proxy closed") from None
            raise

    def _give_up(self, running: LoopTask[Any]) -> None:
        self.post(running.cancel)
        running.is_over.wait(LAST_SECONDS)  # it may have to clean up

    def run_steps(self, steps: Steps[T], on_result: Callable[[object], object]) -> T:
        """Run steps in this thread. The functions that they yield are awaited in the loop, which also calls
        `on_result` with each result.

        Raises Error where the caller must not wait.
        """
        try:
            step = next(steps)
            while True:
                try:
                    result = self.wait(_awaited(step, on_result))
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            steps.close()

    def receive(self, inbox: Inbox[ItemT]) -> ItemT:
        """Wait for an item of an inbox. If the caller is a handler, other handlers run meanwhile."""
        if not self.dispatcher.is_current:
            return inbox.items.get()
        self.dispatcher.pause(lambda resume: self._begin(partial(inbox.when_filled, resume)))
        return inbox.items.get_nowait()

    def call_user(self, function: Callable[..., Any], arguments: Sequence[object]) -> Any:
        """Call a user's function, and return or raise its result.

        An async function runs in the loop. It reaches its first await before the dispatcher does anything
        else, and the caller waits until it has ended.
        """
        result = function(*arguments)
        return self._end_of(result) if is_awaitable(result) else result

    def _end_of(self, awaitable: Awaitable[object]) -> object:
        value, error = self.wait(outcome(awaitable), has_turn=True)
        if error is not None:
            raise error
        return value

    def check_may_wait(self) -> None:
        """Raise Error where the caller must not wait."""
        if os.getpid() != self._process:
            raise Error("this is a forked process: the proxy's threads are not in it")
        if self.is_loop:
            raise Error("the proxy's thread, in which async functions run, cannot wait: use a plain function")

    def _begin(self, function: Callable[[], object]) -> None:
        """Have the loop call a function. Raises Error where the caller must not wait for it."""
        self.check_may_wait()
        with self._lock:
            if self._is_over:
                raise EndedError("Proxy closed")
            self.loop.call_soon_threadsafe(function)

    @property
    def is_loop(self) -> bool:
        """True in the loop's thread, as in a user's async function."""
        return threading.current_thread() is self._runner

    # For the loop's thread

    def ask(self, function: Callable[..., object], *arguments: object) -> "asyncio.Future[Any]":
        """Call a user's function in the dispatcher's thread. The future has its result or exception."""
        answer: asyncio.Future[Any] = self.loop.create_future()
        calls: Calls = iter([(self._answer, (answer, function, arguments), _ignore)])
        self.dispatcher.in_turn(lambda: calls)
        return answer

    def _run_loop(self) -> None:
        if self._is_over:
            return  # it was stopped before it began
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def _answer(self, asked: "tuple[asyncio.Future[Any], Callable[..., object], tuple[object, ...]]") -> None:
        answer, function, arguments = asked
        if answer.done():
            return  # nobody waits for the answer any more
        try:
            self.post(_settle, answer, self.call_user(function, arguments), None)
        except BaseException as error:
            self.post(_settle, answer, None, as_exception(error))


def as_exception(error: BaseException) -> Exception:
    """An exception that may end a future: not StopIteration, and none that ends the program."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    replacement = RuntimeError(f"the function raised {type(error).__name__}: {error}")
    replacement.__cause__ = error
    return replacement


async def _awaited(step: Callable[[], Awaitable[T]], on_result: Callable[[object], object]) -> T:
    result = await step()
    on_result(result)
    return result


def _ignore(_: BaseException) -> None:
    """The answer has the exception."""


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _settle(answer: "asyncio.Future[Any]", value: object, error: Exception | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)
