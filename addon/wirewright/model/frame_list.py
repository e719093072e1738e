"""The frames that a socket remembers."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match
from wirewright.values import Direction

__tracebackhide__ = True  # pytest shows the line that calls


class FrameList(Sequence[Frame]):
    """The frames that a socket remembered at one moment, oldest first. It does not change any more."""

    def __init__(self, frames: Sequence[Frame], forgotten: int) -> None:
        self._frames = tuple(frames)
        self._forgotten = forgotten

    @property
    def forgotten(self) -> int:
        """How many earlier frames the socket no longer remembered (`ws_history`), in both directions."""
        return self._forgotten

    @property
    def sent(self) -> "FrameList":
        """Those that the app sent."""
        return self.matching(direction="sent")

    @property
    def received(self) -> "FrameList":
        """Those that came from the server."""
        return self.matching(direction="received")

    @property
    def last(self) -> Frame | None:
        """The newest one, or None."""
        return self._frames[-1] if self._frames else None

    def matching(
        self, match: Match | None = None, *, json: Any = None, direction: str | None = None
    ) -> "FrameList":
        """Those that match, as in `ws.next_frame`. `match` may not be async."""
        meant = FrameMatch(match, json=json, direction=direction)
        return FrameList([frame for frame in self._frames if meant.holds_now(frame)], self._forgotten)

    def count(self, match: Match | None = None, *, json: Any = None, direction: str | None = None) -> int:
        """How many match, as in `ws.next_frame`."""
        return len(self.matching(match, json=json, direction=direction))

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> "FrameList": ...
    def __getitem__(self, index: int | slice) -> "Frame | FrameList":
        if isinstance(index, slice):
            return FrameList(self._frames[index], self._forgotten)
        return self._frames[index]

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrameList) and self._frames == other._frames

    def __hash__(self) -> int:
        return hash(self._frames)

    def __repr__(self) -> str:
        sent = sum(frame.direction is Direction.SENT for frame in self._frames)
        forgotten = f", {self._forgotten:,} forgotten" if self._forgotten else ""
        return f"<FrameList {sent} sent, {len(self) - sent} received{forgotten}>"
