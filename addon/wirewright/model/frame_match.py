"""Which frames a wait, an assertion or a selection means."""

import inspect
import re
from collections.abc import Callable
from typing import Any

from wirewright.model.arguments import fit
from wirewright.model.frame import Frame
from wirewright.model.json_match import Misfit, fits, misfits
from wirewright.model.socket_text import function_text, json_text
from wirewright.values import Direction

Match = str | bytes | re.Pattern[str] | re.Pattern[bytes] | Callable[[Frame], object]
"""A text or bytes that the payload contains, a compiled pattern that is found in it (by `search`), or a
callable that is given the Frame. Text is looked for in text messages, bytes in binary ones."""

NOT_JSON = object()


class FrameMatch:
    """A condition on frames: all of `match`, `json` and `direction` that are given must hold."""

    def __init__(self, match: Match | None = None, *, json: Any = None, direction: str | None = None) -> None:
        """`json` is a partial match (`json_match.fits`) of frames that are JSON; None is every frame.

        Raises TypeError for a `match` of another kind, and ValueError for an unknown direction.
        """
        if not (match is None or isinstance(match, str | bytes | re.Pattern) or callable(match)):
            raise TypeError(
                "match must be a str, bytes, a compiled pattern or a callable, not "
                f"{type(match).__name__}; a partial match of JSON is json=..."
            )
        if direction is not None and direction not in tuple(Direction):
            raise ValueError(f"direction must be 'sent' or 'received', not {direction!r}")
        self._match, self._json = match, json
        self._direction = None if direction is None else Direction(direction)
        self._holds = None if match is None else _test_of(match)

    def holds(self, frame: Frame) -> object:
        """True if the frame is meant. An awaitable of that if the callable of `match` is async.

        An exception of a user's callable is not caught.
        """
        if self._direction is not None and frame.direction is not self._direction:
            return False
        if self._json is not None and not fits_json(self._json, frame):
            return False
        return self._holds is None or self._holds(frame)

    def holds_now(self, frame: Frame) -> bool:
        """As `holds`. Raises TypeError for an async callable, for which nothing can wait here."""
        held = self.holds(frame)
        if inspect.isawaitable(held):
            if inspect.iscoroutine(held):
                held.close()
            raise TypeError("match must be a plain function here, not an async one")
        return bool(held)

    def misfits(self, frame: Frame) -> list[Misfit] | None:
        """Where the JSON of a frame is not as `json` names it; None if that cannot be told."""
        if self._json is None or (self._direction is not None and frame.direction is not self._direction):
            return None
        value = json_of(frame)
        return None if value is NOT_JSON else list(misfits(self._json, value))

    def __str__(self) -> str:
        """Such as `a received frame with json={'type': 'filled'}`."""
        parts = [f"a {self._direction} frame" if self._direction else "a frame"]
        match = self._match
        if isinstance(match, str | bytes):
            parts.append(f"that contains {match!r}")
        elif isinstance(match, re.Pattern):
            parts.append(f"in which {match.pattern!r} is found")
        elif match is not None:
            parts.append(f"for which {function_text(match)} is true")
        if self._json is not None:
            parts.append(f"with json={json_text(self._json)}")
        return " ".join(parts)


def json_of(frame: Frame) -> Any:
    """The JSON value of a frame, or NOT_JSON."""
    try:
        return frame.json()
    except (ValueError, RecursionError):
        return NOT_JSON


def fits_json(expected: Any, frame: Frame) -> bool:
    """True if a frame is JSON, and fits a partial match."""
    value = json_of(frame)
    return value is not NOT_JSON and fits(expected, value)


def _test_of(match: Match) -> Callable[[Frame], object]:
    """The function that tells whether `match` alone means a frame."""
    if isinstance(match, str):
        return lambda frame: isinstance(frame.payload, str) and match in frame.payload
    if isinstance(match, bytes):
        return lambda frame: isinstance(frame.payload, bytes) and match in frame.payload
    if isinstance(match, re.Pattern):
        pattern: re.Pattern[Any] = match
        kind = type(pattern.pattern)
        return lambda frame: isinstance(frame.payload, kind) and pattern.search(frame.payload) is not None
    return fit(match, 1)
