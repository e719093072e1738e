"""What holds for every wait; a socket stands for all that one can wait on."""

import asyncio
import contextlib
import gc
import math
import weakref
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import pytest

from support.model_sockets import in_virtual_time, left_behind, open_socket, receive
from wirewright.model.errors import Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_wait import Predicate, Timeout
from wirewright.model.feed import Feed
from wirewright.model.websocket import WebSocket

EVENT: Final = "framereceived"


@in_virtual_time
async def test_wait_is_registered_at_the_call() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT)
    receive(feed, "before it is awaited")
    assert await wait == "before it is awaited"


@in_virtual_time
async def test_expectation_is_registered_before_its_body() -> None:
    feed = open_socket()
    manager = feed.socket.expect_event(EVENT)
    receive(feed, "before the body")
    async with manager as info:
        assert info.is_done()
    assert await info.value == "before the body"


@in_virtual_time
async def test_expectation_awaits_the_event_when_its_body_is_over() -> None:
    feed = open_socket()
    asyncio.get_running_loop().call_later(5, receive, feed, "late")
    async with feed.socket.expect_event(EVENT) as info:
        assert not info.is_done()
    assert info.is_done()
    assert await info.value == "late"
    assert await info.value == "late"
    assert not left_behind(feed.socket)


@in_virtual_time
async def test_value_may_be_awaited_inside_of_the_body() -> None:
    feed = open_socket()
    async with feed.socket.expect_event(EVENT, lambda payload: payload != "no") as info:
        receive(feed, "no", "yes", "later")
        assert await info.value == "yes"


@in_virtual_time
async def test_wait_ends_with_the_first_value() -> None:
    feed = open_socket()
    seen: list[object] = []

    def predicate(payload: str | bytes) -> bool:
        seen.append(payload)
        return payload == "b"

    wait = feed.socket.wait_for_event(EVENT, predicate)
    receive(feed, "a", "b", "c")
    assert await wait == "b"
    assert seen == ["a", "b"]


@in_virtual_time
async def test_empty_payload_is_a_value() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT)
    receive(feed, "")
    assert await wait == ""


async def ask_later(payload: str) -> list[str]:
    await asyncio.sleep(1)
    return [payload] if payload == "b" else []


@pytest.mark.parametrize("predicate", [lambda payload: payload == "b" and [payload], ask_later])
@in_virtual_time
async def test_predicate_decides_by_the_truth_of_its_answer(predicate: Predicate) -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, predicate)
    receive(feed, "a", "b")
    assert await wait == "b"
    assert not left_behind(feed.socket)


async def say_yes() -> bool:
    return True


@pytest.mark.parametrize("predicate", [lambda: True, say_yes])
@in_virtual_time
async def test_predicate_without_parameters_is_called_without_the_value(predicate: Predicate) -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, predicate)
    async with feed.socket.expect_event(EVENT, predicate) as info:
        receive(feed, "a")
    assert await wait == "a"
    assert await asyncio.create_task(info.value) == "a"  # noqa: TID251  what a user does


def fail_at_once(error: Exception) -> Predicate:
    def predicate(payload: str) -> bool:
        raise error

    return predicate


def fail_later(error: Exception) -> Predicate:
    async def predicate(payload: str) -> bool:
        await asyncio.sleep(1)
        raise error

    return predicate


@pytest.mark.parametrize("failing", [fail_at_once, fail_later])
@pytest.mark.parametrize("error", [LookupError("x"), AssertionError("y"), Error("z")], ids=repr)
@in_virtual_time
async def test_predicate_s_exception_reaches_the_waiter_unchanged(
    failing: Callable[[Exception], Predicate], error: Exception
) -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, failing(error))
    receive(feed, "a", "b")
    with pytest.raises(type(error)) as caught:
        await wait
    assert caught.value is error
    assert not left_behind(feed.socket)


@pytest.mark.parametrize("failing", [fail_at_once, fail_later])
@in_virtual_time
async def test_stop_iteration_of_a_predicate_is_raised_as_python_raises_it_in_coroutines(
    failing: Callable[[Exception], Predicate],
) -> None:
    feed = open_socket()
    error = StopIteration()
    wait = feed.socket.wait_for_event(EVENT, failing(error))
    receive(feed, "a")
    with pytest.raises(RuntimeError) as caught:
        await wait
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("settled", [True, False])
@in_virtual_time
async def test_body_s_exception_wins_over_the_wait(settled: bool) -> None:
    feed = open_socket()
    error = KeyError("body")

    async def fail_inside() -> None:
        async with feed.socket.expect_event(EVENT, fail_at_once(LookupError("wait"))) as info:
            receive(feed, *["a"] * settled)
            assert info.is_done() is settled
            raise error

    with pytest.raises(KeyError) as caught:
        await fail_inside()
    assert caught.value is error
    assert not left_behind(feed.socket)


@in_virtual_time
async def test_failure_of_a_wait_that_was_given_up_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    feed = open_socket()
    with contextlib.suppress(KeyError):
        async with feed.socket.expect_event(EVENT, fail_at_once(LookupError("wait"))):
            receive(feed, "a")
            raise KeyError("body")
    gc.collect()
    assert caplog.records == []


@in_virtual_time
async def test_finished_expectation_keeps_no_predicate() -> None:
    feed = open_socket()
    predicate = fail_at_once(LookupError("x"))
    manager = feed.socket.expect_event(EVENT, predicate)
    trace = weakref.ref(predicate)
    feed.closed(1000)
    del predicate
    assert trace() is None
    with pytest.raises(Error, match=r"^Socket closed: 1000\nthe predicate "):
        async with manager:
            pass


@pytest.mark.parametrize(
    ("timeout", "shown"),
    [(200, "200"), (200.0, "200"), (0.5, "0.5"), (1, "1"), (timedelta(seconds=2, milliseconds=5), "2005")],
)
@in_virtual_time
async def test_timeout_says_what_it_waited_for(timeout: Timeout, shown: str) -> None:
    feed = open_socket()
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError) as caught:
        await feed.socket.wait_for_event(EVENT, timeout=timeout)
    assert caught.value.message == f'Timeout {shown}ms exceeded while waiting for event "framereceived"'
    assert asyncio.get_running_loop().time() - began == pytest.approx(float(shown) / 1000)
    assert not left_behind(feed.socket)


@in_virtual_time
async def test_expectation_times_out_when_its_body_is_over() -> None:
    feed = open_socket()
    expected = '^Timeout 100ms exceeded while waiting for event "close"$'
    with pytest.raises(TimeoutError, match=expected):
        async with feed.socket.expect_event("close", timeout=100):
            await asyncio.sleep(60)


@in_virtual_time
async def test_time_runs_from_the_call() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, timeout=100)
    await asyncio.sleep(0.099)
    receive(feed, "in time")
    await asyncio.sleep(1)
    assert await wait == "in time"


@in_virtual_time
async def test_timeout_of_0_never_ends_a_wait() -> None:
    feed = open_socket()
    wait = asyncio.ensure_future(feed.socket.wait_for_event(EVENT, timeout=0))
    await asyncio.sleep(365 * 24 * 3600)
    assert not wait.done()
    receive(feed, "at last")
    assert await wait == "at last"


@in_virtual_time
async def test_async_predicate_is_cancelled_when_time_is_up() -> None:
    feed = open_socket()
    ended: set[object] = set()

    async def never(payload: str | bytes) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.add(payload)

    wait = feed.socket.wait_for_event(EVENT, never, timeout=100)
    receive(feed, "a", "b")
    with pytest.raises(TimeoutError, match="100ms"):
        await wait
    await asyncio.sleep(0)
    assert ended == {"a", "b"}


Start = Callable[..., object]

ways_to_wait = pytest.mark.parametrize("start", [WebSocket.wait_for_event, WebSocket.expect_event])


@ways_to_wait
@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, math.inf, -math.inf, timedelta(seconds=-1)])
@in_virtual_time
async def test_timeout_must_be_a_finite_time(start: Start, timeout: Timeout) -> None:
    ws = open_socket().socket
    with pytest.raises(ValueError, match=r"^timeout must be 0 \(no limit\) or more milliseconds, not "):
        start(ws, EVENT, timeout=timeout)
    assert not left_behind(ws)


WRONG_TYPES: list[tuple[dict[str, object], str]] = [
    ({"timeout": "200"}, r"^timeout must be milliseconds or a timedelta, not str$"),
    ({"timeout": True}, r"^timeout must be milliseconds or a timedelta, not bool$"),
    ({"timeout": [200]}, r"^timeout must be milliseconds or a timedelta, not list$"),
    ({"predicate": "ready"}, r"^predicate must be callable, not str: ws\.next_frame\("),
    ({"predicate": 200}, r"^predicate must be callable, not int$"),
]


@ways_to_wait
@pytest.mark.parametrize(("arguments", "message"), WRONG_TYPES, ids=str)
@in_virtual_time
async def test_wrong_type_is_told_at_the_call(
    start: Start, arguments: dict[str, object], message: str
) -> None:
    ws = open_socket().socket
    with pytest.raises(TypeError, match=message):
        start(ws, EVENT, **arguments)
    assert not left_behind(ws)


@ways_to_wait
@in_virtual_time
async def test_unknown_event_is_told_at_the_call(start: Start) -> None:
    ws = open_socket().socket
    with pytest.raises(
        ValueError, match=r"^unknown event 'frame': did you mean 'framesent'\? WebSocket has \"close\", "
    ):
        start(ws, "frame")
    assert not left_behind(ws)


@ways_to_wait
def test_wait_needs_the_event_loop(start: Start) -> None:
    ws = open_socket().socket
    with pytest.raises(Error, match=r"^a wait must be started inside the event loop of the proxy$"):
        start(ws, EVENT)
    assert not left_behind(ws)


@in_virtual_time
async def test_ten_thousand_waits_are_resolved_by_one_frame() -> None:
    feed = open_socket()
    asked = [0] * 10_000

    def asking(number: int) -> Predicate:
        def predicate(payload: str) -> bool:
            asked[number] += 1
            return payload == "go"

        return predicate

    waits = [feed.socket.wait_for_event(EVENT, asking(number)) for number in range(10_000)]
    assert len(feed.socket.listeners(EVENT)) == len(feed.socket._scope._waits) == 10_000
    receive(feed, "wait", "go", "too late")
    assert not left_behind(feed.socket)
    assert await asyncio.gather(*waits) == ["go"] * 10_000
    assert asked == [2] * 10_000


async def resolve(feed: Feed, task: asyncio.Future[Any]) -> None:
    receive(feed, "a")


async def close(feed: Feed, task: asyncio.Future[Any]) -> None:
    feed.closed(1000, "", "server")


async def cancel(feed: Feed, task: asyncio.Future[Any]) -> None:
    task.cancel()


async def cancel_later(feed: Feed, task: asyncio.Future[Any]) -> None:
    await asyncio.sleep(1)
    task.cancel()


async def run_out_of_time(feed: Feed, task: asyncio.Future[Any]) -> None:
    await asyncio.sleep(0.2)


async def use_wait(ws: WebSocket, predicate: Predicate) -> None:
    await ws.wait_for_event(EVENT, predicate, timeout=200)


async def use_expectation(ws: WebSocket, predicate: Predicate) -> None:
    async with ws.expect_event(EVENT, predicate, timeout=200):
        pass


def use_wait_at_once(ws: WebSocket, predicate: Predicate) -> Awaitable[object]:
    return ws.wait_for_event(EVENT, predicate, timeout=0)


@pytest.mark.parametrize(
    ("use", "end"),
    [
        *((use, end) for use in (use_wait, use_expectation) for end in (resolve, close, run_out_of_time)),
        *((use, end) for use in (use_wait, use_expectation, use_wait_at_once) for end in (cancel_later,)),
        (use_wait_at_once, cancel),
    ],
)
@in_virtual_time
async def test_wait_leaves_nothing_behind(
    use: Callable[[WebSocket, Predicate], Awaitable[None]],
    end: Callable[[Feed, asyncio.Future[Any]], Awaitable[None]],
) -> None:
    feed = open_socket()

    def predicate(payload: str) -> bool:
        return True

    task = asyncio.ensure_future(use(feed.socket, predicate))
    if end is not cancel:
        await asyncio.sleep(0)
    (wait,) = feed.socket._scope._waits
    traces: list[weakref.ref[Any]] = [weakref.ref(predicate), weakref.ref(wait)]
    await end(feed, task)
    await asyncio.wait([task])
    assert task.cancelled() or bool(task.exception()) == (end is not resolve)
    assert not left_behind(feed.socket)

    del predicate, wait, task
    gc.collect()
    assert [trace() for trace in traces] == [None, None]
