"""Plays one side of a recorded socket, and expects the recorded messages of the other side.

It does no I/O: a `Peer` sends and receives the messages of the live side.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from wirewright.capture.errors import CaptureError
from wirewright.capture.records import FrameFlag, RecordedFrame
from wirewright.capture.replay.comparisons import SHOWN, Comparison, difference, is_same
from wirewright.values import Direction, Payload

Verdict = Literal["next", "again", "stop"]
"""After a message that differs: take it for the recorded one, wait for another one, or play no more."""
Role = Literal["server", "client"]
"""Whose messages are played."""


@dataclass(frozen=True, slots=True)
class Step:
    """A recorded message of either side."""

    number: int
    """The number of the message among those of this side, from 1."""
    time_ns: int
    direction: Direction
    payload: Payload
    is_whole: bool
    """True if all of it was recorded."""
    frame: int
    """Its id in the recording."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A live message that is not the recorded one."""

    url: str
    """The URL of the live socket."""
    socket: int
    """The number of the recorded socket."""
    number: int
    """The number of the message among those of the live side, from 1."""
    expected: Payload | None
    """The recorded message; None if the recording has no more."""
    actual: Payload | None
    """The live message; None if no message came."""
    compare: Comparison
    """The comparison for which they are not the same."""
    line: int | None = None
    """The number of the line of a cassette that has the recorded message."""

    @property
    def diff(self) -> str:
        """The difference in readable lines: `-` for the recorded message, `+` for the live one."""
        return difference(self.expected, self.actual, self.compare)

    def __str__(self) -> str:
        what = f"message {self.number} is not the recorded one (of socket #{self.socket})"
        return f"{SHOWN.url(self.url)}: {what}:\n{self.diff}"


class Peer(Protocol):
    """The live side."""

    async def send(self, message: Payload) -> None:
        """Send it a message."""

    async def receive(self) -> Payload | None:
        """Return the next message of the live side; None if there will be no more."""


def played_direction(role: Role) -> Direction:
    """The direction of the messages that a player with this role sends."""
    return Direction.RECEIVED if role == "server" else Direction.SENT


def steps(frames: Iterable[RecordedFrame], role: Role) -> Iterator[Step]:
    """The messages of a socket: those of the played side as they were delivered, others as they were sent.

    A played server sends the messages that reached the app. It expects the messages that the app sent, before
    a route changed, dropped or added any. Raises CaptureError for a message of the played side that was
    recorded only in part.
    """
    played = played_direction(role)
    numbers = dict.fromkeys(Direction, 0)
    for frame in frames:
        is_played = frame.direction is played
        payload = _arrived(frame) if is_played else _expected(frame)
        if frame.is_message and payload is not None:
            numbers[frame.direction] += 1
            whole = FrameFlag.TRUNCATED not in frame.flags
            if is_played and not whole:
                what = f"the {role}'s message {numbers[played]} of socket #{frame.socket_id}"
                raise CaptureError(f"{what} was recorded only in part (max_payload), and cannot be played")
            yield Step(numbers[frame.direction], frame.time_ns, frame.direction, payload, whole, frame.id)


def _arrived(frame: RecordedFrame) -> Payload | None:
    return None if frame.is_dropped else frame.payload


def _expected(frame: RecordedFrame) -> Payload | None:
    if FrameFlag.INJECTED in frame.flags:
        return None
    return frame.payload if frame.original is None else frame.original


class Pace:
    """Maps recorded times to times of the event loop, at a speed."""

    def __init__(self, recorded_ns: int, speed: float) -> None:
        self._speed = speed
        self.anchor(recorded_ns)

    def anchor(self, recorded_ns: int) -> None:
        """Map a recorded time to the present one. Later times are measured from it."""
        self._recorded_ns, self._now = recorded_ns, asyncio.get_running_loop().time()

    async def until(self, recorded_ns: int) -> None:
        """Wait until it is time for what was recorded then."""
        due = self._now + (recorded_ns - self._recorded_ns) / 1e9 / self._speed
        await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))


async def play_lockstep(
    script: Iterable[Step],
    role: Role,
    peer: Peer,
    pace: Pace,
    same: Comparison,
    judge: Callable[[Step | None, Payload | None], Verdict],
) -> bool:
    """Send each message after those recorded before it have come. Returns True at the end of the script.

    `judge` is called with a step and a live message that differs from it. The message is None if none came.
    """
    played = played_direction(role)
    for step in script:
        if step.direction is played:
            await pace.until(step.time_ns)
            await peer.send(step.payload)
        elif not await _expect(step, peer, same, judge):
            return False
        else:
            pace.anchor(step.time_ns)
    return True


async def _expect(
    step: Step,
    peer: Peer,
    same: Comparison,
    judge: Callable[[Step | None, Payload | None], Verdict],
) -> bool:
    while (live := await peer.receive()) is None or not await _is_expected(step, live, same):
        verdict = judge(step, live)
        if verdict != "again" or live is None:
            return verdict == "next" and live is not None
    return True


async def _is_expected(step: Step, live: Payload, same: Comparison) -> bool:
    if step.is_whole:
        return await is_same(same, step.payload, live)
    return live[: len(step.payload)] == step.payload  # more of it is not known


async def play_timed(
    script: Iterable[Step], role: Role, send: Callable[[Payload], Awaitable[None]], pace: Pace
) -> None:
    """Our messages, each at its time, whatever the other side says."""
    played = played_direction(role)
    for step in script:
        if step.direction is played:
            await pace.until(step.time_ns)
            await send(step.payload)
        elif step.number % 1_000 == 0:
            await asyncio.sleep(0)  # a long way to our next one must hold up nobody
