"""The last messages of a socket, bounded in number and in bytes."""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from wirewright.memory import ITEM_BYTES, REPORT_STEP, MemoryUse, Share, budget, memory_size
from wirewright.model.frame import Frame
from wirewright.model.frame_run import FrameRun, UnreadBatch, sizes
from wirewright.values import Direction, Payload, payload_size

__tracebackhide__ = True  # pytest shows the line that calls

Message = Payload | bytearray | memoryview
"""A message to send: `str` as a text message, anything else as a binary one."""


def to_payload(message: object) -> Payload:
    """Convert a message to the payload that is sent.

    An object of a subclass of str, such as a StrEnum, becomes a plain str. An object with a buffer of bytes
    becomes a bytes object, a copy. Raises TypeError for anything else.
    """
    if isinstance(message, str):
        return message if type(message) is str else str.__str__(message)
    if type(message) is bytes:
        return message
    try:
        return memoryview(message).tobytes()  # type: ignore[arg-type]  # TypeError is expected
    except TypeError:
        name = type(message).__name__
        raise TypeError(f"message must be str (text) or bytes (binary), not {name}") from None


@dataclass(frozen=True, slots=True)
class HistoryLimit:
    """How much a socket remembers. A limit of 0 remembers nothing."""

    messages: int = 1_000
    size: int = 4 * 1024 * 1024
    """Bytes of payload."""


class Window:
    """How many of the newest messages fit a limit, told by their sizes alone."""

    def __init__(self, limit: HistoryLimit) -> None:
        self.limit = limit
        self.size = 0
        """Bytes of the messages that fit."""
        self._sizes: deque[int] = deque()

    def add(self, size: int) -> None:
        """A new message of so many bytes: the oldest make room for it.

        One that is larger than the limit has to go itself.
        """
        sizes, limit = self._sizes, self.limit
        sizes.append(size)
        self.size += size
        while sizes and (len(sizes) > limit.messages or self.size > limit.size or not limit.size):
            self.size -= sizes.popleft()

    def forget(self, size: int, *, overhead: int) -> None:
        """Drop the oldest messages until `size` bytes of memory are freed.

        `overhead` is how many bytes a message takes beside its payload.
        """
        while self._sizes and size > 0:
            oldest = self._sizes.popleft()
            self.size -= oldest
            size -= oldest + overhead

    def __len__(self) -> int:
        return len(self._sizes)


class PastEvent(NamedTuple):
    """Something that a socket has emitted while its events were retained."""

    number: int
    """Among all events of the socket, from 0."""
    event: str
    value: Any
    frame: int | None = None
    """The number of the frame, if it is one."""


class _MessageBatch(NamedTuple):
    """Messages of one direction that came at the same time."""

    number: int
    """The number of the first one."""
    direction: Direction
    payloads: Sequence[Payload] | UnreadBatch
    timestamp: float
    size: int
    """Bytes of the payloads."""
    memory: int
    """Bytes of memory that the payloads take."""


class History:
    """The newest frames that fit the limit.

    They are kept in the batches in which they came, which costs next to nothing for each; what exactly fits
    is found out when somebody asks. So a batch too many may be kept, and is never shown.
    """

    def __init__(self, limit: HistoryLimit) -> None:
        self.limit = limit
        self._share: Share | None = None
        """The share of the memory budget. None at first: thousands of sockets have a history."""
        self._reported = 0
        self.total = 0
        """How many frames there have been, those that are forgotten included."""
        self._own_limit = limit
        self._retained = 0
        self._added = 0
        """How many frames were added; a client that does not keep up is not given all of `total`."""
        self._notes: list[tuple[int, str, Any]] = []
        """Other events, each with the number of frames that were added before it."""
        self._batches: deque[_MessageBatch] = deque()
        self._count = self._size = self._memory = 0
        self.newest_at = 0.0
        """When the newest frame came, in seconds since the epoch."""
        self.newest_size = 0
        """Bytes of the payloads that came last, at the same time."""

    @property
    def size(self) -> int:
        """About how many bytes are kept."""
        return self._size

    @property
    def is_retained(self) -> bool:
        """True while events other than frames are remembered, too, and the limit is at least the default."""
        return self._retained > 0

    def retain(self) -> None:
        """From now on, remember all events. It must be called before the first one."""
        self._retained += 1
        default, own = HistoryLimit(), self._own_limit
        self.limit = HistoryLimit(max(own.messages, default.messages), max(own.size, default.size))

    def release(self) -> None:
        """Undo one `retain`."""
        self._retained -= 1
        if not self._retained:
            limit = self.limit = self._own_limit
            self._notes.clear()
            if not (limit.messages and limit.size):
                self._batches.clear()
                self._count = self._size = self._memory = 0
                self._report_memory()

    def free(self, size: int) -> None:
        """Forget the oldest frames, at least so many bytes of memory, or all."""
        while self._batches and size > 0:
            batch = self._batches.popleft()
            self._count -= len(batch.payloads)
            self._size -= batch.size
            self._memory -= batch.memory
            size -= batch.memory + ITEM_BYTES * len(batch.payloads)
        self._report_memory()

    def _report_memory(self) -> None:
        """Tell the memory budget how much is kept."""
        if self._share is None:
            self._share = budget.share(MemoryUse.REMEMBERED, self)
        self._reported = self._memory + ITEM_BYTES * self._count
        self._share.set(self._reported)

    def note(self, event: str, value: Any) -> None:
        """Remember an event that is not a frame, if events are retained."""
        if self._retained:
            if event == "missed" and self._notes and self._notes[-1][:2] == (self._added, event):
                value += self._notes.pop()[2]
            self._notes.append((self._added, event, value))

    def events_since(self, number: int) -> list[PastEvent]:
        """The retained events from this number on, oldest first. If the oldest ones are forgotten, a `missed`
        with how many comes first."""
        frames = [frame for run in self._kept(self.limit) for frame in run.frames()]
        forgotten = self._added - len(frames)
        positions = [position for position, _, _ in self._notes]
        events = [
            PastEvent(position + order, event, value)
            for order, (position, event, value) in enumerate(self._notes)
        ]
        events += [
            PastEvent(
                index + bisect_right(positions, index), frame.direction.event, frame.payload, frame.number
            )
            for index, frame in enumerate(frames, forgotten)
        ]
        if forgotten > number:
            events.append(PastEvent(forgotten - 1, "missed", forgotten - number))
        return sorted((event for event in events if event.number >= number), key=attrgetter("number"))

    def event_number(self, number: int) -> int:
        """The number among all events of the frame with this number."""
        index = max(0, self._added - 1 - (self.total - number))
        return index + sum(position <= index for position, _, _ in self._notes)

    @property
    def oldest(self) -> int:
        """The number of the oldest event that the socket's own limit remembers."""
        return self.event_number(self.total - len(self) + 1)

    def extend(self, direction: Direction, payloads: Sequence[Payload], timestamp: float) -> None:
        """Remember messages of one direction that came at the same time."""
        self._add(_MessageBatch(self.total + 1, direction, payloads, timestamp, *sizes(payloads)))

    def extend_unread(self, direction: Direction, messages: UnreadBatch, timestamp: float) -> None:
        """Remember messages of one direction that came at the same time, without reading them."""
        size = messages.size
        self._add(_MessageBatch(self.total + 1, direction, messages, timestamp, size, size))

    def after(self, number: int) -> list[Frame]:
        """The remembered frames with a higher number, oldest first."""
        return [frame for run in self.runs_after(number) for frame in run.frames()]

    def runs_after(self, number: int) -> list[FrameRun]:
        """The same, in the runs in which they came."""
        return self._kept(self._own_limit, number)

    def __len__(self) -> int:
        return sum([len(run.payloads) for run in self._kept(self._own_limit)])

    def _add(self, batch: _MessageBatch) -> None:
        self.total += len(batch.payloads)
        self._added += len(batch.payloads)
        self.newest_at, self.newest_size = batch.timestamp, batch.size
        if not (self.limit.messages and self.limit.size):
            return
        if batch.size > self.limit.size:
            # It must not stay in memory as a whole; nothing before it is kept beside it.
            self._batches.clear()
            self._count = self._size = self._memory = 0
            batch = self._cut(batch)
        batches, limit = self._batches, self.limit
        batches.append(batch)
        count, size = self._count + len(batch.payloads), self._size + batch.size
        memory = self._memory + batch.memory
        while True:  # the limit is reached without the oldest batch, too
            oldest = batches[0]
            count_without, size_without = count - len(oldest.payloads), size - oldest.size
            if count_without < limit.messages and (size_without < limit.size or not count_without):
                break
            batches.popleft()
            count, size = count_without, size_without
            memory -= oldest.memory
        self._count, self._size, self._memory = count, size, memory
        if not -REPORT_STEP < memory + ITEM_BYTES * count - self._reported < REPORT_STEP:
            self._report_memory()

    def _cut(self, batch: _MessageBatch) -> _MessageBatch:
        window, payloads = Window(self.limit), list(batch.payloads)
        for payload in payloads:
            window.add(payload_size(payload))
        cut = len(payloads) - len(window)
        left = payloads[cut:]
        return batch._replace(
            number=batch.number + cut,
            payloads=left,
            size=window.size,
            memory=sum(map(memory_size, left)),
        )

    def _kept(self, limit: HistoryLimit, after: int = 0) -> list[FrameRun]:
        """The runs of frames that fit a limit, and have a number above `after`."""
        batches: list[_MessageBatch] = []
        for batch in reversed(self._batches):
            if batch.number + len(batch.payloads) <= after + 1:
                break
            batches.append(batch)
        runs = [
            FrameRun(batch.number, batch.direction, list(batch.payloads), batch.timestamp)
            for batch in reversed(batches)
        ]
        left = sum([len(run.payloads) for run in runs])
        if left > limit.messages or sum([batch.size for batch in batches]) > limit.size:
            window = Window(limit)
            for run in runs:
                for payload in run.payloads:
                    window.add(payload_size(payload))
            left = len(window)
        kept: list[FrameRun] = []
        for run in reversed(runs):  # the newest ones
            first = max(run.last - left, after) + 1
            if left <= 0 or first > run.last:
                break
            kept.append(run.part(first, run.last))
            left -= len(run.payloads)
        return kept[::-1]
