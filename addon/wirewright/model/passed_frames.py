"""The frames that did not match a wait or an assertion, for its error."""

from collections import deque

from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, json_of
from wirewright.model.frame_run import FrameRun
from wirewright.model.socket_text import frame_text, misfit_text, passed_lines, without_secrets

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
        self._kept: deque[FrameRun] = deque()
        self._kept_count = 0

    def add(self, run: FrameRun, start: int, stop: int) -> None:
        """The payloads from the index `start` to the one before `stop` did not match."""
        if start >= stop:
            return
        self.count += stop - start
        start = max(start, stop - _MOST_KEPT)
        run = run.part(run.number + start, run.number + stop - 1)
        if max(map(len, run.payloads)) > _LONGEST:  # they would stay in memory
            run = run._replace(payloads=[payload[:_LONGEST] for payload in run.payloads])
        self._kept.append(run)
        self._kept_count += stop - start
        while self._kept_count - len(self._kept[0].payloads) >= _MOST_KEPT:
            self._kept_count -= len(self._kept.popleft().payloads)

    def _frames(self) -> list[Frame]:
        """The last frames that did not match, oldest first."""
        return [frame for run in self._kept for frame in run.frames()][-_MOST_KEPT:]

    def lines(self) -> list[str]:
        """The nearest frames with what does not fit, and the last ones with how often each came."""
        frames = self._frames()
        return [*self._nearest_lines(frames), *passed_lines(frames, self.count, _MOST_SHOWN)]

    def _nearest_lines(self, frames: list[Frame]) -> list[str]:
        with_misfits = [(frame, misfits) for frame in frames if (misfits := self._match.misfits(frame))]
        with_misfits.sort(key=lambda each: (len(each[1]), -each[0].number))
        lines: list[str] = []
        for frame, misfits in with_misfits[:_MOST_NEAREST]:
            shown = json_of(without_secrets(frame))
            lines.append(f"nearest: {frame_text(frame)}")
            lines += [f"    {misfit_text(each, shown)}" for each in misfits[:_MOST_MISFITS]]
            if len(misfits) > _MOST_MISFITS:
                lines.append(f"    and {len(misfits) - _MOST_MISFITS:,} more")
        return lines
