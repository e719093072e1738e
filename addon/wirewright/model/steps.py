"""Calls that wait, written once for both APIs.

Such a call is a generator (`Steps`). It yields functions that return awaitables; `run_steps` awaits them in
the event loop and sends back their results. The user's functions are called in the generator itself: in the
event loop in the async API, in the waiting thread in the sync one. A method of the async API that is written
as `stepped` becomes one of the sync API by `sync.wrappers.stepped_method`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast, get_args

from wirewright.model.arguments import show_result
from wirewright.model.awaitables import MustBeAwaited

__tracebackhide__ = True  # pytest shows the line that calls

P = ParamSpec("P")
T = TypeVar("T")
OwnerT = TypeVar("OwnerT")

Steps = Generator[Callable[[], Awaitable[Any]], Any, T]


async def run_steps(steps: Steps[T]) -> T:
    """Run the steps in the event loop. `sync.bridge.Bridge.run_steps` runs them in a thread."""
    try:
        step = next(steps)
        while True:
            try:
                result = await step()
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        steps.close()


def stepped(
    owner: str,
) -> Callable[
    [Callable[Concatenate[OwnerT, P], Steps[T]]], Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]
]:
    """A decorator: the method runs the steps that the function returns, and has to be awaited.

    `owner` is the expression before the dot, for the report of a call that was not: `expect(ws)`.
    """

    def decorate(
        method: Callable[Concatenate[OwnerT, P], Steps[T]],
    ) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
        call = f"{owner}.{method.__name__}(...)"

        @wraps(method)
        def begin(of: OwnerT, /, *arguments: P.args, **options: P.kwargs) -> Coroutine[Any, Any, T]:
            return MustBeAwaited(lambda: run_steps(method(of, *arguments, **options)), call)

        show_result(begin, method, get_args(method.__annotations__["return"])[-1])
        return begin

    return decorate


def steps_of(
    method: Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[OwnerT, P], Steps[T]]:
    """The function that returns the steps of a `stepped` method."""
    return cast("Any", method).__wrapped__  # type: ignore[no-any-return]
