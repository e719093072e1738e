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
    """What was wanted of it last."""
    held: HeldQueue = field(default_factory=HeldQueue)
    """In HOLD, what waits for its turn."""
    unread: bytes = b""
    """Data of its source that is read once less of it waits."""
    undecided_size: int = 0
    """Bytes of memory of the message that is undecided."""
    share: Share | None = None
    """Of the memory budget; None before anything had to wait."""
    is_paused: bool = False
    """Whether reading from its source is paused, as too much of it waits."""
    is_cut_short: bool = False
    """Whether messages were dropped, as too much waited while its source had to be read."""
    undecided: bool = False
    """Whether a message is offered, and nobody has said yet what becomes of it."""
    compresses: bool = False
    """True if the undecided message is forwarded compressed."""
    closed: bool = False
    """Whether its source has sent a close frame."""
    copied: bool = False
    """Whether that has gone on to its destination."""
    violated: bool = False
    failure: ProtocolError | None = None
    """A violation by the source that was forwarded, so that the destination fails the socket."""
    bad_frame: FrameCutter | None = None
    """The frame that broke the protocol: its destination may judge it once it has all of it."""
    lost: bool = False
    """Whether its source's connection has ended."""
    ordered_close: Close | None = None
    """What a route has closed its destination with: the other side is closed with the same."""
    timer: object = None
    """What tells when its destination has had the time to answer a close frame of ours, or the time is up for
    what waits after the loss of its source."""

    @property
    def told(self) -> bool:
        """Whether its destination has been sent a close frame, the source's or one of ours."""
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
        """Whether nothing more may go to its destination, as a close frame of ours has."""
        return self.stream.ended and self.destination is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of its source: that has closed, or is not listened to any more."""
        return self.closed or (self.violated and self.stream.ended)


@dataclass
class End:
    """How the socket ended: by the first close frame, or by a TCP connection that was lost."""

    direction: Direction | None
    """That of the frame, or of the lost connection's messages; None if the proxy ended it."""
    code: int = CloseCode.ABNORMAL
    reason: str | None = None
