"""Which frames a wait, an assertion or a selection means."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from wirewright.model.arguments import fit
from wirewright.model.awaitables import is_awaitable
from wirewright.model.code_places import function_text
from wirewright.model.frame import Frame
from wirewright.model.frame_run import FrameRun
from wirewright.model.json_match import Misfit, fits, misfits, texts_of
from wirewright.model.predicate_trials import none_text, note_raise
from wirewright.model.socket_text import frame_text, json_text
from wirewright.values import Direction, Payload

__tracebackhide__ = True  # pytest shows the line that calls

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
        self._in_payload = _payload_test(match)
        self._holds = fit(match, 1) if callable(match) else None
        self._json_texts = [f'"{text}"' for text in texts_of(json)]

    def candidates(self, run: FrameRun, start: int = 0) -> Iterable[int]:
        """The indexes from `start` on of the payloads for which `holds` may be true, without calling it."""
        if not self.may_match(run):
            return ()
        payloads, in_payload, texts = run.payloads, self._in_payload, self._json_texts
        indexes = range(start, len(payloads))
        if in_payload is not None:
            return (index for index in indexes if in_payload(payloads[index]))
        if texts:
            return (index for index in indexes if _may_have(payloads[index], texts))
        return indexes

    def may_match(self, run: FrameRun) -> bool:
        """False if `holds` is false for all of these frames. It looks at all of them at once."""
        if self._direction is not None and run.direction is not self._direction:
            return False
        in_payload, texts = self._in_payload, self._json_texts
        if in_payload is None and not texts:
            return True
        if isinstance(self._match, re.Pattern):
            assert in_payload is not None
            return any(map(in_payload, run.payloads))
        joined = _joined(run.payloads)
        if joined is None:
            return True
        return in_payload(joined) if in_payload is not None else _may_have(joined, texts)

    def holds(self, frame: Frame) -> object:
        """True if the frame is meant; None only if the callable of `match` returned that.

        An awaitable of that if the callable is async. An exception of a user's callable has a note with the
        frame.
        """
        held = self._held(frame)
        return self._answer(held, frame) if is_awaitable(held) else held

    def holds_now(self, frame: Frame) -> bool:
        """As `holds`. Raises TypeError for an async callable, for which nothing can wait here."""
        held = self._held(frame)
        if is_awaitable(held):
            if inspect.iscoroutine(held):
                held.close()
            raise TypeError("match must be a plain function here, not an async one")
        return bool(held)

    def none_text(self, count: int) -> str:
        """The sentence about a callable of `match` that has returned None for each of `count` frames."""
        return none_text(self._match, count, "frame")

    def _held(self, frame: Frame) -> object:
        if self._direction is not None and frame.direction is not self._direction:
            return False
        if self._in_payload is not None and not self._in_payload(frame.payload):
            return False
        if self._json is not None:
            try:
                if not fits_json(self._json, frame):
                    return False
            except Exception as exception:
                note_raise(exception, f"a function of json={json_text(self._json)}", _numbered(frame))
                raise
        if self._holds is None:
            return True
        try:
            return self._holds(frame)
        except Exception as exception:
            note_raise(exception, f"the predicate {function_text(self._match)}", _numbered(frame))
            raise

    async def _answer(self, held: Awaitable[object], frame: Frame) -> object:
        try:
            return await held
        except Exception as exception:
            note_raise(exception, f"the predicate {function_text(self._match)}", _numbered(frame))
            raise

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


def _numbered(frame: Frame) -> str:
    """A frame with its number, for a note."""
    return f"frame {frame.number:,}: {frame_text(frame)}"


def fits_json(expected: Any, frame: Frame) -> bool:
    """True if a frame is JSON, and fits a partial match."""
    value = json_of(frame)
    return value is not NOT_JSON and fits(expected, value)


def _payload_test(match: Match | None) -> Callable[[Payload], bool] | None:
    """The function that tells whether a payload is the one of `match`; None if `match` is not about it."""
    if isinstance(match, str):
        return lambda payload: isinstance(payload, str) and match in payload
    if isinstance(match, bytes):
        return lambda payload: isinstance(payload, bytes) and match in payload
    if isinstance(match, re.Pattern):
        pattern: re.Pattern[Any] = match
        kind = type(pattern.pattern)
        return lambda payload: isinstance(payload, kind) and pattern.search(payload) is not None
    return None


def _may_have(payload: Payload, texts: Iterable[str]) -> bool:
    """False if a payload is not JSON with all of these strings.

    A string of JSON may be written with escapes (RFC 8259, 7), and a binary message in another encoding.
    """
    if isinstance(payload, bytes) or "\\" in payload:
        return True
    return all(text in payload for text in texts)


def _joined(payloads: Sequence[Payload]) -> Payload | None:
    """All payloads as one; None if some are texts and some are binary."""
    try:
        return "\n".join(payloads) if isinstance(payloads[0], str) else b"\n".join(payloads)  # type: ignore[arg-type]
    except TypeError:
        return None
