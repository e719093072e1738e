"""One budget for the memory that messages take, and the order in which holders free it."""

import gc
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from wirewright import Error, launch, memory
from wirewright.memory import QUEUE_LEAST, REPORT_STEP, SMALLEST_BUDGET, MemoryBudget, MemoryUse, Share

LIMIT = 100 * REPORT_STEP
PART = REPORT_STEP


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("7b", 7),
        ("2k", 2048),
        ("500m", 500 * 1024**2),
        ("1G", 1024**3),
        ("1t", 1024**4),
    ],
)
def test_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1.5g", "1 m", "1mb", "٣m", "1e3"])
def test_anything_else_is_not_a_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size such as 500m or 2g"):
        memory.parse_size(text)


class Keeper:
    """A holder that notes how much it was asked to drop, and does."""

    def __init__(self, budget: MemoryBudget, use: MemoryUse, size: int = 0) -> None:
        self.share: Share = budget.share(use, self)
        self.asked: list[int] = []
        self.share.set(size)

    def free(self, size: int) -> None:
        self.asked.append(size)
        self.share.set(max(0, self.share.size - size))


@pytest.fixture
def budget() -> MemoryBudget:
    return MemoryBudget(LIMIT)


def test_shares_add_up_and_are_given_back(budget: MemoryBudget) -> None:
    one, two = budget.share(MemoryUse.QUEUED), budget.share(MemoryUse.HELD)
    one.set(1_000)
    two.set(2_000)
    one.set(500)
    assert budget.used == 2_500
    del two
    gc.collect()
    assert budget.used == 500


def test_small_changes_are_not_reported(budget: MemoryBudget) -> None:
    share = budget.share(MemoryUse.QUEUED)
    share.follow(REPORT_STEP - 1)
    assert budget.used == 0
    share.follow(REPORT_STEP)
    share.follow(1)
    assert budget.used == REPORT_STEP
    share.follow(0)
    assert budget.used == 0


def test_oldest_history_gives_way_first(budget: MemoryBudget) -> None:
    old, middle, new = (Keeper(budget, MemoryUse.REMEMBERED, 20 * PART) for _ in range(3))
    assert [each.asked for each in (old, middle, new)] == [[], [], []]
    new.share.set(40 * PART)  # 80 % of the budget
    assert budget.used <= LIMIT * 7 // 10
    assert [bool(each.asked) for each in (old, middle, new)] == [True, False, False]
    new.share.set(new.share.size + 20 * PART)
    assert [bool(each.asked) for each in (old, middle, new)] == [True, True, False]
    assert old.share.size == 0


def test_largest_unfinished_message_gives_way_after_all_histories(budget: MemoryBudget) -> None:
    history = Keeper(budget, MemoryUse.REMEMBERED, 30 * PART)
    small, large = (
        Keeper(budget, MemoryUse.UNFINISHED, 10 * PART),
        Keeper(budget, MemoryUse.UNFINISHED, 40 * PART),
    )
    assert history.asked
    assert [each.asked for each in (small, large)] == [[], []]
    small.share.set(39 * PART)
    small.share.set(41 * PART)
    assert history.share.size <= LIMIT // 64
    assert small.asked
    assert not large.asked


def test_queues_and_held_messages_are_admitted_in_their_turn(budget: MemoryBudget) -> None:
    share = budget.share(MemoryUse.HELD)
    room = {}
    for percentage in (80, 90, 91, 100, 101):
        share.set(LIMIT * percentage // 100)
        room[percentage] = budget.has_room(MemoryUse.QUEUED), budget.has_room(MemoryUse.HELD)
    assert room == {
        80: (True, True),
        90: (True, True),
        91: (False, True),
        100: (False, True),
        101: (False, False),
    }


def test_short_queue_is_always_admitted(budget: MemoryBudget) -> None:
    share = budget.share(MemoryUse.HELD)
    share.set(LIMIT * 2)
    assert budget.admits(PART, QUEUE_LEAST)
    assert not budget.admits(PART, QUEUE_LEAST + 1)
    share.set(0)
    assert budget.admits(PART, QUEUE_LEAST + 1)


def test_holder_of_another_thread_is_not_asked(budget: MemoryBudget) -> None:
    holders: list[Keeper] = []
    thread = threading.Thread(target=lambda: holders.append(Keeper(budget, MemoryUse.REMEMBERED, 50 * PART)))
    thread.start()
    thread.join()
    mine = Keeper(budget, MemoryUse.REMEMBERED, 40 * PART)
    assert not holders[0].asked
    assert mine.asked


def test_threads_that_report_at_once_do_not_lose_a_byte(budget: MemoryBudget) -> None:
    def report() -> None:
        share = budget.share(MemoryUse.QUEUED)
        for size in range(20_000):
            share.set(size % 7)
        share.set(0)

    threads = [threading.Thread(target=report) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.used == 0


def test_default_is_a_quarter_of_the_memory_and_at_most_a_gibibyte(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    container = tmp_path / "memory.max"
    sizes = {"SC_PHYS_PAGES": 2 * 1024**3 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (container,))
    assert memory.default_limit() == 1024**3 // 2
    container.write_text("max\n")
    assert memory.default_limit() == 1024**3 // 2
    container.write_text(f"{1024**3}\n")
    assert memory.default_limit() == 1024**3 // 4
    sizes["SC_PHYS_PAGES"] *= 100
    container.unlink()
    assert memory.default_limit() == 1024**3


async def test_option_sets_the_limit_of_the_process(confdir: Path) -> None:
    default = memory.budget.limit
    async with launch(port=0, confdir=confdir, options={"ws_memory": "64m"}):
        assert memory.budget.limit == 64 * 1024**2
    assert memory.budget.limit == default


@pytest.mark.parametrize("value", ["much", "1023k", "0", "-5m"])
async def test_option_that_is_not_a_size_is_refused(confdir: Path, value: str) -> None:
    options: dict[str, Any] = {"ws_memory": value}
    with pytest.raises(Error, match=r"^ws_memory must be "):
        async with launch(port=0, confdir=confdir, options=options):
            pass
    assert memory.budget.limit >= SMALLEST_BUDGET
