"""Calls into the thread of an event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of the caller; None in a thread without one."""
    return asyncio._get_running_loop()


def call_in_loop(
    loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object
) -> None:
    """Call a function in the thread of a loop: at once if the loop runs here. A closed loop ignores it."""
    if running_loop() is loop:
        function(*arguments)
    else:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(function, *arguments)
