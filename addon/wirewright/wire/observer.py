"""Whom the wire asks, and tells: what is above it implements this."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol

from wirewright.values import Conditions, Direction, Payload
from wirewright.wire.lazy import Unread
from wirewright.wire.reader import Control
from wirewright.wire.stream import Ours


class _Undecided(Enum):
    UNDECIDED = "undecided"


UNDECIDED: Final = _Undecided.UNDECIDED

Decision = Payload | None | Literal[_Undecided.UNDECIDED]
"""What becomes of a held message: it is sent on as this, it is dropped (None), or that is not known yet."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is wanted of one direction."""

    holds: bool
    """Whether anyone may change its messages."""
    limit: int
    """The largest message, in bytes, that anyone wants; 0 if nobody wants any."""
    heard: bool
    """Whether anyone is to be told of the messages as they come."""
    routed: bool = False
    """Whether a route handles them."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of the message of one direction that was undecided."""

    direction: Direction
    payload: Payload | None


@dataclass(frozen=True, slots=True)
class Order:
    """What a route has one side be sent, or the conditions under which messages go in one direction."""

    direction: Direction
    ours: Ours | Conditions


class Observer(Protocol):
    """One socket's."""

    orders: list[Order]
    """What a route has ordered while the layer was waiting for the observer; the layer takes it from here."""

    max_message: int
    """The largest message, in bytes, that is read or held."""

    max_held: int
    """How many bytes of messages may wait in one direction before its source is not read any more."""

    def opened(self) -> None:
        """The layer is there, and has taken the orders."""

    def demand(self, *, direction: Direction) -> Demand:
        """What is wanted of a direction now; the same object as long as nothing has changed."""

    def offer(self, payload: Payload, *, direction: Direction, injected: bool) -> Decision:
        """A message is held. If this is undecided, the layer is told later, by a `DecidedEvent`, and offers
        nothing more of this direction until then."""

    def offer_over(self, *, direction: Direction) -> None:
        """Nothing becomes of the message that was offered last itself; what a route has ordered for it has
        been sent."""

    def keeps_close(self, *, direction: Direction) -> bool:
        """Whether the end of one side is nothing to the other: a route sees to that."""

    def closed(self, code: int, reason: str, *, direction: Direction) -> None:
        """A side that is kept has closed (or was lost: 1006)."""

    def passed(self, payloads: Sequence[Payload], *, direction: Direction, injected: bool) -> None:
        """Messages that have passed."""

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        """What a route has ordered has been sent in this direction."""

    def passed_unheard(self, messages: Unread, *, direction: Direction) -> None:
        """Messages have passed of which nobody has to be told."""

    def too_large(self, *, direction: Direction) -> None:
        """A message has passed that is larger than what was wanted."""

    def controls(self, frames: Sequence[Control], *, direction: Direction, injected: bool) -> None:
        """Pings and pongs, or a close frame, have passed; `injected` ones are our own."""

    def failed(self, message: str) -> None:
        """An end violated the protocol."""
