"""The frames that did not match a wait or an assertion, for its error."""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, json_of
from wirewright.model.frame_run import FrameRun
from wirewright.model.json_match import Misfit
from wirewright.model.socket_text import (
    LONGEST_KEPT,
    frame_text,
    misfit_text,
    passed_lines,
    without_secrets,
)

_MOST_KEPT = 200
"""Frames that are kept, the last ones."""
_MOST_SHOWN = 10
"""Different frames that are shown, the last ones."""
_MOST_NEAREST = 2
"""Frames that are shown with what does not fit."""
_MOST_MISFITS = 5
"""Places of such a frame that are shown."""


KeptFrame = tuple[Frame, int | None]
"""A frame, and the length of its payload if only a part of it is kept."""
NearFrame = tuple[KeptFrame, list[Misfit]]
"""A frame that does not match, and where."""


class KeptRun(NamedTuple):
    """Frames that are kept, without the rest of large payloads."""

    run: FrameRun
    lengths: Sequence[int] | None
    """Characters or bytes of each payload; None if all payloads are whole."""

    @staticmethod
    def of(run: FrameRun) -> "KeptRun":
        """It keeps no large payload alive."""
        if max(map(len, run.payloads)) <= LONGEST_KEPT:
            return KeptRun(run, None)
        lengths = [len(payload) for payload in run.payloads]
        return KeptRun(run._replace(payloads=[payload[:LONGEST_KEPT] for payload in run.payloads]), lengths)

    def frames(self) -> Iterable[KeptFrame]:
        """All of them."""
        return zip(self.run.frames(), self.lengths or repeat(None), strict=False)


class PassedFrames:
    """The last frames that did not match."""

    def __init__(self, match: FrameMatch) -> None:
        self.count = 0
        """How many frames did not match."""
        self._tried = self._nones = 0
        """On how many of them the match was tried, and for how many the predicate returned None."""
        self._match = match
        self._kept: deque[KeptRun] = deque()
        self._kept_count = 0

    def add(self, run: FrameRun, start: int, stop: int) -> None:
        """The payloads from the index `start` to the one before `stop` did not match."""
        if start >= stop:
            return
        self.count += stop - start
        start = max(start, stop - _MOST_KEPT)
        run = run.part(run.number + start, run.number + stop - 1)
        self._kept.append(KeptRun.of(run))
        self._kept_count += stop - start
        while self._kept_count - len(self._kept[0].run.payloads) >= _MOST_KEPT:
            self._kept_count -= len(self._kept.popleft().run.payloads)

    def add_verdict(self, verdict: object) -> None:
        """The match was tried on one of these frames, with this result."""
        self._tried += 1
        if verdict is None:
            self._nones += 1

    def lines(self) -> list[str]:
        """The nearest frames with what does not fit, and the last ones with how often each came.

        Before them, a sentence about a predicate that has returned None for each frame.
        """
        frames = [each for kept in self._kept for each in kept.frames()][-_MOST_KEPT:]
        texts = (frame_text(*each) for each in reversed(frames))
        nones = [self._match.none_text(self._nones)] if 0 < self._nones == self._tried else []
        return [*nones, *self._nearest_lines(frames), *passed_lines(texts, self.count, _MOST_SHOWN)]

    def _nearest_lines(self, frames: list[KeptFrame]) -> list[str]:
        with_misfits = [(kept, misfits) for kept in frames if (misfits := self._match.misfits(kept[0]))]
        with_misfits.sort(key=lambda each: (len(each[1]), -each[0][0].number))
        lines: list[str] = []
        for (frame, length), misfits in _different(with_misfits):
            shown = json_of(without_secrets(frame))
            lines.append(f"nearest: {frame_text(frame, length)}")
            lines += [f"    {misfit_text(each, shown)}" for each in misfits[:_MOST_MISFITS]]
            if len(misfits) > _MOST_MISFITS:
                lines.append(f"    and {len(misfits) - _MOST_MISFITS:,} more")
        return lines


def _different(frames: Iterable[NearFrame]) -> list[NearFrame]:
    """The first frames that are not shown with the same text."""
    by_text: dict[str, NearFrame] = {}
    for each in frames:
        if len(by_text) == _MOST_NEAREST:
            break
        by_text.setdefault(frame_text(*each[0]), each)
    return list(by_text.values())
