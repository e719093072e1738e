"""Which callers the sync API refuses, as they would block an event loop."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from greenlet import getcurrent, greenlet

from wirewright.model.errors import Error
from wirewright.sync.running_loop import REFUSAL, refuse_in_running_loop


def test_caller_without_a_loop_may_wait() -> None:
    refuse_in_running_loop()


def in_task() -> None:
    async def call() -> None:
        refuse_in_running_loop()

    asyncio.run(call())


def in_nested_coroutine() -> None:
    async def call() -> None:
        refuse_in_running_loop()

    async def outer() -> None:
        await call()

    asyncio.run(outer())


def in_callback() -> None:
    async def main() -> None:
        done = asyncio.get_running_loop().create_future()

        def call() -> None:
            try:
                refuse_in_running_loop()
            except Error as error:
                done.set_exception(error)

        asyncio.get_running_loop().call_soon(call)
        await done

    asyncio.run(main())


@pytest.mark.parametrize("call", [in_task, in_nested_coroutine, in_callback])
def test_code_that_a_loop_runs_is_refused(call: Callable[[], None]) -> None:
    with pytest.raises(Error) as caught:
        call()
    assert caught.value.message == REFUSAL


def test_other_threads_of_async_code_may_wait() -> None:
    async def main() -> None:
        await asyncio.to_thread(refuse_in_running_loop)

    asyncio.run(main())


def test_code_beside_a_loop_in_another_greenlet_may_wait() -> None:
    """Playwright's sync API: its loop counts as running in the thread of the test."""
    caller = getcurrent()

    async def serve() -> None:
        caller.switch()

    driver = greenlet(lambda: asyncio.run(serve()))
    driver.switch()
    try:
        with contextlib.suppress(RuntimeError):
            assert asyncio.get_running_loop().is_running()
        refuse_in_running_loop()
    finally:
        driver.switch()
    assert driver.dead
