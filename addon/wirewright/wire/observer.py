"""The interface through which the wire reports to its user and asks for decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, NamedTuple, Protocol

from wirewright.values import Conditions, Direction, Payload
from wirewright.wire.reader_events import ControlFrame, LazyBatch
from wirewright.wire.stream import Ours


class _Undecided(Enum):
    UNDECIDED = "undecided"


UNDECIDED: Final = _Undecided.UNDECIDED

Decision = Payload | None | Literal[_Undecided.UNDECIDED]
"""The decision on a held message: it is forwarded as this payload, dropped (None), or not decided yet."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The reading that one direction needs: HOLD or PASS, and the messages that are wanted."""

    holds: bool
    """True if a route or an addon may change its messages."""
    limit: int
    """The largest wanted message, in bytes; 0 if no messages are wanted."""
    heard: bool
    """True if messages have to be reported as they come."""
    routed: bool = False
    """True if a route handles them."""


@dataclass(frozen=True, slots=True)
class LateDecision:
    """The decision on the undecided message of one direction."""

    direction: Direction
    payload: Payload | None


class Order(NamedTuple):
    """An order of a route or a user: a message or close frame for a direction, or its new conditions."""

    direction: Direction
    ours: Ours | Conditions


class Observer(Protocol):
    """The observer of one socket."""

    max_message: int
    """The largest message, in bytes, that is read or held."""

    max_held: int
    """How many bytes of messages may wait in one direction before its source is not read any more."""

    def opened(self) -> Sequence[Order]:
        """The layer is there. Returns the orders until now; later ones are events."""

    def demand(self, *, direction: Direction) -> Demand:
        """The current demand for a direction: the same object until it changes."""

    def offer(
        self, payload: Payload, *, direction: Direction, injected: bool
    ) -> tuple[Decision, Sequence[Order]]:
        """A message is held. Returns the decision, and what a route has ordered for the message.

        If it is undecided, a `DecisionInjected` follows. Until then no message of this direction is offered.
        """

    def handles_close(self, *, direction: Direction) -> bool:
        """True if a route handles this side's close, so that it is not forwarded."""

    def closed(self, code: int, reason: str, *, direction: Direction) -> Sequence[Order]:
        """A side that is kept has closed (or was lost: 1006). Returns what a route has ordered then."""

    def passed(self, payloads: Sequence[Payload], *, direction: Direction, injected: bool) -> None:
        """Messages were forwarded."""

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        """A message that a route ordered was sent in this direction."""

    def passed_unread(self, messages: LazyBatch, *, direction: Direction) -> None:
        """Messages were forwarded unread, because they are only remembered."""

    def too_large(self, *, direction: Direction) -> None:
        """A message is forwarded unread: it is larger than the demand's limit, or memory is short."""

    def controls(self, frames: Sequence[ControlFrame], *, direction: Direction, injected: bool) -> None:
        """Pings and pongs, or a close frame, were forwarded; `injected` ones are our own."""

    def failed(self, message: str) -> None:
        """An end violated the protocol."""
