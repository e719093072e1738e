"""Counts of the frames that are not in a capture, with the reasons."""

from collections.abc import Iterable
from dataclasses import dataclass

from wirewright.capture.frame_batches import FrameBatch

UNREAD = (
    "larger than ws_max_message or than ws_memory has room for, compressed after such a message, or begun "
    "before the recording"
)
"""Why a message was not read. After a compressed message that was not read, later ones that refer to it
cannot be inflated."""


@dataclass(slots=True)
class Losses:
    """Frames that are not in the file, for one reason. Changed by one thread alone."""

    reason: str
    frames: int = 0
    size: int = 0
    noted: tuple[int, int] = (0, 0)
    """How many frames and bytes the file knows of."""

    def add(self, frames: FrameBatch) -> None:
        """Count frames as lost. What is lost of handshakes counts in bytes alone, by `size`."""
        self.frames += len(frames)
        self.size += frames.size

    @property
    def total(self) -> tuple[int, int]:
        return self.frames, self.size

    @property
    def is_noted(self) -> bool:
        """True if the file says of all of them that they are missing."""
        return self.noted == self.total


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
