"""One direction of a network, its time told by hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirewright.values import Conditions
from wirewright.wire.network_link import HELD_BACK_SECONDS, Link

NOW = 1000.0
SIZE = 100

probabilities = st.sampled_from([0.0, 0.3, 1.0])
conditions = st.builds(
    Conditions,
    latency=st.sampled_from([0.0, 50.0]),
    jitter=st.sampled_from([0.0, 20.0, 200.0]),
    bytes_per_second=st.sampled_from([None, 1_000.0]),
    drop=probabilities,
    duplicate=probabilities,
    reorder=probabilities,
    stall_after=st.sampled_from([None, 0, 3]),
    seed=st.integers(),
)


class Told:
    """A link, and the time."""

    def __init__(self, name: str = "from app", **options: Any) -> None:
        self.link: Link[str] = Link(name)
        self.now = NOW
        self.set_conditions(**options)

    def set_conditions(self, **options: Any) -> None:
        self.link.set_conditions(Conditions(**options), self.now)

    def put(self, *messages: str, size: int = SIZE) -> None:
        for message in messages:
            self.link.put(message, size, self.now, is_message=not message.startswith("ping"))

    def after(self, milliseconds: float) -> list[str]:
        """What arrives in so many milliseconds more."""
        self.now += milliseconds / 1000 + 1e-9
        return self.link.arrived(self.now)

    def ever(self) -> list[str]:
        """What arrives at all."""
        arrived: list[str] = []
        while (due := self.link.due) is not None:
            arrived += self.link.arrived(due)
        return arrived


def messages(count: int) -> list[str]:
    return [f"{number}" for number in range(count)]


def test_perfect_link_keeps_nothing() -> None:
    told = Told()
    assert told.link.is_perfect
    told.put("a", "b")
    assert not told.link.is_perfect
    assert told.after(0) == ["a", "b"]
    assert told.link.is_perfect
    assert told.link.due is None


def test_latency_delays_everything_alike() -> None:
    told = Told(latency=50)
    told.put("a", "ping")
    assert told.after(20) == []
    told.put("b")
    assert told.after(29) == []
    assert told.link.due == pytest.approx(NOW + 0.05)
    assert told.after(1) == ["a", "ping"]
    assert told.after(19) == []
    assert told.after(1) == ["b"]
    assert told.link.due is None


def test_jitter_varies_the_latency_and_lets_nothing_overtake() -> None:
    told = Told(latency=50, jitter=40, seed=1)
    delays = []
    for message in messages(200):
        told.put(message)
        sent = told.now
        assert told.link.due is not None
        delays.append((told.link.due - sent) * 1000)
        assert told.after(delays[-1]) == [message]
    assert min(delays) >= 10 - 1e-6
    assert max(delays) <= 90 + 1e-6
    assert max(delays) - min(delays) > 60
    told.put(*messages(200))
    assert told.ever() == messages(200)


def test_messages_follow_one_another_as_fast_as_the_line_is() -> None:
    told = Told(bytes_per_second=1000, latency=10)
    told.put("a", "b", size=100)
    assert told.after(109) == []
    assert told.after(1) == ["a"]
    assert told.after(99) == []
    assert told.after(1) == ["b"]
    told.put("ping", size=0)  # what takes no room needs no time
    assert told.after(10) == ["ping"]


@pytest.mark.parametrize(("drop", "arrive"), [(0.0, 1000), (1.0, 0)])
def test_messages_are_lost_and_nothing_else_is(drop: float, arrive: int) -> None:
    told = Told(drop=drop)
    told.put(*messages(1000), "ping")
    assert told.ever() == [*messages(1000)[:arrive], "ping"]


def test_as_many_are_lost_as_was_said() -> None:
    told = Told(drop=0.25, seed=1)
    told.put(*messages(4000))
    assert 2900 < len(told.ever()) < 3100


def test_messages_come_twice_one_after_the_other() -> None:
    told = Told(duplicate=1)
    told.put("a", "ping", "b")
    assert told.ever() == ["a", "a", "ping", "b", "b"]


def test_messages_change_places_with_the_next() -> None:
    told = Told(reorder=1)
    told.put(*messages(6))
    assert told.ever() == ["1", "0", "3", "2", "5", "4"]


def test_message_with_no_next_one_does_not_wait_for_ever() -> None:
    told = Told(reorder=1, latency=20)
    told.put("a")
    assert told.after(1000 * HELD_BACK_SECONDS + 19) == []
    assert told.after(1) == ["a"]
    assert told.link.is_empty


def test_message_that_is_held_back_goes_before_a_frame_that_is_none() -> None:
    told = Told(reorder=1)
    told.put("a", "ping")
    assert told.after(0) == ["a", "ping"]


def test_stall_stops_everything_until_conditions_change() -> None:
    told = Told(stall_after=2, latency=10)
    told.put("a", "ping")
    assert not told.link.is_stalled
    told.put("b")
    assert told.link.is_stalled
    told.put("ping2", "c")
    assert told.ever() == ["a", "ping", "b"]
    assert not told.link.is_empty
    told.now += 60
    told.set_conditions(latency=30, stall_after=1)
    assert told.after(29) == []
    assert told.after(1) == ["ping2", "c"]
    assert told.link.is_stalled
    told.put("d")
    assert told.ever() == []
    told.set_conditions()
    assert told.after(0) == ["d"]
    assert told.link.is_perfect


def test_what_is_under_way_is_not_overtaken_when_conditions_get_better() -> None:
    told = Told(latency=1000)
    told.put("a")
    told.set_conditions()
    told.put("b")
    assert told.after(999) == []
    assert told.after(1) == ["a", "b"]


def test_cleared_link_is_empty() -> None:
    told = Told(latency=10, reorder=1, stall_after=3)
    told.put(*messages(5))
    told.link.clear()
    assert told.link.is_empty
    assert told.link.due is None


@given(conditions, st.integers(0, 50))
def test_the_same_seed_decides_the_same(conditions: Conditions, count: int) -> None:
    arrived = []
    for _ in range(2):
        told = Told()
        told.link.set_conditions(conditions, NOW)
        told.put(*messages(count))
        arrived.append(told.ever())
    assert arrived[0] == arrived[1]


def test_each_seed_and_each_direction_decides_something_else() -> None:
    arrived = set()
    for name in ("from app", "to app"):
        for seed in (1, 2):
            told = Told(name, drop=0.5, seed=seed)
            told.put(*messages(100))
            arrived.add(tuple(told.ever()))
    assert len(arrived) == 4


def test_one_parameter_does_not_change_what_another_decides() -> None:
    alone = Told(drop=0.5, seed=1)
    with_others = Told(drop=0.5, duplicate=0.5, latency=50, jitter=50, seed=1)
    for told in (alone, with_others):
        told.put(*messages(100))
    assert list(dict.fromkeys(with_others.ever())) == alone.ever()


@given(conditions, st.lists(st.tuples(st.booleans(), st.integers(0, 100)), max_size=40))
def test_nothing_comes_from_nowhere_and_what_is_no_message_keeps_its_place(
    conditions: Conditions, sent: list[tuple[bool, int]]
) -> None:
    told = Told()
    told.link.set_conditions(conditions, NOW)
    arrived: list[str] = []
    names = []
    for number, (is_message, wait) in enumerate(sent):
        names.append(f"{'' if is_message else 'ping'}{number}")
        told.put(names[-1])
        arrived += told.after(wait)
    told.set_conditions()
    arrived += told.ever()
    assert told.link.is_perfect
    assert set(arrived) <= set(names)
    assert max(map(arrived.count, arrived), default=0) <= (2 if conditions.duplicate else 1)
    if not conditions.drop:
        assert set(arrived) == set(names)
    for index, name in enumerate(names):
        if name.startswith("ping"):
            place = arrived.index(name)
            assert not set(arrived[:place]) & set(names[index + 1 :])
            assert not set(arrived[place:]) & set(names[:index])
