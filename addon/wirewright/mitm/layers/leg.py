"""One direction of a socket, between its two connections, and how far its closing is."""

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
from wirewright.wire.frames import CloseCode, FrameCutter, Opcode, ProtocolError, decode_close
from wirewright.wire.observer import Demand
from wirewright.wire.reader import Control, Deflated, Event, Violation
from wirewright.wire.stream import Close, Ours, Stream

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
        """Those of the first items. None while none was weighed: thousands of sockets have such a queue."""

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
    if isinstance(item, (Control, Deflated)):
        return ITEM_BYTES + sys.getsizeof(item.payload)
    if isinstance(item, Injected):
        return ITEM_BYTES + sys.getsizeof(item.ours)
    return ITEM_BYTES + (sys.getsizeof(item) if isinstance(item, (str, bytes)) else 0)


@dataclass
class Leg:
    """One direction: from whom, to where, and how far its closing is."""

    direction: Direction
    destination: "Connection | None"
    """None for a server that is not there: an addon answers in its stead, or it has gone before the app."""
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
    """Of the memory budget; None before anything had to wait."""
    is_paused: bool = False
    """True while reading from the source is paused: more than `max_held` bytes wait."""
    has_dropped_messages: bool = False
    """True once messages were dropped: the source had to be read for its end, above `max_held`."""
    undecided: bool = False
    """True while the decision on an offered message is open."""
    compresses: bool = False
    """True if the undecided message is forwarded compressed."""
    closed: bool = False
    """Whether its source has sent a close frame."""
    copied: bool = False
    """True once that close frame was forwarded to the destination."""
    violated: bool = False
    failure: ProtocolError | None = None
    """A violation by the source that was forwarded, so that the destination fails the socket."""
    bad_frame: FrameCutter | None = None
    """The frame that broke the protocol: its destination may judge it once it has all of it."""
    lost: bool = False
    """Whether its source's connection has ended."""
    ordered_close: Close | None = None
    """The close frame with which a route closed the destination: the other side gets the same."""
    timer: object = None
    """The timer for the answer to our close frame, or for items that wait after the loss of the source."""

    @property
    def told(self) -> bool:
        """True once its destination was sent a close frame, the source's or one of ours."""
        return self.copied or self.stream.ended

    @property
    def end_of_source(self) -> "End":
        """How its source ended: by a close frame that still waits for its turn, or by the loss of its
        connection."""
        for each in self.held:
            if isinstance(each, Control) and each.opcode == Opcode.CLOSE:
                with suppress(ProtocolError):
                    return End(self.direction, *decode_close(each.payload))
        return End(self.direction)

    @property
    def is_cut(self) -> bool:
        """True if nothing more may be sent to its destination, because a close frame of ours was."""
        return self.stream.ended and self.destination is not None

    @property
    def is_over(self) -> bool:
        """True if the source has closed, or if its bytes are ignored after a violation."""
        return self.closed or (self.violated and self.stream.ended)


@dataclass
class End:
    """How the socket ended: by the first close frame, or by a TCP connection that was lost."""

    direction: Direction | None
    """That of the frame, or of the lost connection's messages; None if the proxy ended it."""
    code: int = CloseCode.ABNORMAL
    reason: str | None = None
