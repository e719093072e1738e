"""The actions by which a socket closes: return values of the closing machine, which a layer carries out."""

from dataclasses import dataclass
from enum import Enum

from wirewright.values import Direction
from wirewright.wire.frames import CloseCode
from wirewright.wire.stream import Close


@dataclass(frozen=True, slots=True)
class End:
    """How a socket ended: by the first close frame, or by the loss of a connection."""

    direction: Direction | None
    """The direction of the frame, or of the lost source. None if the proxy ended the socket."""
    code: int = CloseCode.ABNORMAL
    reason: str | None = None


class Timer:
    """A time limit. Timers differ by identity."""


class Place(Enum):
    """Where a close frame of ours goes."""

    NEXT = "next"
    """Behind what was sent before it, as soon as a frame fits."""
    LAST = "last"
    """Behind the messages that are held, too."""
    NOW = "now"
    """At once, or never if no frame fits: the connection ends."""


CLOSING_SECONDS = 2.0
"""How long the ends may take to answer a close frame of ours."""


@dataclass(frozen=True, slots=True)
class _OfDirection:
    direction: Direction


@dataclass(frozen=True, slots=True)
class ForwardClose:
    """Send the close frame of the source on to the destination."""

    direction: Direction
    instead: Close | None
    """The close frame that is sent in its place: the one that the source has answered."""


@dataclass(frozen=True, slots=True)
class SendClose:
    """Send a close frame of ours, and report that by `close_sent` when it has gone out."""

    direction: Direction
    close: Close
    place: Place = Place.NEXT


class ForwardViolation(_OfDirection):
    """Send bytes that break the protocol on, so that the destination fails the socket."""


class StopForwarding(_OfDirection):
    """Forward nothing more in this direction: no close frame fits into bytes that cannot be read."""


class QueueLoss(_OfDirection):
    """Have `lost` called once the messages that wait in this direction are dealt with."""


class DropHeld(_OfDirection):
    """Drop the messages that wait in this direction."""


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Have `time_is_up` called with this timer after CLOSING_SECONDS."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """Report that an end broke the protocol."""

    message: str


@dataclass(frozen=True, slots=True)
class NotifyRoute:
    """Notify the route that handles the close of this direction's source."""

    direction: Direction
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReportEnd:
    """Report how the socket ended."""

    end: End


class EndConnection(_OfDirection):
    """End the connection of this direction's source."""


Action = (
    ForwardClose
    | SendClose
    | ForwardViolation
    | StopForwarding
    | QueueLoss
    | DropHeld
    | StartTimer
    | ReportFailure
    | NotifyRoute
    | ReportEnd
    | EndConnection
)
