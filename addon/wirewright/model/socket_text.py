"""Sockets and frames as errors, assertions and reports show them: short, printable and without secrets."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from wirewright.model.code_places import function_text
from wirewright.model.frame import Frame
from wirewright.model.json_match import MISSING, Misfit, value_at
from wirewright.printable import printable, shown_url
from wirewright.values import Direction, Payload

if TYPE_CHECKING:
    from wirewright.model.ended_sockets import EndedSocket
    from wirewright.model.websocket import WebSocket

WIDTH = 200
"""Characters of a payload that are shown."""
LONGEST_KEPT = 66_000
"""Characters or bytes of a payload that are kept for a text. It is more than the redactor looks at, so that a
secret whose end is not kept is hidden, too."""
ARROWS = {Direction.SENT: "→", Direction.RECEIVED: "←"}


class Redactor(Protocol):
    """Replaces secrets (`capture.redaction.Redaction`)."""

    def text(self, message: str) -> str: ...

    def url(self, url: str) -> str: ...

    def headers(self, headers: Mapping[str, str]) -> Mapping[str, str]: ...

    def payload(self, payload: Payload) -> Payload: ...

    def beginning(self, payload: Payload, length: int) -> tuple[Payload, bool]: ...


_load: Callable[[], Redactor] | None = None


def redact_with(load: Callable[[], Redactor]) -> None:
    """Set the function that returns the redactor. It is called once, when a text is needed."""
    global _load
    _load = load


@cache
def _redactor() -> Redactor:
    assert _load is not None, "the package sets it"
    return _load()


def payload_text(payload: Payload, length: int | None = None) -> str:
    """The beginning of a payload, in quotes, and its characters or bytes if that is not all.

    `length` is that of the whole payload, if only its first LONGEST_KEPT characters or bytes are given.
    """
    length = len(payload) if length is None else length
    beginning, is_whole = _redactor().beginning(payload, WIDTH)
    shown = repr(beginning)
    if is_whole and length == len(payload) and len(shown) <= WIDTH:
        return shown
    return f"{shown[:WIDTH]}… ({length:,} in all)"


def frame_text(frame: Frame, length: int | None = None) -> str:
    """The direction of a frame and the beginning of its payload; `length` as for `payload_text`."""
    return f"{ARROWS[frame.direction]} {payload_text(frame.payload, length)}"


def folded(newest_first: Iterable[str], most: int) -> dict[str, int]:
    """The last different texts, oldest first, each with how often it comes among them."""
    counts: dict[str, int] = {}
    for text in newest_first:
        if text not in counts and len(counts) == most:
            break
        counts[text] = counts.get(text, 0) + 1
    return dict(reversed(counts.items()))


def folded_text(newest_first: Iterable[str], count: int, most: int) -> str:
    """The last different ones of `count` texts, each with how often it came, and how many more there are."""
    counts = folded(newest_first, most)
    more = count - sum(counts.values())
    shown = [text + (f" ×{times:,}" if times > 1 else "") for text, times in counts.items()]
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def passed_lines(newest_first: Iterable[str], count: int, most: int) -> list[str]:
    """The last different ones of `count` frames, each with how often it came. They are given as texts."""
    counts = folded(newest_first, most)
    if not counts:
        return ["no frame passed"]
    shown = sum(counts.values())
    heading = "passed:" if shown == count else f"passed, the last {shown:,} of {count:,}:"
    return [
        heading,
        *(f"    {text}" + (f" ×{times:,}" if times > 1 else "") for text, times in counts.items()),
    ]


def url_text(url: str) -> str:
    """A URL without secrets."""
    return _cut(printable(_redactor().url(url)))


def without_secrets(frame: Frame) -> Frame:
    """The frame with the secrets of its payload replaced."""
    return Frame(frame.number, frame.direction, _redactor().payload(frame.payload), frame.at)


def misfit_text(misfit: Misfit, shown: Any) -> str:
    """Where a JSON value is not as expected: `price: expected 2, is 1.5`. `shown` is the frame's JSON without
    secrets."""
    actual = misfit.actual
    if actual is not MISSING and (actual := value_at(shown, misfit.path)) is MISSING:
        actual = "REDACTED"  # a value around it is a secret
    place = ""
    for step in misfit.path:
        place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else str(step)
    where = printable(place) or "the message"
    return f"{where}: expected {json_text(misfit.expected)}, is {_cut(repr(actual))}"


def subprotocol_text(subprotocol: str | None) -> str:
    """A subprotocol in quotes, or None. One that is a token is hidden."""
    name = "sec-websocket-protocol"
    return "None" if subprotocol is None else repr(_redactor().headers({name: subprotocol})[name])


def count_text(frames: int) -> str:
    """How many frames: `1 frame`, `1,200 frames`."""
    return "1 frame" if frames == 1 else f"{frames:,} frames"


def json_text(value: Any) -> str:
    """A partial match as Python shows it, with functions by their names."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {json_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_text, value)) + "]"
    return function_text(value) if callable(value) and hasattr(value, "__qualname__") else repr(value)


END_EVENTS = ("close", "socketerror")
"""The events of a socket that end a wait for another one."""
_CLOSED, _FAILED = "Socket closed", "Socket error"
END_TEXTS = (_CLOSED, _FAILED)
"""The beginnings of the messages of the Error that such a wait raises."""


def end_text(socket: "WebSocket") -> str:
    """Why a socket can do nothing more: `Socket closed: 1011 'restart'`, `Socket error: net::ERR_FAILED`."""
    if socket.error is not None:
        return f"{_FAILED}: {error_text(socket.error)}"
    reason = printable(_redactor().text(socket.close_reason)) if socket.close_reason else ""
    details = [str(each) for each in (socket.close_code, reason and repr(reason)) if each]
    return _CLOSED + (f": {' '.join(details)}" if details else "")


def error_text(error: str) -> str:
    """The sentence of `socketerror`."""
    return printable(_redactor().text(error))


def state_text(socket: "WebSocket | EndedSocket") -> str:
    """Whether a socket is open, or how it ended."""
    if not socket.is_closed():
        return "open" if socket.opened_at else "opening"
    reason = "" if not socket.close_reason else printable(_redactor().text(socket.close_reason))
    if not socket.opened_at:
        status = f" with status {socket.status}" if socket.status else ""
        return f"failed{status}{reason and f': {reason}'}"
    said = [f"closed {socket.close_code}", reason and repr(reason)]
    if socket.closed_by:
        said.append(f"by {socket.closed_by}")
    return " ".join(filter(None, said))


def socket_line(socket: "WebSocket | EndedSocket") -> str:
    """The URL of a socket and its state, with the error of one that failed."""
    error = f" ({error_text(socket.error)})" if socket.error is not None else ""
    return f"{printable(shown_url(socket.url))}, {state_text(socket)}{error}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"
