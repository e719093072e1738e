"""All events of a capture in the order of time, session after session."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from wirewright.capture.filters import Filter
from wirewright.capture.reader import Capture, Watch
from wirewright.capture.records import Annotation, Gap, RecordedFrame, Session, Socket, was_open
from wirewright.capture.selection import Selection

SocketEventKind = Literal["connecting", "open", "error", "close"]


@dataclass(frozen=True, slots=True)
class SocketEvent:
    """A change of a socket's state. `connecting` stands for a socket that has not opened."""

    kind: SocketEventKind
    socket: Socket
    time_ns: int


Event = RecordedFrame | SocketEvent | Annotation | Gap


class _Place(NamedTuple):
    """The sort key of an event."""

    session_id: int
    time_ns: int
    order: int
    """The order of events with the same time: see the constants below."""


_BEFORE_FRAMES, _FRAME, _AFTER_FRAMES = 0, 1, 2


class EventReader:
    """The events of a capture that a filter chooses.

    A socket whose frames are all filtered out by their content has no events. Each `read` gives the events
    that were written since the last one; it does not see what is written while it runs.
    """

    def __init__(self, capture: Capture, chosen: Filter) -> None:
        self.sessions: Mapping[int, Session] = {}
        self.sockets: Mapping[int, Socket] = {}
        """The sockets that the filter may choose, as they were at the last `read`."""
        self._capture, self._chosen = capture, chosen.resolved(capture)
        self._after = 0
        """The id of the newest frame that was read."""
        self._annotations = self._gaps = 0
        """How many annotations and gaps were read."""
        self._read_events: dict[int, set[SocketEventKind]] = {}
        """The kinds of events that were read, by the id of the socket."""

    def read(self, watch: Watch = iter) -> Iterator[Event]:
        """The new events; `watch` sees the frames. Raises CaptureError for a damaged file."""
        capture, chosen = self._capture, self._chosen
        with capture._snapshot():
            self.sessions = {session.id: session for session in capture.sessions()}
            self.sockets = chosen.sockets(capture)
            annotations, gaps, newest = capture.annotations(), capture.gaps(), capture.newest()
        remarks = [
            *self._remarks(annotations[self._annotations :], _BEFORE_FRAMES),
            *self._remarks(gaps[self._gaps :], _AFTER_FRAMES),
        ]
        self._annotations, self._gaps = len(annotations), len(gaps)
        ranks = {socket.id: socket.session_id for socket in self.sockets.values()}
        holds = None if chosen.takes_all_frames else chosen.holds
        with Selection(capture, ranks, after=self._after, until=newest, holds=holds) as frames:
            others = sorted([*remarks, *self._socket_events(frames.spans())], key=lambda each: each[0])
            yield from _merge(watch(frames), ranks, others)
        self._after = newest

    def _remarks(self, remarks: Iterable[Annotation | Gap], order: int) -> Iterator[tuple[_Place, Event]]:
        for each in remarks:
            if self._chosen.holds_session(each.session_id) and each.time_ns >= (self._chosen.since_ns or 0):
                yield _Place(each.session_id, each.time_ns, order), each

    def _socket_events(self, spans: Mapping[int, tuple[int, int]]) -> Iterator[tuple[_Place, Event]]:
        for socket in self.sockets.values():
            events = self._events_of(socket, spans.get(socket.id))
            if socket.id in spans or socket.id in self._read_events or self._is_chosen(events):
                read = self._read_events.setdefault(socket.id, set())
                for place, event in events:
                    if event.kind not in read:
                        read.add(event.kind)
                        yield place, event

    def _is_chosen(self, events: Iterable[tuple[_Place, SocketEvent]]) -> bool:
        """True if a socket is shown although none of its frames is chosen."""
        if self._chosen.has_content:
            return False
        return self._chosen.since_ns is None or any(
            event.time_ns >= self._chosen.since_ns for _, event in events
        )

    def _events_of(self, socket: Socket, span: tuple[int, int] | None) -> list[tuple[_Place, SocketEvent]]:
        """The events of a socket, none of them between its frames: `span` is the time of its first and last
        frame."""
        session = self.sessions[socket.session_id]
        began_ns = socket.asked_ns if socket.opened_ns is None else socket.opened_ns
        first_ns, last_ns = span or (began_ns, began_ns)
        place = _Place(session.id, min(began_ns, first_ns), _BEFORE_FRAMES)
        has_frames = span is not None or "open" in self._read_events.get(socket.id, ())
        kind: SocketEventKind = "open" if was_open(socket, has_frames=has_frames) else "connecting"
        events = [(place, SocketEvent(kind, socket, began_ns))]
        ended_ns = socket.closed_ns
        if ended_ns is None and socket.error is not None and session.is_over:  # its recorder was killed
            ended_ns = max(began_ns, last_ns)
        if ended_ns is not None:
            place = _Place(session.id, max(began_ns, ended_ns, last_ns), _AFTER_FRAMES)
            # Other programs record a refused handshake without an error.
            has_failed = socket.error is not None or (kind == "connecting" and socket.status is not None)
            if has_failed:
                events.append((place, SocketEvent("error", socket, ended_ns)))
            is_said = has_failed and kind == "connecting" and not _has_close(socket)
            if socket.closed_ns is not None and not is_said:
                events.append((place, SocketEvent("close", socket, ended_ns)))
        return events


def _has_close(socket: Socket) -> bool:
    """True if anything is known of a socket's close but its time."""
    return socket.close_code is not None or bool(socket.close_reason) or socket.closed_by is not None


def _merge(
    frames: Iterable[RecordedFrame], ranks: Mapping[int, int], others: Iterable[tuple[_Place, Event]]
) -> Iterator[Event]:
    waiting = deque(others)
    for frame in frames:
        while waiting and waiting[0][0] < (ranks[frame.socket_id], frame.time_ns, _FRAME):
            yield waiting.popleft()[1]
        yield frame
    for _, event in waiting:
        yield event
