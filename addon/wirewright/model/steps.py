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
    method: Callable[Concatenate[OwnerT, P], Steps[T]],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
    """A decorator: the method runs the steps that the function returns, and is awaited."""

    @wraps(method)
    async def run(owner: OwnerT, /, *arguments: P.args, **options: P.kwargs) -> T:
        return await run_steps(method(owner, *arguments, **options))

    show_result(run, method, get_args(method.__annotations__["return"])[-1])
    return run


def steps_of(
    method: Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[OwnerT, P], Steps[T]]:
    """The function that returns the steps of a `stepped` method."""
    return cast("Any", method).__wrapped__  # type: ignore[no-any-return]
