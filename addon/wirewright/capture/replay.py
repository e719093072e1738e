"""The recorded server, played to a live app: a route's handler."""

import asyncio
import logging
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from wirewright.capture.comparing import Compare, comparison
from wirewright.capture.reader import Capture, Socket
from wirewright.capture.redaction import REDACTED
from wirewright.capture.schema import CaptureError
from wirewright.capture.script import Mismatch, Pace, Step, Verdict, play_lockstep, play_timed, steps
from wirewright.model.history import Payload
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.route import RouteSide, WebSocketRoute

logger = logging.getLogger(__name__)

Match = Literal["lockstep", "timed"]
OnMismatch = Literal["abort", "wait", "passthrough"]

KEPT = 1_000
"""How many mismatches are remembered, the newest."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A socket of the capture, and where in it its frames are."""

    socket: Socket
    first: int
    """The id of its first frame."""
    last: int


class Replay:
    """What `route_from_capture` returns; as a route's handler it is called for each live socket."""

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
        """Raises CaptureError for what is no capture or has no socket, and ValueError and TypeError."""
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
        self._match, self._speed = match, speed
        self._on_mismatch = on_mismatch
        self._same = comparison(compare)
        self._is_meant = compile_match(url)
        self._has_url = url is not None
        self._played: Counter[int] = Counter()
        with Capture(path) as capture:
            spans = capture.spans()
            self._recorded = [Recorded(socket, *spans.get(socket.id, (1, 0))) for socket in capture.sockets()]
        if not self._recorded:
            raise CaptureError(f"{path}: there is no socket in it")

    def __repr__(self) -> str:
        return f"<Replay of {self.path}>"

    @property
    def urls(self) -> list[str]:
        """Of the recorded sockets, in the order in which they were opened."""
        return [recorded.socket.url for recorded in self._recorded]

    def matches(self, url: str) -> bool:
        """Whether a live socket is one that is answered."""
        return self._is_meant(url) and bool(self._candidates(url))

    def __call__(self, route: WebSocketRoute) -> None:
        """Answer a handshake as it was when it was recorded, and begin to play."""
        recorded = min(self._candidates(route.url), key=lambda each: self._played[each.socket.id])
        socket = recorded.socket
        self._played[socket.id] += 1
        if socket.opened_ns is None:
            _refuse(route, socket)
            return
        server = None
        if self._on_mismatch == "passthrough" and self._match == "lockstep":
            server = route.connect_to_server()
        elif socket.subprotocol in route.protocols:
            route.accept(socket.subprotocol)
        route.run(_Performance(self, recorded, route, server).play())

    def _candidates(self, url: str) -> list[Recorded]:
        """The recorded sockets that are nearest to a live one, in the order in which they were opened."""
        near: dict[int, list[Recorded]] = {}
        for recorded in self._recorded:
            distance = _distance(recorded.socket.url, url)
            if distance is None and self._has_url and self._is_meant(recorded.socket.url):
                distance = FARTHEST
            if distance is not None and (distance <= SAME_PLACE or self._has_url):
                near.setdefault(distance, []).append(recorded)
        return near[min(near)] if near else []


SAME_URL, SAME_PLACE, SAME_PATH, FARTHEST = range(4)


def _distance(recorded: str, live: str) -> int | None:
    """How near a live URL is to a recorded one. Values of its query that were redacted stand for any."""
    one, other = urlsplit(recorded), urlsplit(live)
    if one.path != other.path:
        return None
    if one.netloc != other.netloc:
        return SAME_PATH
    said, asked = (parse_qsl(each.query, keep_blank_values=True) for each in (one, other))
    is_same = len(said) == len(asked) and all(
        name == name_now and value in (REDACTED, value_now)
        for (name, value), (name_now, value_now) in zip(said, asked, strict=True)
    )
    return SAME_URL if is_same else SAME_PLACE


def _refuse(route: WebSocketRoute, socket: Socket) -> None:
    if socket.status is not None and 300 <= socket.status <= 599:
        route.reject(socket.status)
    else:
        route.abort()


def _forget(_: Payload) -> None:
    """What a live server says before it is asked is not wanted."""


class _Performance:
    """One live socket, as the peer of one recorded one."""

    def __init__(
        self, replay: Replay, recorded: Recorded, route: WebSocketRoute, server: RouteSide | None
    ) -> None:
        self._replay = replay
        self._recorded = recorded
        self._route, self._server = route, server
        self._came: asyncio.Queue[Payload] = asyncio.Queue()
        self._server_end: tuple[int, str] | None = None
        """With what the live server has closed."""
        self._count = 0
        """How many of them were looked at."""
        if server is not None:
            server.on_message(_forget)
            server.on_close(self._remember_end)
        route.on_message(self._came.put_nowait if replay._match == "lockstep" else _forget)

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
                logger.exception("%s: %s failed", self._route.url, self._replay)
            self._route.abort()  # the app must not wait for ever

    async def _play(self) -> None:
        socket = self._recorded.socket
        pace = Pace(socket.opened_ns or socket.asked_ns, self._replay._speed)
        with Capture(self._replay.path) as capture:
            frames = capture.frames(
                after=self._recorded.first - 1, until=self._recorded.last, socket=socket.id
            )
            script = map(self._whole, steps(frames, "server"))
            if self._replay._match == "timed":
                await play_timed(script, self.send, pace)
            elif not await play_lockstep(script, self, pace, self._replay._same, self._judge):
                return
        self._replay.finished += 1
        await self._end(socket, pace)

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
        if code == 1006:
            self._route.abort()
        elif code == 1005:
            self._route.close()
        else:
            self._route.close(code, reason)

    def _remember_end(self, code: int, reason: str) -> None:
        self._server_end = code, reason

    def _whole(self, step: Step) -> Step:
        if step.is_ours and not step.is_whole:
            what = f"the server's message {step.number} of socket #{self._recorded.socket.id}"
            raise CaptureError(
                f"{self._replay.path}: {what} was recorded only in part (max_payload), and cannot be played"
            )
        return step

    def _judge(self, step: Step | None, live: Payload | None) -> Verdict:
        replay = self._replay
        expected = None if step is None else step.payload
        mismatch = Mismatch(
            self._route.url, self._recorded.socket.id, self._count, expected, live, replay._same
        )
        replay.mismatches.append(mismatch)
        logger.warning("%s", mismatch)
        if replay._on_mismatch == "wait":
            return "again"
        if self._server is None:
            self._route.abort()
        else:
            self._pass_on(self._server, live)
        return "stop"

    def _pass_on(self, server: RouteSide, live: Payload | None) -> None:
        """From this message on the live server answers."""
        if live is not None:
            server.send(live)
        while not self._came.empty():
            server.send(self._came.get_nowait())
        self._route.on_message(server.send)
        server.on_message(self._route.send)
        server.on_close(self._server_ended)
        if self._server_end is not None:
            self._server_ended(*self._server_end)
