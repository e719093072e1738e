"""One implementation for both APIs, of calls that wait and call the user's functions in between.

It is a generator. The user's functions are called where the generator runs: in the event loop in the async
API, in the waiting thread in the sync one. It yields functions that return awaitables. These are awaited in
the event loop, and the generator is sent their results.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

__tracebackhide__ = True  # pytest shows the line that calls

T = TypeVar("T")

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
