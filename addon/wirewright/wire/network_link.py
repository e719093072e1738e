"""One direction of a network under conditions: items that are put in come out later, or twice, or never.

It has no clock: the caller gives it the time, in seconds of a clock that never goes back.
"""

from collections import deque
from random import Random
from typing import Generic, TypeVar

from wirewright.memory import ITEM_BYTES
from wirewright.values import Conditions

T = TypeVar("T")

HELD_BACK_SECONDS = 1.0
"""How long a message waits for the next one, to change places with it."""


class Link(Generic[T]):
    """One direction of the simulated network: a queue whose items have times of arrival."""

    def __init__(self, name: str) -> None:
        """`name` is that of the direction: the other one has its own luck with the same seed."""
        self._name = name
        self.weight = 0
        """About how many bytes of memory the items take that are under way, or stuck."""
        self._under_way: deque[tuple[float, int, T]] = deque()
        """By when it arrives, and its size."""
        self._held_back: tuple[float, list[tuple[int, T]]] | None = None
        """The message that changes places with the next one, and the time until which it waits for it."""
        self._stalled: list[tuple[T, int, bool]] = []
        self._last_arrival = self._free_at = 0.0
        self.set_conditions(Conditions(), 0.0)

    def set_conditions(self, conditions: Conditions, now: float) -> None:
        """Go on under other conditions. What was stuck sets out now; what is under way is not touched."""
        self.conditions = conditions
        self._random = Random(f"{conditions.seed} {self._name}")  # noqa: S311
        self._count = 0
        stalled, self._stalled = self._stalled, []
        for item, size, is_message in stalled:
            self.weight -= size + ITEM_BYTES
            self.put(item, size, now, is_message=is_message)

    @property
    def is_stalled(self) -> bool:
        """True if an item that is put into it now would not arrive."""
        return self.conditions.stall_after is not None and self._count >= self.conditions.stall_after

    @property
    def is_empty(self) -> bool:
        """True if no item is under way, or stuck."""
        return not (self._under_way or self._held_back or self._stalled)

    @property
    def is_perfect(self) -> bool:
        """True if an item that is put into it comes out at once."""
        return self.conditions.is_perfect and self.is_empty

    @property
    def due(self) -> float | None:
        """When something arrives next, if anything does by itself."""
        times = [self._under_way[0][0]] if self._under_way else []
        if self._held_back:
            times.append(self._held_back[0])
        return min(times, default=None)

    def put(self, item: T, size: int, now: float, *, is_message: bool) -> None:
        """Add an item of `size` bytes. An item that is not a message is delayed only, and keeps its place."""
        if self.is_stalled:
            self._stalled.append((item, size, is_message))
            self.weight += size + ITEM_BYTES
        elif is_message:
            self._count += 1
            self._put_message(item, size, now)
        else:
            self._release_held_back()
            self._set_out(self._arrival(size, now, 0.5), size, item)

    def end(self, item: T, now: float) -> None:
        """Add the last item, behind the items that are under way. Stalled items are dropped."""
        self.weight -= sum(size + ITEM_BYTES for _, size, _ in self._stalled)
        self._stalled.clear()
        self._release_held_back()
        self._set_out(self._arrival(0, now, 0.5), 0, item)

    def arrived(self, now: float) -> list[T]:
        """Take out what has arrived by now."""
        if self._held_back is not None and self._held_back[0] <= now:
            self._release_held_back()
        arrived = []
        while self._under_way and self._under_way[0][0] <= now:
            _, size, item = self._under_way.popleft()
            self.weight -= size + ITEM_BYTES
            arrived.append(item)
        return arrived

    def clear(self) -> None:
        """Nothing of what is under way arrives."""
        self._under_way.clear()
        self._stalled.clear()
        self._held_back = None
        self.weight = 0

    def _put_message(self, item: T, size: int, now: float) -> None:
        # Always as many numbers, so that one parameter does not change what another one decides.
        luck = self._random.random
        dropped, doubled, swapped, jitter = luck(), luck(), luck(), luck()
        if dropped < self.conditions.drop:
            return
        arrival = self._arrival(size, now, jitter)
        items = [(size, item)] * (2 if doubled < self.conditions.duplicate else 1)
        if self._held_back is None and swapped < self.conditions.reorder:
            self._held_back = arrival + HELD_BACK_SECONDS, items
            self.weight += len(items) * (size + ITEM_BYTES)
        else:
            for _ in items:
                self._set_out(arrival, size, item)
            self._release_held_back()

    def _set_out(self, arrival: float, size: int, item: T) -> None:
        self._under_way.append((arrival, size, item))
        self.weight += size + ITEM_BYTES

    def _arrival(self, size: int, now: float, jitter: float) -> float:
        """The time of arrival: after the time to send it, the latency, and all earlier arrivals."""
        conditions = self.conditions
        self._free_at = max(now, self._free_at)
        if conditions.bytes_per_second is not None:
            self._free_at += size / conditions.bytes_per_second
        under_way = max(0.0, conditions.latency + conditions.jitter * (2 * jitter - 1)) / 1000
        self._last_arrival = max(self._last_arrival, self._free_at + under_way)
        return self._last_arrival

    def _release_held_back(self) -> None:
        if self._held_back is not None:
            (_, items), self._held_back = self._held_back, None
            self._under_way.extend((self._last_arrival, size, each) for size, each in items)
