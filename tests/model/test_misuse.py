"""Objects that are used in a way in which they cannot be."""

import asyncio
import gc
import re
import warnings
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.mistakes import as_in_a_program
from support.model_sockets import in_virtual_time, left_behind, open_socket
from wirewright import expect
from wirewright.model import misuse
from wirewright.model.awaitables import Completion


@in_virtual_time
async def test_block_that_is_thrown_away_ends_its_wait_and_warns() -> None:
    feed = open_socket()
    sentence = r'^nothing waits: write "async with ws\.expect_event\('
    with as_in_a_program(), pytest.warns(RuntimeWarning, match=sentence) as caught:
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
    with (
        as_in_a_program(),
        pytest.warns(RuntimeWarning, match=r"^ws\.wait_for_event\(\.\.\.\) was not awaited"),
    ):
        ws.wait_for_event("framereceived")
    assert not left_behind(ws)


class Calls:
    """Notes the calls without effect."""

    def __init__(self, *, hears: bool = True) -> None:
        self.noted: list[tuple[str, str]] = []
        self._hears = hears

    def unused(self, sentence: str, place: str) -> bool:
        self.noted.append((sentence, place))
        return self._hears


CALL = "expect(ws).to_be_closed(...)"
NOT_AWAITED = f"{CALL} was not awaited, so it had no effect: write await {CALL}"


def line_of(function: Callable[..., object]) -> int:
    """The line of a function of one line."""
    return function.__code__.co_firstlineno + 1


def forget(ws: Any) -> Any:
    return expect(ws).to_be_closed()


@in_virtual_time
async def test_call_that_is_not_awaited_is_reported_to_the_observer_of_its_time() -> None:
    ws = open_socket().socket
    with as_in_a_program(), warnings.catch_warnings():
        warnings.simplefilter("error")
        outer, inner = Calls(), Calls()
        misuse.call_observers += [outer, inner]
        forgotten = forget(ws)
        misuse.call_observers.remove(inner)
        del forgotten
        gc.collect()
    place = f"{Path(__file__).relative_to(Path.cwd())}:{line_of(forget)}"
    assert inner.noted == [(NOT_AWAITED, place)]
    assert outer.noted == []


@in_virtual_time
async def test_call_that_no_observer_hears_of_is_warned_of_with_its_line() -> None:
    ws = open_socket().socket
    with as_in_a_program():
        misuse.call_observers.append(Calls(hears=False))
        with pytest.warns(RuntimeWarning, match=f"^{re.escape(NOT_AWAITED)}$") as warned:
            forget(ws)
    assert [(each.filename, each.lineno) for each in warned] == [(__file__, line_of(forget))]


@in_virtual_time
async def test_call_that_is_awaited_in_any_way_or_closed_is_not_reported() -> None:
    feed = open_socket()
    ws = feed.socket
    with as_in_a_program(), warnings.catch_warnings():
        warnings.simplefilter("error")
        calls = Calls()
        misuse.call_observers.append(calls)
        await expect(ws).to_be_open()
        await asyncio.ensure_future(expect(ws).to_be_open())
        await asyncio.wait_for(expect(ws).to_be_open(), 10)
        await asyncio.gather(expect(ws).to_be_open(), ws.wait_for_open())
        expect(ws).to_be_open().close()
        ws.wait_for_event("close").close()
        task = asyncio.ensure_future(ws.next_frame())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
    assert calls.noted == []
    assert not left_behind(ws)


@in_virtual_time
async def test_awaited_call_has_the_result_and_the_errors_of_its_method() -> None:
    feed = open_socket()
    feed.frames("framereceived", ["a"])
    assert (await feed.socket.next_frame("a")).payload == "a"
    with pytest.raises(AssertionError, match=r"^expected the socket to be closed\n"):
        await expect(feed.socket).to_be_closed(timeout=1)
    unknown: Any = expect(feed.socket)
    with pytest.raises(TypeError, match="unexpected keyword argument 'within'"):
        await unknown.to_be_closed(within=1)


def test_completion_names_what_has_to_be_awaited() -> None:
    completion: Any = Completion()
    assert repr(completion) == "<Completion of the call: await it>"
    with pytest.raises(TypeError, match=r"^the call was not awaited: write \(await the call\)\[\.\.\.\]$"):
        completion[0]
    with pytest.raises(TypeError, match="was not awaited"):
        list(completion)
