"""The queue of frames and statements that are to be written, bounded in bytes of memory."""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from wirewright.capture.frame_batches import FrameBatch
from wirewright.capture.losses import UNREAD, Losses, amount
from wirewright.capture.statements import LARGEST_TEXT, SHORT_TEXT, Statement, statement
from wirewright.memory import MemoryUse, budget
from wirewright.printable import get_logger

logger = get_logger(__name__)

Queued = FrameBatch | Statement

WARN_SECONDS = 5.0
"""How often the log says that frames come too fast."""
QUEUE_BYTES = 32 * 1024 * 1024
"""Bytes of frames that may wait to be written. Further ones are not recorded, and are counted."""
LARGE_BYTES = 1024 * 1024
"""Larger frames have a limit of their own: a large message must not use up the room of others."""
LARGE_QUEUE_BYTES = 128 * 1024 * 1024
"""Bytes of large frames that may wait. A single one may be of any size."""


class Room:
    """A limit in bytes for frames that wait to be written. One thread calls `put`, another one `taken`.

    Both report the size to the memory budget, perhaps in the wrong order. The next report corrects it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._share = budget.share(MemoryUse.QUEUED)
        self.shown = f"{size // 1024 / 1024:g} MiB"
        self.losses = Losses(f"more than {self.shown} waited to be written")
        self._put = self._taken = 0

    @property
    def waiting(self) -> int:
        return self._put - self._taken

    def admits(self, weight: int) -> bool:
        """True if there is room. Frames that are larger than the room are admitted when nothing waits."""
        return not self.waiting or self.waiting + weight <= self.size

    def put(self, weight: int) -> None:
        self._put += weight
        self._share.follow(self.waiting)

    def taken(self, weight: int) -> None:
        self._taken += weight
        self._share.follow(self.waiting)


class WriteQueue:
    """Frames and statements in the order in which they came.

    The event loop's thread adds them, and counts those for which there is no room. The writer's thread takes
    them out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The file that is written now, for the log."""
        self.failure = ""
        """Why the last attempt to write failed; "" if it did not."""
        self.is_closed = False
        """True if nothing more is taken in."""
        self.wake = threading.Event()
        """Set if the writer's thread should write at once."""
        self.room, self._large_room = Room(QUEUE_BYTES), Room(LARGE_QUEUE_BYTES)
        self.unread = Losses(UNREAD)
        self._refused_for_memory = Losses("all messages together have used up ws_memory")
        self._cut = Losses("headers and other long texts were cut")
        self._without_row = Losses(
            "handshakes, ends of sockets and remarks came faster than they can be written"
        )
        """Frames of sockets that are not in the file, too."""
        self.without_room = self.room.losses, self._large_room.losses
        """Frames that came while too many waited."""
        self.refused = *self.without_room, self._refused_for_memory, self._without_row, self._cut
        """All frames and statements that were not added."""
        self._waiting: deque[Queued] = deque()
        """A socket is there before its frames, and its end after them."""
        self._warned = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of memory of all that waits."""
        return self.room.waiting + self._large_room.waiting

    # The event loop's thread

    def put(self, frames: FrameBatch) -> None:
        """Add frames; if too much is waiting they are counted instead."""
        if self.is_closed:
            return
        weight, room = frames.weight, self._room_of(frames)
        has_memory = budget.admits(weight, room.waiting)
        if not (has_memory and room.admits(weight)):
            losses = room.losses if has_memory else self._refused_for_memory
            losses.add(frames)
            self._warn_of(losses)
            return
        room.put(weight)
        self._waiting.append(frames)
        if room.waiting > room.size // 8 and not self.failure:
            self.wake.set()

    def count_refused(self, frames: FrameBatch) -> None:
        """Count frames of a socket whose row could not be added."""
        if not self.is_closed:
            self._without_row.add(frames)
            self._warn_of(self._without_row)

    def execute(self, sql: str, *values: object) -> bool:
        """Add a statement about a socket or the session. Values may be Headers.

        If too much is waiting, long texts are cut and counted. If twice as much is waiting, the statement is
        left out and counted, and the result is False.
        """
        if self.is_closed:
            return False
        room = self.room
        given, cut = statement(sql, values, LARGEST_TEXT)
        if not (budget.admits(given.weight, room.waiting) and room.admits(given.weight)):
            whole, (given, cut) = given, statement(sql, values, SHORT_TEXT)
            if room.waiting + given.weight > 2 * room.size:
                self._without_row.size += whole.weight
                self._warn_of(self._without_row)
                return False
        if cut:
            self._cut.size += cut
            self._warn_of(self._cut)
        room.put(given.weight)
        self._waiting.append(given)
        return True

    def _warn_of(self, losses: Losses) -> None:
        if time.monotonic() - self._warned > WARN_SECONDS:
            self._warned = time.monotonic()
            frames, size = sum(each.frames for each in self.refused), sum(each.size for each in self.refused)
            missing = amount(frames, f"{size:,} bytes")
            logger.warning(
                "%s: %s: so far %s were not recorded", self.path, self.failure or losses.reason, missing
            )

    def _room_of(self, item: Queued) -> Room:
        if item.weight > LARGE_BYTES and isinstance(item, FrameBatch) and item.memory > LARGE_BYTES:
            return self._large_room
        return self.room

    # The writer's thread

    def append(self, own: Statement) -> None:
        """Add a statement of the writer itself, which takes no room."""
        self._waiting.append(own)

    def take(self, most: float = math.inf) -> list[Queued]:
        """Take out about `most` bytes of what waits. It keeps its room until `release`."""
        waiting = self._waiting
        if most == math.inf:
            return [waiting.popleft() for _ in range(len(waiting))]  # the other thread may add more meanwhile
        taken: list[Queued] = []
        size = 0
        while waiting and size < most:
            taken.append(waiting.popleft())
            size += taken[-1].weight
        return taken

    def put_back(self, taken: Iterable[Queued]) -> None:
        """Put items back at the front of the queue, so that the next attempt writes them."""
        self._waiting.extendleft(reversed([*taken]))

    def release(self, taken: Iterable[Queued]) -> None:
        """Give back the room of what was written, or never can be."""
        for each in taken:
            self._room_of(each).taken(each.weight)
