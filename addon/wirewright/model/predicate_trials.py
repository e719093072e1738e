"""The values on which the predicate of a wait was tried, for the wait's error."""

from collections import deque
from typing import Any

from wirewright.model.code_places import function_text
from wirewright.model.frame import Frame
from wirewright.model.socket_text import LONGEST_KEPT, frame_text, passed_lines
from wirewright.values import Direction, Payload

_MOST_KEPT = 200
"""Frames that are kept, the last ones."""
_MOST_SHOWN = 3
"""Different frames that are shown, the last ones."""


class Trials:
    """Counts the values on which the predicate of one wait was tried. Only one thread uses it."""

    noun = "event"
    """The noun for a value, in the error."""
    none_came = "it did not happen"
    """A sentence about a wait for which there was no value."""

    def __init__(self) -> None:
        self.count = 0
        self.nones = 0
        """For how many of them the predicate returned None."""

    def add(self, value: Any, verdict: object) -> None:
        """The predicate did not hold for a value, or has not answered yet."""
        self.count += 1
        if verdict is None:
            self.nones += 1

    def clear(self) -> None:
        """Keep no value any more: the wait is over."""

    def lines(self, predicate: Any) -> list[str]:
        """The lines of the error about the values that were tried. `predicate` is the user's, or None."""
        return [] if predicate is None else [self._sentence(predicate, self.count)]

    def note_raise(self, exception: BaseException, predicate: Any, value: Any, frame: int | None) -> None:
        """Add a note to an exception of the predicate: the value for which it was raised.

        `frame` is the number of the frame, if the value is one.
        """
        note_raise(exception, f"the predicate {function_text(predicate)}", self._text(value, frame))

    def _sentence(self, predicate: Any, count: int) -> str:
        """How often the predicate was called, and what is odd about it."""
        name = f"the predicate {function_text(predicate)}"
        if not count:
            return f"{name} was not called: {self.none_came}"
        if self.nones == count:
            return none_text(predicate, count, self.noun)
        return f"{name} was tried on {count:,} {self.noun}{'' if count == 1 else 's'}"

    def _text(self, value: Any, frame: int | None) -> str:
        """A value, as the end of a sentence."""
        return f"this {self.noun}"


def note_raise(exception: BaseException, name: str, value: str) -> None:
    """Add a note to an exception of a user's function: for which value it was raised."""
    note = f"{name} raised on {value}"
    if note not in getattr(exception, "__notes__", ()):
        exception.add_note(note)


def none_text(predicate: Any, count: int, noun: str) -> str:
    """The sentence about a predicate that has returned None for each of `count` values."""
    which = f"the only {noun}" if count == 1 else f"all {count:,} {noun}s"
    return f"the predicate {function_text(predicate)} returned None for {which}: does it return its result?"


class FrameTrials(Trials):
    """Counts frames of one direction, and keeps the last ones."""

    noun = "frame"

    def __init__(self, direction: Direction) -> None:
        super().__init__()
        self.none_came = f"no frame was {direction}"
        self._direction = direction
        self._kept: deque[tuple[Payload, int]] = deque(maxlen=_MOST_KEPT)
        """Each with its characters or bytes: a large payload is not kept whole."""

    def add(self, value: Payload, verdict: object) -> None:
        """The predicate did not hold for a frame, or has not answered yet."""
        self.count += 1
        if verdict is None:
            self.nones += 1
        self._kept.append((value[:LONGEST_KEPT], len(value)))

    def clear(self) -> None:
        """Keep no frame any more."""
        self._kept.clear()

    def lines(self, predicate: Any) -> list[str]:
        """The lines of the error, with the last frames."""
        lines = super().lines(predicate)
        if self.count:
            texts = (self._frame_text(*each) for each in reversed(self._kept))
            lines += passed_lines(texts, self.count, _MOST_SHOWN)
        return lines

    def _text(self, value: Any, frame: int | None) -> str:
        number = "a frame" if frame is None else f"frame {frame:,}"
        return f"{number}: {self._frame_text(value, len(value))}"

    def _frame_text(self, payload: Payload, length: int) -> str:
        return frame_text(Frame(0, self._direction, payload, 0.0), length)
