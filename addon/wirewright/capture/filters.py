"""Filters for the frames of a capture."""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal

from wirewright.capture.moments import TimeOfDay
from wirewright.capture.moments import parse_since as parse_since
from wirewright.capture.reader import Capture
from wirewright.capture.records import RecordedFrame, Session, Socket, SocketFrames, oldest_first
from wirewright.capture.selection import Selection
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.values import Direction

SessionId = int | Literal["last"]
"""`last` is the newest session of a capture."""


@dataclass(frozen=True)
class Filter:
    """All of these have to hold; what is None or empty holds for every frame."""

    url: UrlMatch | None = None
    socket: int | Collection[int] | None = None
    """The id of a socket, or those of several."""
    sessions: Collection[SessionId] | None = None
    """The ids of sessions."""
    direction: Direction | None = None
    grep: str | Collection[str] | None = None
    """Text that a message has to contain, in any case (a binary one as UTF-8). One of several is enough."""
    values: Iterable[tuple[str, str]] = ()
    """`("user.name", "Ada")`: what a JSON message has to have at a path of keys and indexes."""
    since_ns: int | None = None
    """Nanoseconds since the epoch. A TimeOfDay is on the day on which the chosen sessions ended."""
    matches_url: Callable[[str], bool] = field(init=False)

    def __post_init__(self) -> None:
        """Raises ValueError for a URL that is no pattern."""
        object.__setattr__(self, "matches_url", compile_match(self.url))

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of `grep`: a message has to contain one of them. Empty for any message."""
        return (self.grep,) if isinstance(self.grep, str) else tuple(self.grep or ())

    @property
    def has_content(self) -> bool:
        """True if the filter chooses frames by their content or direction."""
        return self.direction is not None or bool(self.texts or self.values)

    @property
    def takes_all_frames(self) -> bool:
        """True if the filter chooses whole sockets, whatever their messages say."""
        return not self.has_content and self.since_ns is None

    def resolved(self, capture: Capture) -> "Filter":
        """The same filter for one capture: `last` and a time of day are replaced by numbers."""
        sessions = capture.sessions()
        chosen = self.sessions
        if chosen is not None and "last" in chosen:
            chosen = {*chosen, *(session.id for session in sessions[-1:])} - {"last"}
        since_ns = self.since_ns
        meant = [session for session in sessions if chosen is None or session.id in chosen]
        if isinstance(since_ns, TimeOfDay) and meant:
            began = min(session.started_ns for session in meant)
            since_ns = since_ns.within(began, max(map(_end_ns, meant)))
        return replace(self, sessions=chosen, since_ns=since_ns)

    def holds_session(self, session_id: int) -> bool:
        """True if the filter chooses this session. The filter must be resolved."""
        return self.sessions is None or session_id in self.sessions

    def holds_socket(self, socket_id: int) -> bool:
        """True if the filter chooses the socket with this number."""
        if self.socket is None or isinstance(self.socket, int):
            return self.socket in (None, socket_id)
        return socket_id in self.socket

    def sockets(self, capture: Capture) -> dict[int, Socket]:
        """The sockets whose frames may be chosen, by id: session after session, the oldest first."""
        chosen = self.resolved(capture)
        return {
            socket.id: socket
            for socket in oldest_first(capture.sockets())
            if chosen.holds_session(socket.session_id)
            and self.holds_socket(socket.id)
            and self.matches_url(socket.url)
        }

    def frames(self, capture: Capture, *, after: int = 0) -> Iterator[tuple[Socket, RecordedFrame]]:
        """The chosen frames that are in the file now, each with its socket: session after session, in the
        order of time. Only frames after the one with the id `after`."""
        with capture._snapshot():
            sockets, newest = self.sockets(capture), capture.newest()
        ranks = {socket.id: socket.session_id for socket in sockets.values()}
        with self._select(capture, ranks, after, newest) as selection:
            for frame in selection:
                yield sockets[frame.socket_id], frame

    def by_socket(self, capture: Capture) -> SocketFrames:
        """Each socket with the chosen frames that are in the file now, in the order of time. Sockets without
        a chosen frame are included."""
        with capture._snapshot():
            sockets, newest = self.sockets(capture), capture.newest()
        ranks = {id_: rank for rank, id_ in enumerate(sockets)}
        with self._select(capture, ranks, 0, newest) as selection:
            groups = groupby(selection, lambda frame: frame.socket_id)
            group = next(groups, None)
            for socket in sockets.values():
                if group is not None and group[0] == socket.id:
                    yield socket, group[1]
                    group = next(groups, None)
                else:
                    yield socket, iter(())

    def _select(self, capture: Capture, ranks: Mapping[int, int], after: int, until: int) -> Selection:
        chosen = self.resolved(capture)
        holds = None if chosen.takes_all_frames else chosen.holds
        return Selection(capture, ranks, after=after, until=until, holds=holds)

    def holds(self, frame: RecordedFrame) -> bool:
        """True if a frame's own values fit: direction, time and content. The filter must be resolved."""
        if self.direction not in (None, frame.direction):
            return False
        if self.since_ns is not None and frame.time_ns < self.since_ns:
            return False
        if self.grep and not has_any(self.texts, _text(frame)):
            return False
        return all(_has(frame, path, value) for path, value in self.values)


def has_any(texts: Iterable[str], said: str) -> bool:
    """True if the message `said` contains one of the texts, in any case."""
    said = said.lower()
    return any(text.lower() in said for text in texts)


def _end_ns(session: Session) -> int:
    if session.is_over:
        return session.ended_ns or session.seen_ns
    return time.time_ns()


def parse_direction(text: str) -> Direction:
    """`sent` or `received`. Raises ValueError for anything else."""
    try:
        return Direction(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a direction: it must be sent or received") from None


def parse_socket(text: str) -> int:
    """The number of a socket: `3`, or `#3` as it is printed. Raises ValueError for anything else."""
    return _parse_number(text, "socket")


def parse_session(text: str) -> SessionId:
    """The number of a session, or `last`. Raises ValueError for anything else."""
    return "last" if text == "last" else _parse_number(text, "session")


def _parse_number(text: str, of: str) -> int:
    digits = text.removeprefix("#")
    if not (digits.isascii() and digits.isdecimal()):
        last = " or last" if of == "session" else ""
        raise ValueError(f"{text!r} is not the number of a {of}: use 3, #3{last}")
    return int(digits)


def parse_value(text: str) -> tuple[str, str]:
    """`PATH=VALUE`, as a filter's. Raises ValueError for anything else."""
    path, equals, value = text.partition("=")
    if not (path and equals):
        raise ValueError(f"{text!r} must be PATH=VALUE, such as user.name=Ada")
    return path, value


def _text(frame: RecordedFrame) -> str:
    return frame.payload if isinstance(frame.payload, str) else frame.payload.decode(errors="replace")


def _has(frame: RecordedFrame, path: str, expected: str) -> bool:
    """True if a message is JSON and has this value at the path. `5` means the number and the string."""
    if not frame.is_message:
        return False
    try:
        value: Any = json.loads(frame.payload)
        for key in path.split("."):
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return False
    return value == expected if isinstance(value, str) else json.dumps(value) == expected
