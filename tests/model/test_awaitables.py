"""The awaitable of a method whose work has begun already."""

import asyncio
import gc
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wirewright.model.awaitables import Completion


async def as_it_is(completion: Completion[Any]) -> Any:
    return await completion


async def as_task(completion: Completion[Any]) -> Any:
    return await asyncio.create_task(completion)  # noqa: TID251  what a user does


async def ensured(completion: Completion[Any]) -> Any:
    return await asyncio.ensure_future(completion)


async def gathered(completion: Completion[Any]) -> Any:
    (result,) = await asyncio.gather(completion)
    return result


async def with_a_limit(completion: Completion[Any]) -> Any:
    return await asyncio.wait_for(completion, 10)


async def shielded(completion: Completion[Any]) -> Any:
    return await asyncio.shield(completion)


async def in_a_group(completion: Completion[Any]) -> Any:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(completion)
    return task.result()


every_way = pytest.mark.parametrize(
    "wait", [as_it_is, as_task, ensured, gathered, with_a_limit, shielded, in_a_group]
)
Wait = Callable[[Completion[Any]], Awaitable[Any]]


@every_way
async def test_completion_is_accepted_wherever_a_coroutine_is(wait: Wait) -> None:
    over: Completion[None] = Completion()
    assert await wait(over) is None
    assert await wait(over) is None

    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, 1)
    pending = Completion(future)
    assert await wait(pending) == 1
    assert await wait(pending) == 1
    assert inspect.isawaitable(over)
    assert asyncio.iscoroutine(over)


@pytest.mark.parametrize("wait", [as_it_is, as_task, ensured, gathered, with_a_limit, shielded])
async def test_completion_raises_what_the_work_failed_with(wait: Wait) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_exception, ValueError("no"))
    with pytest.raises(ValueError, match=r"^no$"):
        await wait(Completion(future))


async def test_task_that_waits_for_one_can_be_cancelled() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(Completion(future))  # noqa: TID251  what a user does
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert future.cancelled()


def test_coroutine_may_be_run_as_the_only_one_of_a_loop() -> None:
    over: Completion[None] = Completion()
    asyncio.run(over)


def test_completion_that_is_dropped_warns_of_nothing() -> None:
    gc.collect()  # of earlier tests
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Completion()
        Completion().close()
        gc.collect()


def test_completion_takes_an_exception_before_its_first_step() -> None:
    with pytest.raises(ValueError, match=r"^thrown$"):
        Completion().throw(ValueError("thrown"))
