"""Calls that wait, written once for both APIs.

Such a call is a generator (`Steps`). It yields functions that return awaitables; `run_steps` awaits them in
the event loop and sends back their results. The user's functions are called in the generator itself: in the
event loop in the async API, in the waiting thread in the sync one.
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
