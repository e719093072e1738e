"""Objects that are used in a way in which they cannot be."""

import gc
import warnings
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest

from support.model_sockets import in_virtual_time, left_behind, open_socket
from wirewright.model.awaitables import Completion


@in_virtual_time
async def test_block_that_is_thrown_away_ends_its_wait_and_warns() -> None:
    feed = open_socket()
    with pytest.warns(
        RuntimeWarning, match=r'^nothing waits: write "async with ws\.expect_event\('
    ) as caught:
        feed.socket.expect_event("framereceived")
    assert caught[0].filename == __file__
    assert not left_behind(feed.socket)


@in_virtual_time
async def test_misuse_that_is_told_by_an_error_ends_the_wait_and_does_not_warn() -> None:
    feed = open_socket()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manager: Any = feed.socket.expect_event("framereceived")
        assert not hasattr(manager, "value")
        assert not left_behind(feed.socket)
        del manager
        manager = feed.socket.expect_event("framereceived")
        with pytest.raises(TypeError, match=r'^write "async with'), ExitStack() as stack:
            stack.enter_context(manager)
        assert not left_behind(feed.socket)
        del manager
        gc.collect()


@in_virtual_time
async def test_block_that_was_entered_does_not_warn() -> None:
    feed = open_socket()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with AsyncExitStack() as stack:
            info = await stack.enter_async_context(feed.socket.expect_event("framereceived"))
            feed.frames("framereceived", ["a"])
        assert await info.value == "a"
        gc.collect()


@in_virtual_time
async def test_names_for_python_alone_are_not_there() -> None:
    feed = open_socket()
    async with feed.socket.expect_event("framereceived") as info:
        feed.frames("framereceived", ["a"])
    wait = feed.socket.wait_for_event("framereceived")
    objects: list[tuple[Any, str]] = [(info, "EventInfo"), (info.value, "Completion"), (wait, "coroutine")]
    for each, name in objects:
        with pytest.raises(AttributeError, match=f"^'{name}' object has no attribute '_ipython_display_'$"):
            each._ipython_display_()
    wait.close()


@in_virtual_time
async def test_coroutine_that_is_thrown_away_ends_its_wait() -> None:
    ws: Any = open_socket().socket
    with pytest.warns(RuntimeWarning, match=r"^coroutine 'WebSocket.wait_for_event' was never awaited$"):
        ws.wait_for_event("framereceived")
    assert not left_behind(ws)


def test_completion_names_what_has_to_be_awaited() -> None:
    completion: Any = Completion()
    assert repr(completion) == "<Completion of the call: await it>"
    with pytest.raises(TypeError, match=r"^the call was not awaited: write \(await the call\)\[\.\.\.\]$"):
        completion[0]
    with pytest.raises(TypeError, match="was not awaited"):
        list(completion)
