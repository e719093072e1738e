"""The network between an app and the proxy as a user describes it: presets, parameters, plans by time."""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from wirewright.model.awaitables import Completion
from wirewright.model.errors import Error
from wirewright.model.event_loops import call_in_loop, running_loop
from wirewright.model.ownership import current_owner
from wirewright.model.scope import Scope
from wirewright.model.socket_text import end_text
from wirewright.values import Conditions, Direction

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls

Milliseconds = float | timedelta
Directions = Literal["both", "sent", "received"]
"""The directions of messages, as the app sees them."""
_DIRECTIONS: Mapping[str, tuple[Direction, ...]] = {
    "both": tuple(Direction),
    **{each.value: (each,) for each in Direction},
}
Preset = Literal["offline", "lift", "edge", "slow-3g", "3g", "fast-3g", "4g"]
"""The name of a network. docs/routes.md has the numbers, and where they are from."""
Plan = Sequence[tuple[float, Preset | Mapping[str, Any]]]
"""The conditions by time: seconds since the call, each with a preset or a dict of parameters."""

_Parameters = Mapping[str, Any]


def _network(*, round_trip: float, up: float, down: float) -> dict[Direction, _Parameters]:
    """The parameters of a network: its round-trip time in milliseconds, kbit/s from the app and to it."""
    speeds = {Direction.SENT: up, Direction.RECEIVED: down}
    return {
        direction: {"latency": round_trip / 2, "bytes_per_second": kilobits * 1000 / 8}
        for direction, kilobits in speeds.items()
    }


def _symmetrical(**parameters: float) -> dict[Direction, _Parameters]:
    return dict.fromkeys(Direction, parameters)


PRESETS: Mapping[str, Mapping[Direction, _Parameters]] = {
    "offline": _symmetrical(stall_after=0),
    # TCP loses nothing: in a lift messages are repeated until they arrive, late and many at once.
    "lift": _symmetrical(latency=1500, jitter=1400, bytes_per_second=6000),
    # The connectivity profiles of WebPageTest
    "edge": _network(round_trip=840, up=200, down=240),
    "slow-3g": _network(round_trip=400, up=400, down=400),
    "3g": _network(round_trip=300, up=768, down=1600),
    "fast-3g": _network(round_trip=150, up=768, down=1600),
    "4g": _network(round_trip=170, up=9000, down=9000),
}
"""By name, the parameters of each direction."""
PARAMETERS = ("latency", "jitter", "bytes_per_second", "drop", "duplicate", "reorder", "stall_after")
"""The parameters that a preset, a call and a step of a plan may set."""


@dataclass(frozen=True, slots=True)
class NetworkStep:
    """The conditions of some directions, from a moment on."""

    seconds: float
    """Seconds since the call."""
    conditions: Mapping[Direction, Conditions]


def steps_of(
    preset: Preset | None,
    plan: Plan | None,
    *,
    direction: Directions,
    seed: int | None,
    parameters: _Parameters,
) -> list[NetworkStep]:
    """The steps that a call of `conditions` demands. A parameter of None is that of the preset.

    Raises ValueError and TypeError for values that are not possible.
    """
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction must be {_listed(_DIRECTIONS)}, not {direction!r}")
    directions = _DIRECTIONS[direction]
    seed = secrets.randbits(32) if seed is None else seed
    given = {name: value for name, value in parameters.items() if value is not None}
    if plan is None:
        return [NetworkStep(0.0, _conditions(preset, given, directions, seed))]
    if preset is not None or given:
        raise ValueError("give a plan, or the conditions themselves, but not both")
    return [
        NetworkStep(seconds, _conditions(*_described(what), directions, seed))
        for seconds, what in _timed(plan)
    ]


def _timed(plan: Plan) -> list[tuple[float, Any]]:
    """The steps of a plan. Raises ValueError and TypeError where they are none, or not in order."""
    wanted = 'a plan must be a list of (seconds, conditions), such as [(0, "3g"), (5, "offline")]'
    if isinstance(plan, str | Mapping):
        raise TypeError(f"{wanted}, not {plan!r}")
    try:
        steps = [(seconds, what) for seconds, what in plan]
    except (TypeError, ValueError):
        raise TypeError(f"{wanted}, not {plan!r}") from None
    if not steps:
        raise ValueError(f"{wanted}, and not empty")
    before = -math.inf
    for seconds, _ in steps:
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise TypeError(f"the time of a plan's step must be seconds, not {seconds!r}")
        if not math.isfinite(seconds) or seconds < 0 or seconds <= before:
            raise ValueError(
                f"the times of a plan must be 0 or more seconds and rise, but {seconds!r} does not"
            )
        before = seconds
    return steps


def _described(what: Any) -> tuple[Any, _Parameters]:
    """The preset and the parameters of a plan's step."""
    if not isinstance(what, Mapping):
        return what, {}
    parameters = dict(what)
    preset = parameters.pop("preset", None)
    if unknown := [name for name in parameters if name not in PARAMETERS]:
        raise ValueError(f"a step of a plan has {_listed(('preset', *PARAMETERS))}, but no {unknown[0]!r}")
    return preset, {name: value for name, value in parameters.items() if value is not None}


def _conditions(
    preset: object, parameters: _Parameters, directions: Sequence[Direction], seed: int
) -> dict[Direction, Conditions]:
    if preset is not None and (not isinstance(preset, str) or preset not in PRESETS):
        raise ValueError(f"preset must be {_listed(PRESETS)}, not {preset!r}")
    base = PRESETS[preset] if isinstance(preset, str) else {}
    times = {name: _milliseconds(parameters[name]) for name in ("latency", "jitter") if name in parameters}
    return {
        each: Conditions(**{**base.get(each, {}), **parameters, **times, "seed": seed}) for each in directions
    }


def _milliseconds(value: Milliseconds) -> float:
    return value / timedelta(milliseconds=1) if isinstance(value, timedelta) else value


def _listed(names: Sequence[str] | Mapping[str, object]) -> str:
    return ", ".join(map(repr, names))


class PlannedNetwork:
    """Puts the network of one socket under conditions, now and by plans. A new call ends the plan that runs
    in its directions."""

    def __init__(
        self,
        order: Callable[[Conditions, Direction], Awaitable[None] | None],
        is_closed: Callable[[], bool],
        scope: Scope,
        source: "WebSocket",
    ) -> None:
        """`order` has the conditions of a direction changed. `source` is the socket, for the log."""
        self._order, self._is_closed = order, is_closed
        self._scope, self._source = scope, source
        self._plans: dict[Direction, asyncio.Task[object]] = {}
        self._now: dict[Direction, Conditions] = {}
        """The conditions that were ordered last."""

    def follow(self, steps: Sequence[NetworkStep]) -> Awaitable[None] | None:
        """Order the first step if its time is now, and have the others ordered in time.

        Returns the answer to the first one. Raises Error for a plan outside of the event loop, and for a
        closed socket, unless it was under conditions: messages may still be stuck then.
        """
        if self._is_closed() and not self._now:
            raise Error(end_text(self._source))
        first = steps[0]
        later = steps if first.seconds else steps[1:]
        if later and running_loop() is None:
            raise Error("a plan must be started inside the event loop of the proxy")
        for direction in first.conditions:
            self._end_plan(direction)
        answer = None
        if not first.seconds:
            for direction in first.conditions:
                answer = self._set(first, direction)
        for direction in first.conditions if later else ():
            self._plans[direction] = self._scope.start(
                self._run(later, direction), current_owner(), self._source
            )
        return answer

    def _set(self, step: NetworkStep, direction: Direction) -> Awaitable[None] | None:
        self._now[direction] = step.conditions[direction]
        return self._order(step.conditions[direction], direction)

    def _end_plan(self, direction: Direction) -> None:
        """Cancel the plan of a direction. From any thread."""
        if (task := self._plans.pop(direction, None)) is not None:
            call_in_loop(task.get_loop(), task.cancel)

    async def _run(self, steps: Sequence[NetworkStep], direction: Direction) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for step in steps:
            await asyncio.sleep(began + step.seconds - loop.time())
            if self._is_closed() and not self._holds_back(direction):
                return
            with suppress(Error):  # the connections are gone
                self._set(step, direction)

    def _holds_back(self, direction: Direction) -> bool:
        """True if something may be stuck, which would wait for other conditions for ever."""
        now = self._now.get(direction)
        return now is not None and now.stall_after is not None


def conditions(
    self: Any,
    preset: Preset | None = None,
    *,
    latency: Milliseconds | None = None,
    jitter: Milliseconds | None = None,
    bytes_per_second: float | None = None,
    drop: float | None = None,
    duplicate: float | None = None,
    reorder: float | None = None,
    stall_after: int | None = None,
    seed: int | None = None,
    direction: Directions = "both",
    plan: Plan | None = None,
) -> Completion[Conditions]:
    """Simulate a network between the app and the proxy from now on; without arguments, a perfect one.

    It may be called at any time, with or without a route, for a mocked server, too. `preset` is a network
    by its name, such as "3g" or "offline"; the other parameters replace its own. Each message is delayed
    by `latency` milliseconds, plus or minus up to `jitter`, and follows the message before it at
    `bytes_per_second`. `drop`, `duplicate` and `reorder` are the probabilities, from 0 to 1, that a
    message is lost, arrives twice, or changes places with the next one. After `stall_after` messages in a
    direction, nothing passes in it any more, pings and closes included; the connections stay open. Stalled
    messages arrive when the conditions change. Frames that are not messages are delayed, and keep their
    place.

    `plan` changes the conditions by time: `[(0, "3g"), (5, "offline"), (8, {"latency": 50})]` are seconds
    since the call, with a preset or a dict of parameters. A new call for the same directions ends it, and so
    does the end of the script that called. The end of the socket ends it once nothing is stuck.

    The same `seed` gives the same result for the same messages; the default is a random one. `direction`
    is the direction as the app sees it. Returns the conditions, with the seed in use: those of messages
    to the app if the directions differ, and those of the first step of a plan. Raises ValueError or
    TypeError for values that are not possible, and Error with `ws_lane=hooks`, for a plan outside of the
    proxy's event loop, and on a closed socket that was not under conditions. The result of
    `WebSocket.conditions` is awaited in the async API.
    """
    parameters = {
        "latency": latency,
        "jitter": jitter,
        "bytes_per_second": bytes_per_second,
        "drop": drop,
        "duplicate": duplicate,
        "reorder": reorder,
        "stall_after": stall_after,
    }
    steps = steps_of(preset, plan, direction=direction, seed=seed, parameters=parameters)
    return Completion(self._network.follow(steps), [*steps[0].conditions.values()][-1])
