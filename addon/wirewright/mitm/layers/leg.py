"""One direction of a socket, between its two connections."""

import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Literal

from wirewright.memory import ITEM_BYTES, Share
from wirewright.values import Direction
from wirewright.wire.closing_actions import End
from wirewright.wire.frames import FrameCutter, Opcode, ProtocolError, decode_close
from wirewright.wire.observer import Demand
from wirewright.wire.reader_events import ControlFrame, Deflated, Event, Violation
from wirewright.wire.stream import Ours, Stream

if TYPE_CHECKING:
    from mitmproxy.connection import Connection


class Lost(Enum):
    LOST = "lost"
    """The source's connection has ended."""


@dataclass(frozen=True, slots=True)
class Injected:
    """Something of ours in a direction that is held."""

    ours: Ours


Held = Event | Injected | Violation | Literal[Lost.LOST]


class HeldQueue(deque[Held]):
    """The items of a direction in HOLD that wait for a decision on an earlier message, oldest first.

    It knows how much memory they take. An item is weighed only if it has to wait: most messages are decided
    at once.
    """

    weight: int
    """Bytes of memory of the items that were weighed."""

    def __init__(self, items: Iterable[Held] = ()) -> None:
        super().__init__(items)
        self.weight = 0
        self._weights: deque[int] | None = None
        """The weights of the first items. None while none was weighed: thousands of sockets have a queue."""

    def weigh(self) -> None:
        """Weigh the items that were added since the last call."""
        weights = self._weights = deque() if self._weights is None else self._weights
        new = [weight_of(item) for item in islice(reversed(self), len(self) - len(weights))]
        weights.extend(reversed(new))
        self.weight += sum(new)

    def popleft(self) -> Held:
        if self._weights:
            self.weight -= self._weights.popleft()
        return super().popleft()

    def clear(self) -> None:
        super().clear()
        self.weight, self._weights = 0, None


def weight_of(item: Held) -> int:
    """About how many bytes of memory an item takes that has to wait."""
    if isinstance(item, (ControlFrame, Deflated)):
        return ITEM_BYTES + sys.getsizeof(item.payload)
    if isinstance(item, Injected):
        return ITEM_BYTES + sys.getsizeof(item.ours)
    return ITEM_BYTES + (sys.getsizeof(item) if isinstance(item, (str, bytes)) else 0)


@dataclass(slots=True)
class Leg:
    """One direction: its bytes, and the messages of it that wait."""

    direction: Direction
    destination: "Connection"
    stream: Stream
    demand: Demand | None = None
    """The demand that was applied last."""
    held: HeldQueue = field(default_factory=HeldQueue)
    """In HOLD, the items that wait for a decision on an earlier message."""
    unread: bytes = b""
    """Bytes from the source that are parsed once fewer messages wait."""
    undecided_size: int = 0
    """Bytes of memory of the message that is undecided."""
    share: Share | None = None
    """The share of the memory budget; None before anything had to wait."""
    is_paused: bool = False
    """True while reading from the source is paused: more than `max_held` bytes wait."""
    has_dropped_messages: bool = False
    """True once messages were dropped: the source had to be read for its end, above `max_held`."""
    undecided: bool = False
    """True while the decision on an offered message is open."""
    compresses: bool = False
    """True if the undecided message is forwarded compressed."""
    bad_frame: FrameCutter | None = None
    """The frame that broke the protocol: its destination may judge it once it has all of it."""

    @property
    def end_of_source(self) -> End:
        """How its source ended: by a close frame that still waits for its turn, or by the loss of its
        connection."""
        for each in self.held:
            if isinstance(each, ControlFrame) and each.opcode == Opcode.CLOSE:
                with suppress(ProtocolError):
                    return End(self.direction, *decode_close(each.payload))
        return End(self.direction)
