"""The recorded server, played to a live app: a route's handler."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from wirewright.capture.cassettes.cassette_file import Cassette, is_cassette, read_cassette
from wirewright.capture.errors import CaptureError
from wirewright.capture.reader import Capture
from wirewright.capture.records import RecordedFrame, Socket, oldest_first, was_open
from wirewright.capture.redaction import REDACTED
from wirewright.capture.replay.comparisons import SHOWN, Compare, comparison
from wirewright.capture.replay.handshake_answer import accept, refuse
from wirewright.capture.replay.lockstep import Mismatch, Pace, Step, Verdict, play_lockstep, play_timed, steps
from wirewright.model import user_errors
from wirewright.model.awaitables import Completion
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.misuse import shown_as
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.printable import get_logger
from wirewright.values import Payload

__tracebackhide__ = True  # pytest shows the line that calls

logger = get_logger(__name__)

Match = Literal["lockstep", "timed"]
OnMismatch = Literal["abort", "wait", "passthrough"]

PAGE = 50
"""How many frames of a socket are read at once."""
KEPT = 1_000
"""How many mismatches are remembered, the newest."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A socket of the recording, and where in it its frames are."""

    socket: Socket
    first: int
    """The id of its first frame."""
    last: int
    since_ns: int
    """When its recording began: it may have been open before."""
    place: tuple[str, str]
    """Host and path of its URL."""
    query: list[tuple[str, str]]


@shown_as("ReplayHandler")
class Replay:
    """A route's handler that answers live sockets as the recorded server did; see `route_from_capture`."""

    def __init__(
        self,
        path: Path,
        *,
        url: UrlMatch | None = None,
        match: Match = "lockstep",
        speed: float = 1.0,
        on_mismatch: OnMismatch = "abort",
        compare: Compare = "exact",
    ) -> None:
        """`path` is a capture or a cassette. Raises CaptureError for another file and for one without a
        socket, and ValueError and TypeError for a wrong argument."""
        if match not in get_args(Match):
            raise ValueError(f"match must be 'lockstep' or 'timed', not {match!r}")
        if on_mismatch not in get_args(OnMismatch):
            raise ValueError(f"on_mismatch must be 'abort', 'wait' or 'passthrough', not {on_mismatch!r}")
        if not speed > 0:
            raise ValueError(f"speed must be more than 0, not {speed!r}")
        self.path = path
        self.mismatches: deque[Mismatch] = deque(maxlen=KEPT)
        """The newest of them, over all sockets."""
        self.finished = 0
        """How many live sockets have got to the end of their recording."""
        self.started: Completion[None] = Completion()
        """Once it is awaited the proxy knows of the replay."""
        self._match, self._speed = match, speed
        self._on_mismatch = on_mismatch
        self._same = comparison(compare)
        self._is_meant = compile_match(url)
        self._has_url = url is not None
        self._played: Counter[int] = Counter()
        """How many live sockets got each recorded one."""
        self._done: Counter[int] = Counter()
        """How many messages of each recorded socket were played or came, at most."""
        is_text = self.path.suffix == ".jsonl" and self.path.is_file()  # then errors name its lines
        self._cassette = read_cassette(self.path) if is_text or is_cassette(self.path) else None
        with self._open() as recording:
            self._recorded = list(_recorded(recording))
        if not self._recorded:
            raise CaptureError(f"{path}: there is no socket in it")
        self._by_path: dict[str, list[Recorded]] = {}
        for recorded in self._recorded:
            self._by_path.setdefault(recorded.place[1], []).append(recorded)
        self._meant = [each for each in self._recorded if self._has_url and self._is_meant(each.socket.url)]
        if match == "timed" and on_mismatch == "passthrough":
            raise ValueError("match 'timed' compares nothing: on_mismatch 'passthrough' goes with 'lockstep'")

    def __repr__(self) -> str:
        return f"<ReplayHandler of {self.path}>"

    def _open(self) -> Capture | Cassette:
        return self._cassette or Capture(self.path)

    @property
    def urls(self) -> list[str]:
        """The URLs of the recorded sockets, in the order in which they were opened."""
        return [recorded.socket.url for recorded in self._recorded]

    def matches(self, url: str) -> bool:
        """True if a live socket is answered by this handler."""
        return self._is_meant(url) and bool(self._candidates(url))

    def unplayed(self) -> list[str]:
        """A sentence for each recorded socket that no live one got, or that was not played to its end."""
        return list(self._unplayed())

    def _unplayed(self) -> Iterator[str]:
        for recorded in self._recorded:
            socket = recorded.socket
            name = f"socket #{socket.id} ({SHOWN.url(socket.url)})"
            total = sum(1 for _ in steps(self._frames(recorded), "server"))
            if not self._played[socket.id]:
                yield f"{name} was not opened"
            elif left := total - self._done[socket.id]:
                yield f"{name}: {left:,} of its {total:,} messages were not reached"

    def _frames(self, recorded: Recorded) -> Iterator[RecordedFrame]:
        """A few at a time: thousands of sockets may wait, and none has a file open meanwhile."""
        after, last = recorded.first - 1, recorded.last
        while after < last:
            with self._open() as recording:
                frames = recording.frames(after=after, until=last, socket=recorded.socket.id, page=PAGE)
                few = list(islice(frames, PAGE))
            yield from few
            after = few[-1].id if few else last

    def _line_of(self, step: Step | None) -> int | None:
        """The line of a cassette that has a recorded message."""
        return None if step is None or self._cassette is None else self._cassette.line_of(step.frame)

    def __call__(self, route: WebSocketRoute) -> None:
        """Answer a handshake as it was when it was recorded, and begin to play."""
        recorded = min(self._candidates(route.url), key=lambda each: self._played[each.socket.id])
        socket = recorded.socket
        self._played[socket.id] += 1
        if not was_open(socket, has_frames=recorded.first <= recorded.last):
            refuse(route, socket)
            return
        control, server = RouteControl(route), None
        if self._on_mismatch == "passthrough" and self._match == "lockstep":
            server = control.stand_in_for_server()
        else:
            accept(route, socket)
        control.run(_ServerPlayer(self, recorded, control, server).play())

    def _candidates(self, url: str) -> list[Recorded]:
        """The recorded sockets that are nearest to a live one, in the order in which they were opened."""
        live = urlsplit(url)
        query = parse_qsl(live.query, keep_blank_values=True)
        same_path = self._by_path.get(live.path, [])
        same_place = [each for each in same_path if each.place[0] == live.netloc]
        same_url = [each for each in same_place if _is_same_query(each.query, query)]
        return same_url or same_place or (self._has_url and (same_path or self._meant)) or []


def _recorded(recording: Capture | Cassette) -> Iterator[Recorded]:
    spans = recording.spans()
    began = {session.id: session.started_ns for session in recording.sessions()}
    for socket in oldest_first(recording.sockets()):
        parts = urlsplit(socket.url)
        yield Recorded(
            socket,
            *spans.get(socket.id, (1, 0)),
            max(socket.opened_ns or socket.asked_ns, began[socket.session_id]),
            (parts.netloc, parts.path),
            parse_qsl(parts.query, keep_blank_values=True),
        )


def _is_same_query(recorded: list[tuple[str, str]], live: list[tuple[str, str]]) -> bool:
    """Values that were redacted stand for any."""
    return len(recorded) == len(live) and all(
        name == name_now and value in (REDACTED, value_now)
        for (name, value), (name_now, value_now) in zip(recorded, live, strict=True)
    )


def _forget(_: Payload) -> None:
    """Ignore a message that the live server sends before the replay has given up."""


class _ServerPlayer:
    """One live socket, as the peer of one recorded one."""

    def __init__(
        self, replay: Replay, recorded: Recorded, control: RouteControl, server: WebSocketRoute | None
    ) -> None:
        self._replay = replay
        self._recorded = recorded
        self._control, self._route, self._server = control, control.side, server
        self._came: asyncio.Queue[Payload] = asyncio.Queue()
        self._server_end: tuple[int, str] | None = None
        """The code and the reason with which the live server has closed."""
        self._count = 0
        """The number of the app's messages that were read."""
        if server is not None:
            server.on_message(_forget)
            server.on_close(self._remember_end)
        self._route.on_message(self._came.put_nowait if replay._match == "lockstep" else _forget)

    async def send(self, message: Payload) -> None:
        self._route.send(message)

    async def receive(self) -> Payload:
        message = await self._came.get()
        self._count += 1
        return message

    async def play(self) -> None:
        try:
            await self._play()
        except Exception as error:
            if isinstance(error, CaptureError):
                logger.error("%s", error)
            else:
                user_errors.report(self._route, str(self._replay), error)
            self._route.abort()  # the app must not wait for ever

    async def _play(self) -> None:
        await self._control.opened()
        socket = self._recorded.socket
        pace = Pace(self._recorded.since_ns, self._replay._speed)
        script = self._script()
        if self._replay._match == "timed":
            await play_timed(script, "server", self.send, pace)
        elif not await play_lockstep(script, "server", self, pace, self._replay._same, self._judge):
            return
        self._replay.finished += 1
        await self._end(socket, pace)

    def _script(self) -> Iterator[Step]:
        """The recorded messages, which are counted once the next one is asked for."""
        done, number = self._replay._done, self._recorded.socket.id
        for count, step in enumerate(steps(self._replay._frames(self._recorded), "server"), 1):
            yield step
            done[number] = max(done[number], count)

    async def _end(self, socket: Socket, pace: Pace) -> None:
        """The recorded server's end, if it was the one that ended it."""
        if socket.closed_by == "server" and socket.closed_ns is not None:
            await pace.until(socket.closed_ns)
            self._server_ended(1006 if socket.close_code is None else socket.close_code, socket.close_reason)
        elif self._replay._match == "lockstep":
            while self._judge(None, await self.receive()) != "stop":
                pass

    def _server_ended(self, code: int, reason: str | None) -> None:
        """The app is told of it as by the server itself."""
        try:
            if code == 1006:
                self._route.abort()
            elif code == 1005:
                self._route.close()
            else:
                self._route.close(code, reason)
        except ValueError as error:
            logger.warning("%s: its recorded end cannot be repeated, and it is cut: %s", self._route, error)
            self._route.abort()

    def _remember_end(self, code: int, reason: str) -> None:
        self._server_end = code, reason

    def _judge(self, step: Step | None, live: Payload | None) -> Verdict:
        replay = self._replay
        expected = None if step is None else step.payload
        socket, line = self._recorded.socket.id, replay._line_of(step)
        mismatch = Mismatch(self._route.url, socket, self._count, expected, live, replay._same, line)
        replay.mismatches.append(mismatch)
        logger.warning("%s", mismatch)
        if replay._on_mismatch == "wait":
            return "again"
        if self._server is None or live is None:
            self._route.abort()
        else:
            self._pass_on(self._server, live)
        return "stop"

    def _pass_on(self, server: WebSocketRoute, live: Payload) -> None:
        """From this message on the live server answers."""
        server.send(live)
        while not self._came.empty():
            server.send(self._came.get_nowait())
        self._route.on_message(server.send)
        server.on_message(self._route.send)
        server.on_close(self._server_ended)
        if self._server_end is not None:
            self._server_ended(*self._server_end)
