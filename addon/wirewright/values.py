"""Small values that all rooms share: directions, payloads, network conditions, the version."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Literal

__tracebackhide__ = True  # pytest shows the line that calls

VERSION = "0.1.0"
"""The version of Wirewright."""

Payload = str | bytes
"""`str` for a text message, `bytes` for a binary one."""


def payload_size(payload: Payload) -> int:
    """Bytes of a message, before compression."""
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return len(payload.encode(errors="surrogatepass"))


FrameEvent = Literal["framesent", "framereceived"]

ClosedBy = Literal["client", "server", "proxy"]


class Direction(StrEnum):
    """The direction of a message, as in the events `framesent` and `framereceived`."""

    SENT = "sent"
    """From the client to the server."""
    RECEIVED = "received"
    """From the server to the client."""

    __hash__ = str.__hash__  # each message looks up some: Enum's own is not in C

    @cached_property
    def opposite(self) -> "Direction":
        """The other direction."""
        return Direction.RECEIVED if self is Direction.SENT else Direction.SENT

    @cached_property
    def event(self) -> FrameEvent:
        """The event of a WebSocket that reports a message of this direction."""
        return "framesent" if self is Direction.SENT else "framereceived"


CLOSED_BY: Mapping[bool | None, ClosedBy] = {True: "client", False: "server", None: "proxy"}
"""By the value of mitmproxy's `closed_by_client`."""
DIRECTIONS: Mapping[FrameEvent, Direction] = {each.event: each for each in Direction}
"""By the event that reports a message of the direction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One direction of a simulated network between an app and the proxy. The defaults change nothing."""

    latency: float = 0.0
    """Milliseconds by which each message is delayed."""
    jitter: float = 0.0
    """Milliseconds by which the latency varies, up or down. The messages stay in their order."""
    bytes_per_second: float | None = None
    """The bandwidth; None for no limit."""
    drop: float = 0.0
    """The probability, from 0 to 1, that a message is lost."""
    duplicate: float = 0.0
    """The probability that a message is delivered twice."""
    reorder: float = 0.0
    """The probability that a message changes places with the next one."""
    stall_after: int | None = None
    """The number of messages after which nothing is delivered any more. The connection stays open."""
    seed: int = 0
    """The seed of the random decisions. The same seed makes the same decisions about the same messages."""

    def __post_init__(self) -> None:
        for name in ("latency", "jitter"):
            _check(name, getattr(self, name), 0, math.inf, "milliseconds, 0 or more")
        for name in ("drop", "duplicate", "reorder"):
            _check(name, getattr(self, name), 0, 1, "a probability from 0 to 1")
        if self.bytes_per_second is not None:
            _check("bytes_per_second", self.bytes_per_second, 0, math.inf, "more than 0, or None")
            if not self.bytes_per_second:
                raise ValueError("bytes_per_second must be more than 0: with stall_after=0 nothing passes")
        if self.stall_after is not None and (not _is_whole(self.stall_after) or self.stall_after < 0):
            raise ValueError(f"stall_after must be a number of messages, or None, not {self.stall_after!r}")
        if not _is_whole(self.seed):
            raise TypeError(f"seed must be an int, not {self.seed!r}")

    @property
    def is_perfect(self) -> bool:
        """True if these conditions change nothing."""
        return self == Conditions(seed=self.seed)


def _check(name: str, value: float, least: float, most: float, what: str) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name} must be {what}, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
