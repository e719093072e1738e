"""Which frames of a capture are meant."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from wirewright.capture.reader import Capture, Direction, Frame, Socket, SocketFrames
from wirewright.model.matching import UrlMatch, compile_match

_AGO = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DIRECTIONS: Mapping[str, Direction] = {"sent": "sent", "received": "received"}
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Filter:
    """All of these have to hold; what is None or empty holds for every frame."""

    url: UrlMatch | None = None
    socket: int | None = None
    """The id of a socket."""
    direction: Direction | None = None
    grep: str | None = None
    """Text that has to be in a message, whatever its case; in a binary one as UTF-8."""
    values: Iterable[tuple[str, str]] = ()
    """`("user.name", "Ada")`: what a JSON message has to have at a path of keys and indexes."""
    since_ns: int | None = None
    """Nanoseconds since the epoch."""
    matches_url: Callable[[str], bool] = field(init=False)

    def __post_init__(self) -> None:
        """Raises ValueError for a URL that is no pattern."""
        object.__setattr__(self, "matches_url", compile_match(self.url))

    @property
    def takes_all_frames(self) -> bool:
        """Whether it chooses among sockets alone."""
        return self.direction is None and self.grep is None and self.since_ns is None and not self.values

    def sockets(self, capture: Capture) -> dict[int, Socket]:
        """Those whose frames may be meant, by id."""
        return self._meant(capture.sockets())

    def _meant(self, sockets: Iterable[Socket]) -> dict[int, Socket]:
        return {
            socket.id: socket
            for socket in sockets
            if self.matches_url(socket.url) and self.socket in (None, socket.id)
        }

    def frames(self, capture: Capture, *, after: int = 0) -> Iterator[tuple[Socket, Frame]]:
        """Each with its socket, in the order of the file; `after` is the id of a frame."""
        everyone = capture.sockets()
        known, newest = self._meant(everyone), max((socket.id for socket in everyone), default=0)
        for frame in capture.frames(after=after, socket=self.socket):
            if frame.socket_id > newest:  # it was opened meanwhile
                known, newest = self._meant(capture.sockets()), frame.socket_id
            if frame.socket_id in known and self.holds(frame):
                yield known[frame.socket_id], frame

    def by_socket(self, capture: Capture) -> SocketFrames:
        """Each socket with its frames, of what is in the file by now; without any frame, too."""
        newest = capture.index_by_socket()
        for socket in self.sockets(capture).values():
            yield socket, filter(self.holds, capture.frames(until=newest, socket=socket.id))

    def holds(self, frame: Frame) -> bool:
        """Whether a frame is meant, by what it says itself."""
        if self.direction not in (None, frame.direction):
            return False
        if self.since_ns is not None and frame.time_ns < self.since_ns:
            return False
        if self.grep is not None and self.grep.lower() not in _text(frame).lower():
            return False
        return all(_has(frame, path, value) for path, value in self.values)


def parse_direction(text: str) -> Direction:
    """`sent` or `received`. Raises ValueError for anything else."""
    if text not in _DIRECTIONS:
        raise ValueError(f"{text!r} is no direction: sent and received are")
    return _DIRECTIONS[text]


def parse_value(text: str) -> tuple[str, str]:
    """`PATH=VALUE`, as a filter's. Raises ValueError for anything else."""
    path, equals, value = text.partition("=")
    if not (path and equals):
        raise ValueError(f"{text!r} must be PATH=VALUE, such as user.name=Ada")
    return path, value


def parse_since(text: str) -> int:
    """A time of day, a date with one, or how long ago: `14:05`, `2026-01-31T14:05:10`, `90s`, `5m`, `2h`.

    In nanoseconds since the epoch. Raises ValueError for anything else.
    """
    try:
        if ago := _AGO.fullmatch(text):
            back = timedelta(**{_UNITS[ago[2]]: float(ago[1])})
            return time.time_ns() - round(back / timedelta(microseconds=1)) * 1000
        if "T" in text or "-" in text:
            moment = datetime.fromisoformat(text)
        else:
            clock = datetime.strptime(text, "%H:%M:%S" if text.count(":") == 2 else "%H:%M").time()
            moment = datetime.combine(datetime.now().date(), clock)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time: 14:05, 2026-01-31T14:05:10, 90s, 5m or 2h are") from None
    return int(moment.timestamp() * 1e9)


def _text(frame: Frame) -> str:
    return frame.payload if isinstance(frame.payload, str) else frame.payload.decode(errors="replace")


def _has(frame: Frame, path: str, expected: str) -> bool:
    """Whether a message is JSON, and has a value at a path; as text or as JSON the value is the same."""
    if not frame.is_message:
        return False
    try:
        value: Any = json.loads(frame.payload)
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return False
    return value == expected if isinstance(value, str) else json.dumps(value) == expected
