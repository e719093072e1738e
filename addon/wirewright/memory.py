"""The memory that messages take in this process: one budget for all sockets, histories and queues.

Each history, queue and reader has a share of the budget, and reports its size. The fuller the budget is, the
more of them give way, in the order of `Use`.
"""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

STEP = 16 * 1024
"""Bytes by which a share may be out of date: most messages come and go without a report."""
QUEUE_LEAST = 64 * 1024
"""Bytes that a queue may have however full the budget is: a thread or client that keeps up misses nothing."""
ITEM_BYTES = 64
"""About what a message that is kept takes beside its payload."""
MOST_BY_DEFAULT = 1024**3
LEAST = 1024**2
"""The smallest budget, in bytes."""
_CGROUP_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux has the limit of a container, by the version of its control groups."""


def memory_size(payload: str | bytes) -> int:
    """About how many bytes of memory a payload takes. Text takes up to four bytes a character."""
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return sys.getsizeof(payload)


class Use(Enum):
    """Why messages are kept, with the percentage of the budget up to which that goes on."""

    REMEMBERED = 70
    """Histories. Above it the oldest messages are forgotten, those of the oldest socket first."""
    UNFINISHED = 80
    """Messages that only pass, and are not complete yet. Above it the largest one is not read any further."""
    QUEUED = 90
    """Messages for a capture, a remote client or another thread. Above it new ones are left out and counted,
    if more than QUEUE_LEAST bytes wait there already."""
    HELD = 100
    """Messages of a direction in HOLD. Above it nothing more is read from an end whose messages wait, and a
    message that is not complete closes its socket with 1009."""


class Holder(Protocol):
    """Keeps messages, and can do without them."""

    def give_way(self, size: int) -> None:
        """Drop messages of at least so many bytes, the oldest first, and report it."""


class Share:
    """The bytes of one holder. They are given back when it is garbage."""

    __slots__ = ("_budget", "_thread", "_use", "size")

    def __init__(self, budget: "MemoryBudget", use: Use) -> None:
        self.size = 0
        """As it was reported last."""
        self._budget = budget
        self._use = use
        self._thread = threading.get_ident()

    def set(self, size: int) -> None:
        """Report how many bytes the holder keeps now. Others may have to give way, and the holder, too."""
        self._budget._resize(self, self._use, size)

    def follow(self, size: int) -> None:
        """The same, unless that is about what was reported last."""
        if not -STEP < size - self.size < STEP or (not size and self.size):
            self.set(size)

    @property
    def is_here(self) -> bool:
        """Whether the holder belongs to the thread that runs: no other one may ask it to give way."""
        return self._thread == threading.get_ident()

    def __del__(self) -> None:
        self._budget._resize(self, self._use, 0)


class MemoryBudget:
    """Bytes that messages may take, and the holders that give way. Any thread may report."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` is in bytes; without it, `default_limit()`."""
        self.limit = default_limit() if limit is None else limit
        self.used = 0
        """About how many bytes messages take now."""
        self._remembered = 0
        self._holders: dict[Use, WeakKeyDictionary[Holder, Share]] = {
            use: WeakKeyDictionary() for use in (Use.REMEMBERED, Use.UNFINISHED)
        }
        """In the order in which they came."""
        self._lock = threading.RLock()  # the collector may come here in the middle

    def share(self, use: Use, holder: Holder | None = None) -> Share:
        """A new share. Of histories and unfinished messages, the holder is asked to give way."""
        share = Share(self, use)
        if holder is not None:
            with self._lock:
                self._holders[use][holder] = share
        return share

    def has_room(self, use: Use, size: int = 0) -> bool:
        """Whether so many bytes more may be kept for a use."""
        return self.used + size <= self._most(use)

    def admits(self, size: int, waiting: int) -> bool:
        """Whether so many bytes more may be queued where so many bytes wait already."""
        return waiting <= QUEUE_LEAST or self.has_room(Use.QUEUED, size)

    def _most(self, use: Use) -> int:
        return self.limit * use.value // 100

    def _resize(self, share: Share, use: Use, size: int) -> None:
        with self._lock:
            growth, share.size = size - share.size, size
            self.used += growth
            if use is Use.REMEMBERED:
                self._remembered += growth
        if growth > 0 and self.used > self._most(Use.REMEMBERED):
            self._make_room()

    def _make_room(self) -> None:
        # A little more than needed, and not for a little: histories of thousands of sockets are asked.
        slack = self.limit // 64
        if self._remembered > slack:
            self._ask(self._sharing(Use.REMEMBERED), self._most(Use.REMEMBERED) - slack)
        if self.used > self._most(Use.UNFINISHED):
            largest_first = sorted(self._sharing(Use.UNFINISHED), key=lambda each: -each[1].size)
            self._ask(largest_first, self._most(Use.UNFINISHED))

    def _sharing(self, use: Use) -> list[tuple[Holder, Share]]:
        """The holders of a use, oldest first. Other threads may add some meanwhile."""
        with self._lock:
            return list(self._holders[use].items())

    def _ask(self, holders: Iterable[tuple[Holder, Share]], goal: int) -> None:
        """Have one holder of this thread after another give way until no more than `goal` bytes are used."""
        for holder, share in holders:
            surplus = self.used - goal
            if surplus <= 0:
                break
            if share.size and share.is_here:
                holder.give_way(surplus)


def default_limit() -> int:
    """A quarter of the memory of the machine, or of the container, and at most 1 GiB."""
    return max(LEAST, min(size // 4 for size in (4 * MOST_BY_DEFAULT, *_memory_sizes())))


def _memory_sizes() -> Iterator[int]:
    if hasattr(os, "sysconf"):  # not on Windows
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _CGROUP_LIMITS:
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        if limit.isdecimal():  # "max" if there is none
            yield int(limit)


budget = MemoryBudget()
"""That of this process: `ws_memory`."""
