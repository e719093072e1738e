"""Refuses the waits of the sync API in code that an event loop runs: they would block the loop."""

import asyncio
import sys
from types import CodeType, FrameType

from wirewright.model.errors import Error
from wirewright.sync.bridge import Bridge

__tracebackhide__ = True  # pytest shows the line that calls

REFUSAL = (
    "the sync API cannot wait inside a running event loop: use wirewright.async_api (in a pytest test the "
    "fixture async_ws_proxy), or call it with asyncio.to_thread"
)
_RUNNER: CodeType = asyncio.BaseEventLoop.run_forever.__code__


def check_may_wait(bridge: Bridge) -> None:
    """Raise Error where the caller must not wait."""
    bridge.check_may_wait()
    refuse_in_running_loop()


def refuse_in_running_loop() -> None:
    """Raise Error if an event loop runs the calling code.

    Playwright's sync API has a loop of its own in the caller's thread, which counts as running. But it runs
    in another greenlet, and not below the calling code: such a caller may wait.
    """
    loop = asyncio._get_running_loop()
    if loop is None:
        return
    task = asyncio.current_task(loop)
    coroutine = None if task is None else getattr(task.get_coro(), "cr_frame", None)
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame is coroutine or frame.f_code is _RUNNER:
            raise Error(REFUSAL)
        frame = frame.f_back
