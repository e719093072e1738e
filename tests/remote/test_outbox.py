"""What waits for a client that does not keep up."""

import asyncio
from typing import Any

import pytest

from wirewright.memory import MemoryBudget, MemoryUse
from wirewright.remote.outbox import BATCH, CROWDED_BYTES, FRAME_BYTES, MOST_BYTES, Outbox
from wirewright.remote.protocol import (
    Asked,
    Changed,
    Closed,
    Failed,
    Frames,
    Missed,
    Opening,
    Routed,
    Snapshot,
    Welcome,
)

MEGABYTE = "x" * 1_000_000


async def taken(outbox: Outbox) -> list[Any]:
    """All that waits."""
    messages: list[Any] = []
    while True:
        taking = asyncio.ensure_future(outbox.take())
        await asyncio.sleep(0)
        if not taking.done():
            taking.cancel()
            return messages
        messages.append(taking.result())


def numbers(messages: list[Any]) -> list[tuple[int, int]]:
    return [(each.number, len(each.payloads)) for each in messages if isinstance(each, Frames)]


async def test_frames_of_one_direction_go_together() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.frames("a", "framesent", [f"{number}", "x"], 1.0)
    outbox.frames("a", "framereceived", ["b"], 1.0)
    outbox.frames("a", "framesent", ["c"], 1.0)
    assert await taken(outbox) == [
        Frames("a", "framesent", 0, ["0", "x", "1", "x", "2", "x"], 1.0),
        Frames("a", "framereceived", 0, ["b"], 1.0),
        Frames("a", "framesent", 6, ["c"], 1.0),
    ]


async def test_a_batch_is_not_endless_and_order_is_kept() -> None:
    outbox = Outbox()
    for _ in range(BATCH + 5):
        outbox.frames("a", "framesent", ["x"], 1.0)
    outbox.put(Failed("a", "no"))
    outbox.frames("a", "framesent", ["y"], 1.0)
    messages = await taken(outbox)
    assert numbers(messages) == [(0, BATCH), (BATCH, 5), (BATCH + 5, 1)]
    assert messages[2] == Failed("a", "no")


async def test_what_is_too_much_is_left_out_and_counted() -> None:
    outbox = Outbox()
    for _ in range(80):
        outbox.frames("a", "framesent", [MEGABYTE], 1.0)
    outbox.frames("b", "framereceived", ["é", "x"], 1.0)
    fit = FRAME_BYTES // (len(MEGABYTE) + 64)
    messages = await taken(outbox)
    *batches, other = numbers(messages)
    assert [number + index for number, count in batches for index in range(count)] == list(range(fit))
    assert {count for _, count in batches} <= {1, 2}  # of a megabyte each
    assert other == (0, 2)
    assert messages[-1] == Missed("a", "framesent", 80 - fit, (80 - fit) * len(MEGABYTE))
    outbox.frames("a", "framesent", ["after"], 1.0)
    assert numbers(await taken(outbox)) == [(80, 1)]


async def test_frames_are_missed_while_all_messages_together_use_up_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.remote.outbox.budget", budget)
    others = budget.share(MemoryUse.HELD)
    outbox = Outbox()
    for used in (9_500_000, 9_500_000, 5_000_000):
        others.set(used)
        outbox.frames("a", "framesent", [MEGABYTE], 1.0)
    assert budget.used >= 5_000_000 + 2 * len(MEGABYTE)
    first, missed, last = await taken(outbox)
    assert (first.number, last.number) == (0, 2)
    assert missed == Missed("a", "framesent", 1, len(MEGABYTE))
    assert budget.used == 5_000_000


async def test_what_was_missed_is_told_before_the_end() -> None:
    outbox = Outbox()
    for _ in range(80):
        outbox.frames("a", "framesent", [MEGABYTE], 1.0)
    outbox.closed(Closed("a", 1000, "", "client"))
    messages = await taken(outbox)
    assert [type(each) for each in messages[-2:]] == [Missed, Closed]
    outbox.frames("a", "framesent", ["another socket of that key"], 1.0)
    assert numbers(await taken(outbox)) == [(0, 1)]


async def test_one_frame_may_be_as_large_as_it_is() -> None:
    outbox = Outbox()
    outbox.frames("a", "framesent", ["x" * 2 * FRAME_BYTES], 1.0)
    assert numbers(await taken(outbox)) == [(0, 1)]


def opening(size: int) -> Opening:
    """An app asks for a socket, with header fields of so many bytes."""
    return Opening(Snapshot("a", "ws://a.test/", [("X", "x" * (size - 1))]))


async def test_message_that_waits_alone_is_no_overflow_whatever_its_size() -> None:
    overflows: list[None] = []
    outbox = Outbox(lambda: overflows.append(None))
    outbox.put(Failed("a", "x" * (MOST_BYTES + 1)))
    assert overflows == []
    outbox.put(Failed("a", "x"))
    outbox.put(Failed("a", "x"))
    assert overflows == [None]
    assert len(await taken(outbox)) == 3
    outbox.put(Failed("a", "x" * (MOST_BYTES + 1)))
    assert overflows == [None]


async def test_header_fields_are_left_out_while_much_waits() -> None:
    overflows: list[None] = []
    outbox = Outbox(lambda: overflows.append(None))
    size = 256 * 1024
    for _ in range(2 * MOST_BYTES // size):
        outbox.put(opening(size))
    messages = await taken(outbox)
    assert overflows == []
    whole = [each for each in messages if each.socket.request_headers]
    assert len(whole) == CROWDED_BYTES // (size + 600)
    assert messages[: len(whole)] == whole
    assert {each.socket.left_out for each in messages[len(whole) :]} == {size}
    outbox.put(opening(size))
    assert await taken(outbox) == [opening(size)]


@pytest.mark.parametrize(
    "message",
    [
        Asked(1, 1, MEGABYTE),
        Failed("a", MEGABYTE),
        Opening(Snapshot("a", MEGABYTE, ())),
        Routed(1, Snapshot("a", "", (), [("a", MEGABYTE)])),
        Changed("a", [(MEGABYTE, "")], None, None, None, None),
        Welcome("", 1, "", 1, 1, [Snapshot("a", "", [("", MEGABYTE)])]),
    ],
    ids=lambda message: type(message).__name__,
)
async def test_urls_and_header_fields_count_until_they_are_sent(message: Any) -> None:
    outbox = Outbox()
    outbox.put(message)
    assert outbox._share.size >= len(MEGABYTE)
    assert await taken(outbox) == [message]
    assert outbox._other_weight == 0
