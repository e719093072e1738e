"""The results of methods: of work that has begun already, and of calls that must be awaited."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

from wirewright.model.misuse import UnusedCall, no_attribute, shown_as

__tracebackhide__ = True  # pytest shows the line that calls

T = TypeVar("T")


class Completion(Coroutine[Any, Any, T]):
    """The end of something that is under way, or over. It may be awaited, or given to `asyncio.create_task`,
    `gather` and `wait_for`, or dropped: the work goes on without it, and nothing is logged.

    Unlike the coroutine of an `async def` function it may be awaited more than once.
    """

    def __init__(
        self, awaitable: Awaitable[T | None] | None = None, value: T | None = None, *, name: str = "the call"
    ) -> None:
        """Without an awaitable the work is over. The result is `value`, or else that of the awaitable. `name`
        is the expression that has to be awaited, for errors."""
        self._awaitable = awaitable
        self._name = name
        self.value = value
        """The result, if it is known before the end of the work."""
        self._steps: Generator[Any, Any, T] | None = None

    def __await__(self) -> Generator[Any, Any, T]:
        result = None if self._awaitable is None else (yield from self._awaitable.__await__())
        return cast("T", result if self.value is None else self.value)

    def send(self, value: Any) -> Any:
        return self._step("send", value)

    def throw(self, *exception: Any) -> Any:
        return self._step("throw", *exception)

    def _step(self, way: str, *values: Any) -> Any:
        if self._steps is None:
            self._steps = self.__await__()
        try:
            return getattr(self._steps, way)(*values)
        except BaseException:
            self._steps = None
            raise

    def close(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def __repr__(self) -> str:
        return f"<Completion of {self._name}: await it>"

    if not TYPE_CHECKING:  # so that a type checker reports the mistake, too

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, f"{self._name} was not awaited: write (await {self._name}).{name}")

        def __getitem__(self, key: object) -> Any:
            raise TypeError(f"{self._name} was not awaited: write (await {self._name})[...]")

        def __contains__(self, item: object) -> bool:
            raise TypeError(f"{self._name} was not awaited: write ... in await {self._name}")


@shown_as("coroutine")
class MustBeAwaited(Coroutine[Any, Any, T]):
    """The coroutine of a method that has no effect unless it is awaited. It is reported if it is not."""

    def __init__(
        self,
        begin: Callable[[], Coroutine[Any, Any, T]],
        call: str,
        give_up: Callable[[], object] = lambda: None,
    ) -> None:
        """`begin` is called once it is awaited, as Python warns of each coroutine that is not. `call` is the
        expression that has to be awaited, such as `ws.next_frame(...)`. `give_up` is called if it is not."""
        self._begin, self._call = begin, call
        self._running: Coroutine[Any, Any, T] | None = None
        sentence = f"{call} was not awaited, so it had no effect: write await {call}"
        self._unused = UnusedCall(sentence, give_up)

    def __await__(self) -> Generator[Any, Any, T]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        return self._begun().send(value)

    def throw(self, *exception: Any) -> Any:
        return self._begun().throw(*exception)

    def close(self) -> None:
        self._unused.use()
        if self._running is not None:
            self._running.close()

    def _begun(self) -> Coroutine[Any, Any, T]:
        if self._running is None:
            self._unused.use()
            self._running = self._begin()
        return self._running

    def __repr__(self) -> str:
        return f"<coroutine of {self._call}: await it>"

    if not TYPE_CHECKING:  # so that a type checker reports the mistake, too

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, f"{self._call} was not awaited: write (await {self._call}).{name}")


def is_awaitable(value: object) -> TypeGuard[Awaitable[Any]]:
    """`inspect.isawaitable`, and quick for what most predicates return."""
    return value is not False and value is not None and value is not True and inspect.isawaitable(value)


def is_being_cancelled() -> bool:
    """True if a CancelledError is meant for the task that runs, and not for something that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
