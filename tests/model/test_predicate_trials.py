"""What the error of a wait says of its predicate."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Literal

import pytest

from support.model_sockets import in_virtual_time, open_socket, receive
from wirewright.model.errors import EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.feed import Feed
from wirewright.model.frame import Frame
from wirewright.model.predicate_trials import FrameTrials
from wirewright.model.socket_text import frame_text
from wirewright.values import Direction

EVENT: Literal["framereceived"] = "framereceived"
PREFIX = f'Timeout 100ms exceeded while waiting for event "{EVENT}"'


async def message_of(feed: Feed, predicate: Any, *payloads: str | bytes, event: Any = EVENT) -> list[str]:
    """The lines of the error of a wait that runs out of time after these frames."""
    wait = feed.socket.wait_for_event(event, predicate, timeout=100)
    receive(feed, *payloads)
    with pytest.raises(TimeoutError) as caught:
        await wait
    return caught.value.message.splitlines()


def place_of(function: Callable[..., object]) -> str:
    return f"tests/model/test_predicate_trials.py:{function.__code__.co_firstlineno}"


@in_virtual_time
async def test_last_three_different_frames_are_shown() -> None:
    def is_filled(payload: str) -> bool:
        return payload == "filled"

    payloads = [str(number // 2) for number in range(20)]
    assert await message_of(open_socket(), is_filled, *payloads) == [
        PREFIX,
        f"the predicate is_filled ({place_of(is_filled)}) was tried on 20 frames",
        "passed, the last 6 of 20:",
        "    ← '7' ×2",
        "    ← '8' ×2",
        "    ← '9' ×2",
    ]


@in_virtual_time
async def test_secrets_and_control_characters_are_not_shown_and_long_frames_are_cut() -> None:
    lines = await message_of(open_socket(), lambda _: False, '{"token": "abc"}', "\x1b[2J", "x" * 100_000)
    assert lines[3] == '    ← \'{"token": "REDACTED"}\''
    assert lines[4] == r"    ← '\x1b[2J'"
    assert lines[5].startswith("    ← 'xxx")
    assert lines[5].endswith("… (100,000 in all)")
    assert max(map(len, lines)) < 250


@in_virtual_time
async def test_large_frames_are_not_kept_whole() -> None:
    trials = FrameTrials(Direction.RECEIVED)
    for _ in range(1_000):
        trials.add(b"x" * 1_000_000, False)
    assert (trials.count, len(trials._kept)) == (1_000, 200)
    assert sum(len(payload) for payload, _ in trials._kept) < 200 * 100_000


@pytest.mark.parametrize(
    "payload",
    [
        "x" * 70_000,
        b"x" * 1_000_000,
        '{"token": "' + "s" * 1_000_000 + '"}',
        '{"value": "Bearer ' + "s" * 1_000_000 + '", "name": "Authorization"}',
    ],
    ids=["text", "bytes", "secret", "name after the secret"],
)
def test_large_frame_is_shown_as_if_it_were_kept_whole(payload: str | bytes) -> None:
    trials = FrameTrials(Direction.RECEIVED)
    trials.add(payload, False)
    (shown,) = trials.lines(bool)[2:]
    assert shown == f"    {frame_text(Frame(1, Direction.RECEIVED, payload, 0.0))}"
    assert shown.endswith(f"… ({len(payload):,} in all)")
    assert "ss" not in shown


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        ([None], " returned None for the only frame: does it return its result?"),
        ([None] * 1_200, " returned None for all 1,200 frames: does it return its result?"),
        ([None, False], " was tried on 2 frames"),
        ([0], " was tried on 1 frame"),
        ([], " was not called: no frame was received"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
@in_virtual_time
async def test_predicate_that_returns_none_is_told(
    verdicts: list[object], sentence: str, *, is_async: bool
) -> None:
    answers = iter(verdicts)

    async def later(_: object) -> object:
        return next(answers)

    predicate = later if is_async else lambda _: next(answers)
    lines = await message_of(open_socket(), predicate, *["a"] * len(verdicts))
    assert lines[1].endswith(f"({place_of(predicate)}){sentence}")


@in_virtual_time
async def test_frame_for_which_an_async_predicate_has_not_answered_counts() -> None:
    async def never(_: object) -> bool:
        await asyncio.get_running_loop().create_future()
        return True

    lines = await message_of(open_socket(), never, "a")
    assert lines[1].endswith(" was tried on 1 frame")
    assert lines[2:] == ["passed:", "    ← 'a'"]


@in_virtual_time
async def test_end_of_the_socket_says_it_too_and_the_end_of_the_proxy_does_not() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, lambda _: False)
    receive(feed, "a")
    feed.closed(1011, "restart")
    with pytest.raises(
        Error, match=r"^Socket closed: 1011 'restart'\nthe predicate .* was tried on 1 frame\n"
    ):
        await wait
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, lambda _: False)
    receive(feed, "a")
    await feed.socket._scope.end("Proxy closed")
    with pytest.raises(EndedError, match=r"^Proxy closed$"):
        await wait


@in_virtual_time
async def test_event_that_is_not_a_frame_is_counted() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event("missed", lambda _: False, timeout=100)
    feed.missed(7)
    with pytest.raises(TimeoutError, match=r"\nthe predicate .* was tried on 1 event$"):
        await wait


# The names of predicates


class Filled:
    def __call__(self, payload: str) -> bool:
        return False

    def __repr__(self) -> str:
        return "Filled()\n" + "x" * 1_000

    def judge(self, payload: str) -> bool:
        return False


@in_virtual_time
async def test_predicate_is_named_as_its_user_knows_it() -> None:
    filled = Filled()
    partial = functools.partial(Filled.judge, filled)
    for predicate in (filled.judge, partial):
        lines = await message_of(open_socket(), predicate)
        assert lines[1].startswith(f"the predicate Filled.judge ({place_of(Filled.judge)}) was not")
    lines = await message_of(open_socket(), filled)
    assert lines[1].startswith(r"the predicate Filled()\nxxx")
    assert len(lines[1]) < 300


class Broken:
    def __call__(self, payload: str) -> bool:
        return False

    def __repr__(self) -> str:
        raise ValueError("broken")


@in_virtual_time
async def test_predicate_whose_repr_raises_is_named_by_its_class() -> None:
    lines = await message_of(open_socket(), Broken())
    assert lines[1] == "the predicate Broken was not called: no frame was received"


@in_virtual_time
async def test_wait_that_is_over_keeps_no_frames() -> None:
    feed = open_socket()
    async with feed.socket.expect_event(EVENT, lambda payload: payload == "b") as info:
        receive(feed, "a", "b")
    trials = info._waiter.options.trials
    assert isinstance(trials, FrameTrials)
    assert (trials.count, len(trials._kept)) == (1, 0)


# Predicates that raise


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("history", [False, True])
@in_virtual_time
async def test_predicate_that_raises_is_told_its_frame(*, is_async: bool, history: bool) -> None:
    feed = open_socket()
    error = KeyError("type")

    def judge(payload: str | bytes) -> bool:
        if payload == "b":
            raise error
        return False

    async def judge_later(payload: str | bytes) -> bool:
        await asyncio.sleep(1)
        return judge(payload)

    predicate: Any = judge_later if is_async else judge
    feed.frames("framesent", ["x", "y"])
    if history:
        receive(feed, "a", "b", "c")
        wait = feed.socket.wait_for_event(EVENT, predicate, history=True)
    else:
        wait = feed.socket.wait_for_event(EVENT, predicate)
        feed.frames(EVENT, ["a", "b", "c"])
    with pytest.raises(KeyError) as caught:
        await wait
    assert caught.value is error
    name = predicate.__qualname__.rpartition(".")[2]
    assert error.__notes__ == [f"the predicate {name} ({place_of(predicate)}) raised on frame 4: ← 'b'"]


@in_virtual_time
async def test_exception_that_is_raised_again_has_one_note() -> None:
    feed = open_socket()
    error = KeyError("type")

    def fail(payload: str | bytes) -> bool:
        raise error

    waits = [feed.socket.wait_for_event(EVENT, fail) for _ in range(3)]
    receive(feed, "a")
    assert await asyncio.gather(*waits, return_exceptions=True) == [error] * 3
    assert len(error.__notes__) == 1


@in_virtual_time
async def test_stop_iteration_of_a_predicate_is_told_its_frame() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(EVENT, lambda _: next(iter(())))
    receive(feed, "a")
    with pytest.raises(RuntimeError) as caught:
        await wait
    assert caught.value.__notes__[0].endswith(" raised on frame 1: ← 'a'")
