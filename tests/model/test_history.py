import sys
from collections.abc import Iterator

import pytest

from wirewright.memory import MemoryBudget
from wirewright.model.history import History, HistoryLimit, PastFrame, Window
from wirewright.values import Payload


def payloads_of(history: History, event: str) -> list[Payload]:
    return [frame.payload for frame in history.since(0) if frame.event == event]


def remembered(limit: HistoryLimit, *payloads: Payload) -> list[Payload]:
    history = History(limit)
    for payload in payloads:
        history.extend("framereceived", [payload], 0)
    kept = payloads_of(history, "framereceived")
    assert len(history) == len(kept)
    return kept


def test_default_limit_is_a_thousand_messages_and_four_mebibytes() -> None:
    assert HistoryLimit() == HistoryLimit(messages=1_000, size=4_194_304)


@pytest.mark.parametrize(
    ("limit", "payloads", "kept"),
    [
        (HistoryLimit(3, 100), ["a", b"b", "c"], ["a", b"b", "c"]),
        (HistoryLimit(2, 100), ["a", "b", "c"], ["b", "c"]),
        (HistoryLimit(100, 4), ["aa", "bb"], ["aa", "bb"]),
        (HistoryLimit(100, 4), ["aa", "bb", "c"], ["bb", "c"]),
        (HistoryLimit(100, 4), ["a", "b", "c", "dddd"], ["dddd"]),
        (HistoryLimit(100, 4), ["a", "bbbbb"], []),
        (HistoryLimit(100, 4), ["bbbbb", "a"], ["a"]),
        (HistoryLimit(0, 100), ["a", ""], []),
        (HistoryLimit(100, 0), ["a", ""], []),
        (HistoryLimit(100, 100), ["", b""], ["", b""]),
    ],
    ids=[
        "all that fit, oldest first",
        "too many",
        "exactly the size",
        "too large together",
        "one takes the place of many",
        "one larger than the limit",
        "one after a too large one",
        "no messages",
        "no bytes",
        "empty ones",
    ],
)
def test_newest_messages_that_fit_are_remembered(
    limit: HistoryLimit, payloads: list[Payload], kept: list[Payload]
) -> None:
    assert remembered(limit, *payloads) == kept


def test_directions_are_told_apart_but_share_the_limit() -> None:
    history = History(HistoryLimit(3, 100))
    for event, payload in [
        ("framesent", "1"),
        ("framereceived", "2"),
        ("framesent", "3"),
        ("framesent", "4"),
    ]:
        history.extend(event, [payload], 0)
    assert payloads_of(history, "framesent") == ["3", "4"]
    assert payloads_of(history, "framereceived") == ["2"]
    assert payloads_of(history, "close") == []


def test_frames_may_arrive_while_the_past_is_read() -> None:
    history = History(HistoryLimit(2, 100))
    history.extend("framesent", ["1"], 0)
    history.extend("framesent", ["2"], 0)
    past = iter(history.since(0))
    first = next(past)
    history.extend("framesent", ["3"], 0)
    assert [frame.payload for frame in (first, *past)] == ["1", "2"]


def test_window_makes_room_for_the_newest() -> None:
    window = Window(HistoryLimit(3, 10))
    fitting = []
    for size in (4, 4, 2, 3, 10, 11):
        window.add(size)
        fitting.append((len(window), window.size))
    assert fitting == [(1, 4), (2, 8), (3, 10), (3, 9), (1, 10), (0, 0)]


def test_window_counts_what_fits() -> None:
    window = Window(HistoryLimit(2, 10))
    for size in (5, 6, 1):
        window.add(size)
    assert (len(window), window.size) == (2, 7)


class Sealed:
    """Messages that tell when they are read."""

    def __init__(self, *payloads: Payload) -> None:
        self.size = sum(map(len, payloads))
        self.opened = 0
        self._payloads = payloads

    def __len__(self) -> int:
        return len(self._payloads)

    def __iter__(self) -> Iterator[Payload]:
        self.opened += 1
        return iter(self._payloads)


def test_unread_messages_are_read_when_somebody_looks_back() -> None:
    history, sealed = History(HistoryLimit(3, 100)), Sealed("b", b"c", "d")
    history.extend("framereceived", ["a"], 0)
    history.extend_unread("framereceived", sealed, 1.0)
    assert (history.total, sealed.opened) == (4, 0)
    assert payloads_of(history, "framereceived") == ["b", b"c", "d"]
    assert history.since(2) == [
        PastFrame("framereceived", b"c", 1.0),
        PastFrame("framereceived", "d", 1.0),
    ]


def test_unread_messages_are_forgotten_unread() -> None:
    history, sealed = History(HistoryLimit(2, 100)), Sealed("a", "b")
    history.extend_unread("framesent", sealed, 1.0)
    history.extend("framesent", ["c", "d"], 2.0)
    assert payloads_of(history, "framesent") == ["c", "d"]
    assert sealed.opened == 0


def test_unread_messages_that_are_more_than_fit_are_cut() -> None:
    history = History(HistoryLimit(100, 4))
    history.extend_unread("framesent", Sealed("aa", "bb", "cc"), 1.0)
    assert payloads_of(history, "framesent") == ["bb", "cc"]


def test_history_that_gives_way_forgets_its_oldest_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.model.history.budget", budget)
    history = History(HistoryLimit(1_000_000, 100_000_000))
    history.retain()
    for number in range(100):
        history.extend("framereceived", [f"{number:02}" * 50_000], 0)
    kept = [payload[:2] for payload in payloads_of(history, "framereceived")]
    assert kept == [f"{number:02}" for number in range(100 - len(kept), 100)]
    assert 60 < len(kept) <= 70
    assert budget.used <= 7_000_000
    assert history.total == 100
    first, *_ = history.events_since(0)
    assert (first.event, first.value) == ("missed", 100 - len(kept))
    del history
    assert budget.used == 0


def test_text_counts_as_the_memory_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One character beyond the basic plane makes all characters of a text take four bytes."""
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.model.history.budget", budget)
    history = History(HistoryLimit(1_000, 100_000_000))
    for number in range(50):
        text = f"{number:02}" + "\U0001f600" + "x" * 100_000
        history.extend("framereceived", [text], 1.0)
    assert 10 < len(history) <= 17
    assert sum(map(sys.getsizeof, payloads_of(history, "framereceived"))) <= budget.used <= 7_000_000


def test_newest_socket_keeps_its_history_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirewright.model.history.budget", MemoryBudget(10_000_000))
    histories = [History(HistoryLimit()) for _ in range(5)]
    for _ in range(20):
        for history in histories:
            history.extend("framereceived", ["x" * 100_000], 0)
    lengths = [len(history) for history in histories]
    assert lengths[0] < 5
    assert lengths[-1] == 20
    assert lengths == sorted(lengths)


def test_empty_messages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.model.history.budget", budget)
    history = History(HistoryLimit(1_000_000, 1_000_000))
    history.extend("framesent", [""] * 100_000, 0.0)
    assert budget.used >= 6_000_000
