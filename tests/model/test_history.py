import sys
from collections.abc import Iterator

import pytest

from wirewright.memory import MemoryBudget
from wirewright.model.frame import Frame
from wirewright.model.history import History, HistoryLimit, Window
from wirewright.values import Direction, Payload


def payloads_of(history: History, direction: Direction) -> list[Payload]:
    return [frame.payload for frame in history.after(0) if frame.direction is direction]


def remembered(limit: HistoryLimit, *payloads: Payload) -> list[Payload]:
    history = History(limit)
    for payload in payloads:
        history.extend(Direction.RECEIVED, [payload], 0)
    kept = payloads_of(history, Direction.RECEIVED)
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
    for direction, payload in [
        (Direction.SENT, "1"),
        (Direction.RECEIVED, "2"),
        (Direction.SENT, "3"),
        (Direction.SENT, "4"),
    ]:
        history.extend(direction, [payload], 0)
    assert payloads_of(history, Direction.SENT) == ["3", "4"]
    assert payloads_of(history, Direction.RECEIVED) == ["2"]


def test_frames_may_arrive_while_the_past_is_read() -> None:
    history = History(HistoryLimit(2, 100))
    history.extend(Direction.SENT, ["1"], 0)
    history.extend(Direction.SENT, ["2"], 0)
    past = iter(history.after(0))
    first = next(past)
    history.extend(Direction.SENT, ["3"], 0)
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
    history.extend(Direction.RECEIVED, ["a"], 0)
    history.extend_unread(Direction.RECEIVED, sealed, 1.0)
    assert (history.total, sealed.opened) == (4, 0)
    assert payloads_of(history, Direction.RECEIVED) == ["b", b"c", "d"]
    assert history.after(2) == [
        Frame(3, Direction.RECEIVED, b"c", 1.0),
        Frame(4, Direction.RECEIVED, "d", 1.0),
    ]


def test_unread_messages_are_forgotten_unread() -> None:
    history, sealed = History(HistoryLimit(2, 100)), Sealed("a", "b")
    history.extend_unread(Direction.SENT, sealed, 1.0)
    history.extend(Direction.SENT, ["c", "d"], 2.0)
    assert payloads_of(history, Direction.SENT) == ["c", "d"]
    assert sealed.opened == 0


def test_unread_messages_that_are_more_than_fit_are_cut() -> None:
    history = History(HistoryLimit(100, 4))
    history.extend_unread(Direction.SENT, Sealed("aa", "bb", "cc"), 1.0)
    assert payloads_of(history, Direction.SENT) == ["bb", "cc"]


def test_history_that_gives_way_forgets_its_oldest_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.model.history.budget", budget)
    history = History(HistoryLimit(1_000_000, 100_000_000))
    history.retain()
    for number in range(100):
        history.extend(Direction.RECEIVED, [f"{number:02}" * 50_000], 0)
    kept = [payload[:2] for payload in payloads_of(history, Direction.RECEIVED)]
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
        history.extend(Direction.RECEIVED, [text], 1.0)
    assert 10 < len(history) <= 17
    assert sum(map(sys.getsizeof, payloads_of(history, Direction.RECEIVED))) <= budget.used <= 7_000_000


def test_newest_socket_keeps_its_history_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wirewright.model.history.budget", MemoryBudget(10_000_000))
    histories = [History(HistoryLimit()) for _ in range(5)]
    for _ in range(20):
        for history in histories:
            history.extend(Direction.RECEIVED, ["x" * 100_000], 0)
    lengths = [len(history) for history in histories]
    assert lengths[0] < 5
    assert lengths[-1] == 20
    assert lengths == sorted(lengths)


def test_empty_messages_count(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr("wirewright.model.history.budget", budget)
    history = History(HistoryLimit(1_000_000, 1_000_000))
    history.extend(Direction.SENT, [""] * 100_000, 0.0)
    assert budget.used >= 6_000_000


def test_frames_are_numbered_in_the_order_of_both_directions() -> None:
    history = History(HistoryLimit(4, 100))
    history.extend(Direction.SENT, ["a", "b"], 1.0)
    history.extend_unread(Direction.RECEIVED, Sealed("c", "d"), 2.0)
    history.extend(Direction.SENT, ["e"], 3.0)
    assert [(frame.number, frame.payload, frame.at) for frame in history.after(0)] == [
        (2, "b", 1.0),
        (3, "c", 2.0),
        (4, "d", 2.0),
        (5, "e", 3.0),
    ]
    assert [[frame.number for frame in history.after(number)] for number in range(1, 7)] == [
        *([2, 3, 4, 5], [3, 4, 5], [4, 5], [5], [], [])
    ]


def test_frames_after_a_number_are_read_without_the_earlier_ones() -> None:
    history, sealed = History(HistoryLimit(100, 100)), Sealed("a", "b")
    history.extend_unread(Direction.RECEIVED, sealed, 1.0)
    history.extend(Direction.RECEIVED, ["c"], 2.0)
    assert history.after(2) == [Frame(3, Direction.RECEIVED, "c", 2.0)]
    assert sealed.opened == 0


def test_frames_that_did_not_come_have_numbers() -> None:
    history = History(HistoryLimit(100, 100))
    history.extend(Direction.SENT, ["a", "b"], 1.0)
    history.total += 5
    history.extend(Direction.SENT, ["c", "d"], 1.0)
    assert [frame.number for frame in history.after(1)] == [2, 8, 9]
    assert [frame.number for frame in history.after(4)] == [8, 9]
    assert [frame.number for frame in history.after(8)] == [9]


def test_messages_of_a_batch_that_is_cut_keep_their_numbers() -> None:
    history = History(HistoryLimit(100, 4))
    history.extend(Direction.SENT, ["aa", "bb", "cc"], 1.0)
    assert [(frame.number, frame.payload) for frame in history.after(0)] == [(2, "bb"), (3, "cc")]
