"""The frames that did not match a wait or an assertion, for its error."""

from collections import deque

from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, json_of
from wirewright.model.socket_text import frame_text, misfit_text, without_secrets

_MOST_KEPT = 200
"""Frames that are kept, the last ones."""
_LONGEST = 64 * 1024
"""Characters or bytes of a payload that are kept."""
_MOST_SHOWN = 10
"""Different frames that are shown, the last ones."""
_MOST_NEAREST = 2
"""Frames that are shown with what does not fit."""
_MOST_MISFITS = 5
"""Places of such a frame that are shown."""


class PassedFrames:
    """The last frames that did not match."""

    def __init__(self, match: FrameMatch) -> None:
        self.count = 0
        """How many frames did not match."""
        self._match = match
        self._kept: deque[Frame] = deque(maxlen=_MOST_KEPT)

    def add(self, frame: Frame) -> None:
        """A frame did not match."""
        self.count += 1
        if len(frame.payload) > _LONGEST:  # they would stay in memory
            frame = Frame(frame.number, frame.direction, frame.payload[:_LONGEST], frame.at)
        self._kept.append(frame)

    def lines(self) -> list[str]:
        """The nearest frames with what does not fit, and the last ones with how often each came."""
        return [*self._nearest_lines(), *self._last_lines()]

    def _nearest_lines(self) -> list[str]:
        with_misfits = [(frame, misfits) for frame in self._kept if (misfits := self._match.misfits(frame))]
        with_misfits.sort(key=lambda each: (len(each[1]), -each[0].number))
        lines: list[str] = []
        for frame, misfits in with_misfits[:_MOST_NEAREST]:
            shown = json_of(without_secrets(frame))
            lines.append(f"nearest: {frame_text(frame)}")
            lines += [f"    {misfit_text(each, shown)}" for each in misfits[:_MOST_MISFITS]]
            if len(misfits) > _MOST_MISFITS:
                lines.append(f"    and {len(misfits) - _MOST_MISFITS:,} more")
        return lines

    def _last_lines(self) -> list[str]:
        counts: dict[str, int] = {}
        for frame in reversed(self._kept):
            text = frame_text(frame)
            if text not in counts and len(counts) == _MOST_SHOWN:
                break
            counts[text] = counts.get(text, 0) + 1
        if not counts:
            return ["no frame passed"]
        shown = sum(counts.values())
        lines = ["passed:" if shown == self.count else f"passed, the last {shown:,} of {self.count:,}:"]
        for text, count in reversed(counts.items()):
            lines.append(f"    {text}" + (f" ×{count:,}" if count > 1 else ""))
        return lines
