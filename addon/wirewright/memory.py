"""The memory budget of a process: one limit for the messages of all sockets, histories and queues.

Each history, queue and reader has a share, and reports its size. Above the percentage of each `MemoryUse`,
messages of that use are dropped, refused or no longer read.
"""

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Protocol
from weakref import WeakKeyDictionary

REPORT_STEP = 16 * 1024
"""Bytes by which the reported size may differ from the real one, so that most messages need no report."""
QUEUE_LEAST = 64 * 1024
"""Bytes that a queue may have even if the budget is used up: a reader that keeps up misses nothing."""
ITEM_BYTES = 64
"""About how many bytes of memory a stored message takes beside its payload."""
MOST_BY_DEFAULT = 1024**3
SMALLEST_BUDGET = 1024**2
"""The smallest budget, in bytes."""
_SIZE_UNITS = {"b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_CGROUP_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux has the limit of a container, by the version of its control groups."""


def parse_size(text: str) -> int:
    """The bytes of a size as users write it: `500m`, `2g` or `1000`. Raises ValueError for anything else."""
    unit = _SIZE_UNITS.get(text[-1:].lower(), 0)
    digits = text[:-1] if unit else text
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{text!r} is not a size such as 500m or 2g")
    return int(digits) * (unit or 1)


def memory_size(payload: str | bytes) -> int:
    """About how many bytes of memory a payload takes. Text takes up to four bytes a character."""
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return sys.getsizeof(payload)


class MemoryUse(Enum):
    """Why messages are kept, and up to which percentage of the budget."""

    REMEMBERED = 70
    """Histories. Above it the oldest messages are forgotten, those of the oldest socket first."""
    UNFINISHED = 80
    """Messages that only pass, and are not complete yet. Above it the largest one is not read any further."""
    QUEUED = 90
    """Messages for a capture, a remote client or another thread. Above it new ones are dropped and counted,
    if more than QUEUE_LEAST bytes wait there already."""
    HELD = 100
    """Messages of a direction in HOLD. Above it nothing more is read from an end whose messages wait, and a
    message that is not complete closes its socket with 1009."""


class Holder(Protocol):
    """An object that keeps messages and can drop them."""

    def free(self, size: int) -> None:
        """Drop messages of at least so many bytes, the oldest first, and report it."""


class Share:
    """The bytes of one holder. The budget gets them back when the share is garbage-collected."""

    __slots__ = ("_budget", "_thread", "_use", "size")

    def __init__(self, budget: "MemoryBudget", use: MemoryUse) -> None:
        self.size = 0
        """The size that was reported last, in bytes."""
        self._budget = budget
        self._use = use
        self._thread = threading.get_ident()

    def set(self, size: int) -> None:
        """Report how many bytes the holder keeps now. Holders may have to drop messages."""
        self._budget._resize(self, self._use, size)

    def follow(self, size: int) -> None:
        """As `set`, but do nothing if the size changed by less than REPORT_STEP since the last report."""
        if not -REPORT_STEP < size - self.size < REPORT_STEP or (not size and self.size):
            self.set(size)

    @property
    def is_here(self) -> bool:
        """True if the holder belongs to the current thread: other threads must not call its `free`."""
        return self._thread == threading.get_ident()

    def __del__(self) -> None:
        self._budget._resize(self, self._use, 0)


class MemoryBudget:
    """A limit in bytes for messages, and the holders that can drop some. Any thread may report."""

    def __init__(self, limit: int | None = None) -> None:
        """`limit` is in bytes; without it, `default_limit()`."""
        self.limit = default_limit() if limit is None else limit
        self.used = 0
        """About how many bytes of messages are kept now."""
        self._remembered = 0
        self._holders: dict[MemoryUse, WeakKeyDictionary[Holder, Share]] = {
            use: WeakKeyDictionary() for use in (MemoryUse.REMEMBERED, MemoryUse.UNFINISHED)
        }
        """The holders of each use, oldest first."""
        self._lock = threading.RLock()  # the garbage collector may call `_resize` within itself

    def share(self, use: MemoryUse, holder: Holder | None = None) -> Share:
        """A new share. For REMEMBERED and UNFINISHED, `free` is called if memory is short."""
        share = Share(self, use)
        if holder is not None:
            with self._lock:
                self._holders[use][holder] = share
        return share

    def has_room(self, use: MemoryUse, size: int = 0) -> bool:
        """True if `size` more bytes may be kept for a use."""
        return self.used + size <= self._most(use)

    def admits(self, size: int, waiting: int) -> bool:
        """True if `size` more bytes may be added to a queue that has `waiting` bytes."""
        return waiting <= QUEUE_LEAST or self.has_room(MemoryUse.QUEUED, size)

    def _most(self, use: MemoryUse) -> int:
        return self.limit * use.value // 100

    def _resize(self, share: Share, use: MemoryUse, size: int) -> None:
        with self._lock:
            growth, share.size = size - share.size, size
            self.used += growth
            if use is MemoryUse.REMEMBERED:
                self._remembered += growth
        if growth > 0 and self.used > self._most(MemoryUse.REMEMBERED):
            self._make_room()

    def _make_room(self) -> None:
        # Free more than necessary, and rarely: each time, the histories of thousands of sockets may be asked.
        slack = self.limit // 64
        if self._remembered > slack:
            self._ask(self._sharing(MemoryUse.REMEMBERED), self._most(MemoryUse.REMEMBERED) - slack)
        if self.used > self._most(MemoryUse.UNFINISHED):
            largest_first = sorted(self._sharing(MemoryUse.UNFINISHED), key=lambda each: -each[1].size)
            self._ask(largest_first, self._most(MemoryUse.UNFINISHED))

    def _sharing(self, use: MemoryUse) -> list[tuple[Holder, Share]]:
        """The holders of a use, oldest first. Other threads may add some meanwhile."""
        with self._lock:
            return list(self._holders[use].items())

    def _ask(self, holders: Iterable[tuple[Holder, Share]], goal: int) -> None:
        """Have the holders of this thread free memory, one by one, until at most `goal` bytes are used."""
        for holder, share in holders:
            surplus = self.used - goal
            if surplus <= 0:
                break
            if share.size and share.is_here:
                holder.free(surplus)


def default_limit() -> int:
    """A quarter of the memory of the machine, or of the container, and at most 1 GiB."""
    return max(SMALLEST_BUDGET, min(size // 4 for size in (4 * MOST_BY_DEFAULT, *_memory_sizes())))


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
"""The budget of this process. The option `ws_memory` sets its limit."""
