"""A coroutine that the loop's thread runs for a thread that waits."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class LoopTask(Generic[T]):
    """A coroutine that runs in the loop; its only item is the task, when it is done and has cleaned up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self.items: SimpleQueue[asyncio.Task[T]] = SimpleQueue()
        self.is_over = threading.Event()
        """Set once there is an item. An interrupt may come after the thread has taken that, and before it has
        looked at it."""
        self.has_begun: SimpleQueue[None] = SimpleQueue()
        """Has an item when the coroutine has reached its first await."""
        self._loop, self._coroutine = loop, coroutine
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._end)
        self._loop.call_soon(self.has_begun.put, None)

    def is_done(self) -> bool:
        """True if the coroutine has ended. In the loop's thread."""
        return self._task is not None and self._task.done()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:  # the interrupt came first
            self._coroutine.close()
            self.is_over.set()

    def when_filled(self, call: Callable[[], object]) -> None:
        assert self._task is not None
        self._task.add_done_callback(lambda _: call())

    def _end(self, task: "asyncio.Task[T]") -> None:
        if not task.cancelled():
            task.exception()  # seen: a thread that was interrupted does not look
        self.items.put(task)
        self.is_over.set()


async def outcome(awaitable: Awaitable[T]) -> tuple[T | None, BaseException | None]:
    """The value, or the exception: one that ends the program must not end the loop."""
    try:
        return await awaitable, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        return None, error
