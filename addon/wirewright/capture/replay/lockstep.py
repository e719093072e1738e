"""One recorded socket as a script: what one side says, and what the other one is expected to say.

It knows no sockets: a `Peer` is whoever is live.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from wirewright.capture.errors import CaptureError
from wirewright.capture.records import Frame, FrameFlag
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
    """Of this side's messages, from 1."""
    time_ns: int
    direction: Direction
    payload: Payload
    is_whole: bool
    """Whether all of it was recorded."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A live message that is not the recorded one."""

    url: str
    """Of the live socket."""
    socket: int
    """The number of the recorded socket."""
    number: int
    """Which of the live side's messages, from 1."""
    expected: Payload | None
    """None where the recording has no more."""
    actual: Payload | None
    """None where nothing came."""
    compare: Comparison
    """By which they are not the same."""

    @property
    def diff(self) -> str:
        """What differs, in readable lines: `-` was recorded, `+` came."""
        return difference(self.expected, self.actual, self.compare)

    def __str__(self) -> str:
        what = f"message {self.number} is not the recorded one (of socket #{self.socket})"
        return f"{SHOWN.url(self.url)}: {what}:\n{self.diff}"


class Peer(Protocol):
    """The live side."""

    async def send(self, message: Payload) -> None:
        """Send it a message."""

    async def receive(self) -> Payload | None:
        """Its next message; None if there will be no more."""


def played_direction(role: Role) -> Direction:
    """The direction of the messages that a player with this role sends."""
    return Direction.RECEIVED if role == "server" else Direction.SENT


def steps(frames: Iterable[Frame], role: Role) -> Iterator[Step]:
    """The messages of a socket: ours as they reached the other side, its as it has sent them.

    Raises CaptureError at one of ours of which only a part is known.

    So a server that is played sends what the app has got, and expects what the app said before anything
    was changed, dropped or added on the way.
    """
    played = played_direction(role)
    numbers = dict.fromkeys(Direction, 0)
    for frame in frames:
        is_played = frame.direction is played
        payload = _arrived(frame) if is_played else _said(frame)
        if frame.is_message and payload is not None:
            numbers[frame.direction] += 1
            whole = FrameFlag.TRUNCATED not in frame.flags
            if is_played and not whole:
                what = f"the {role}'s message {numbers[played]} of socket #{frame.socket_id}"
                raise CaptureError(f"{what} was recorded only in part (max_payload), and cannot be played")
            yield Step(numbers[frame.direction], frame.time_ns, frame.direction, payload, whole)


def _arrived(frame: Frame) -> Payload | None:
    return None if frame.is_dropped else frame.payload


def _said(frame: Frame) -> Payload | None:
    if FrameFlag.INJECTED in frame.flags:
        return None
    return frame.payload if frame.original is None else frame.original


class Pace:
    """Recorded times as times of now."""

    def __init__(self, recorded_ns: int, speed: float) -> None:
        self._speed = speed
        self.is_now(recorded_ns)

    def is_now(self, recorded_ns: int) -> None:
        """What was recorded then happens at this moment: what follows is as far from it."""
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
    """Our messages, each after all that the other side has said before it; whether it came to the end.

    `judge` is told of a live message that differs from its step, or (None) comes after the end of the other's
    messages, or does not come at all.
    """
    played = played_direction(role)
    for step in script:
        if step.direction is played:
            await pace.until(step.time_ns)
            await peer.send(step.payload)
        elif not await _expect(step, peer, same, judge):
            return False
        else:
            pace.is_now(step.time_ns)
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
