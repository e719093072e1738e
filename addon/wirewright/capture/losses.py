"""Frames that wait to be written to a capture, and the count of those that never get there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from wirewright.memory import ITEM_BYTES, MemoryUse, budget

UNREAD = (
    "larger than ws_max_message or than ws_memory has room for, compressed after such a message, or begun "
    "before the recording"
)
"""Why a message was not read. After a compressed message that was not read, later ones that refer to it
cannot be inflated."""

Row = tuple[Any, ...]


class Frames(Protocol):
    """Frames of one socket that came at the same time."""

    @property
    def size(self) -> int:
        """Bytes of their payloads."""

    def __len__(self) -> int: ...

    def rows(self) -> Iterable[Row]:
        """As they go into the table, with or without the last two columns; called in the writer's thread."""


@dataclass(slots=True)
class Losses:
    """Frames that are not in the file, for one reason. Changed by one thread alone."""

    reason: str
    frames: int = 0
    size: int = 0
    noted: tuple[int, int] = (0, 0)
    """How many frames and bytes the file knows of."""

    def add(self, frames: Frames) -> None:
        """Count frames as lost. What is lost of handshakes counts in bytes alone, by `size`."""
        self.frames += len(frames)
        self.size += frames.size

    @property
    def total(self) -> tuple[int, int]:
        return self.frames, self.size

    @property
    def is_noted(self) -> bool:
        """Whether the file knows of all of them."""
        return self.noted == self.total


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


def weight_of(frames: Frames) -> int:
    """Bytes that frames take while they wait."""
    return frames.size + ITEM_BYTES * len(frames)


def describe(losses: Iterable[Losses]) -> str:
    """A sentence about all that is missing, with the reasons; "" if nothing is."""
    some = [each for each in losses if each.frames or each.size]
    if not some:
        return ""
    of_frames = [each for each in some if each.frames]
    size = sum(each.size for each in of_frames or some)
    missing = amount(sum(each.frames for each in of_frames), f"{size:,} bytes")
    reasons = "; ".join(
        f"{each.reason} ({f'{each.frames:,}' if each.frames else f'{each.size:,} bytes'})" for each in some
    )
    return f"{missing} are not in the capture: {reasons}"


def amount(frames: int, size: str) -> str:
    """How much is missing: of frames, or of handshakes and remarks, which are no frames."""
    return f"{frames:,} frames ({size})" if frames else f"{size} of handshakes and remarks"
