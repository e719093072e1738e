"""The bounded queue of messages to one client. A slow client is told how many frames it missed."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from wirewright.memory import ITEM_BYTES, MemoryUse, budget
from wirewright.remote import protocol
from wirewright.remote.protocol import Event
from wirewright.remote.snapshots import size_of, smaller
from wirewright.values import Payload, payload_size

FRAME_BYTES = 64 * 1024 * 1024
"""Bytes of frames that may wait. Further frames are left out and counted."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes of all other messages that may wait. A client with more is disconnected."""
CROWDED_BYTES = 16 * 1024 * 1024
"""While more bytes of other messages wait than this, further ones are sent without header fields."""
BATCH, BATCH_BYTES = 1_000, 1024 * 1024
"""How many frames go into one message at most, and how many bytes before others are put into another one."""


class Outbox:
    """The queue of one client. It is used in one event loop."""

    def __init__(self, overflow: Callable[[], object] = lambda: None) -> None:
        """`overflow` is called once, when more waits than any client may leave waiting."""
        self._share = budget.share(MemoryUse.QUEUED)
        self._overflow: Callable[[], object] | None = overflow
        self._waiting: deque[Any] = deque()
        self._weights: deque[int] = deque()
        self._weight = 0
        """Bytes of the frames."""
        self._other_weight = 0
        self._numbers: dict[tuple[str, Event], int] = {}
        self._missed: dict[tuple[str, Event], tuple[int, int]] = {}
        self._is_filled = asyncio.Event()

    def put(self, message: Any) -> None:
        """Anything but frames. Header fields are left out while too much waits."""
        weight = _weight(message)
        if self._other_weight + weight > CROWDED_BYTES and (less := smaller(message)) is not None:
            message, weight = less, _weight(less)
        # A message alone is no reason to send a client away: others may have made it as large as it is.
        is_full = self._other_weight and self._other_weight + weight > MOST_BYTES
        self._other_weight += weight
        if is_full and self._overflow is not None:
            overflow, self._overflow = self._overflow, None
            overflow()
        self._append(message, 0)

    @property
    def is_crowded(self) -> bool:
        """True while so much waits, beside frames, that header fields are left out."""
        return self._other_weight > CROWDED_BYTES

    def frames(self, key: str, event: Event, payloads: Sequence[Payload], at: float) -> None:
        """Frames of a socket that came at the same time."""
        weight = sum(map(payload_size, payloads)) + ITEM_BYTES * len(payloads)
        number = self._numbers.get((key, event), 0)
        self._numbers[key, event] = number + len(payloads)
        is_full = self._weight + weight > FRAME_BYTES and self._weight
        if is_full or not budget.admits(weight, self._weight):
            frames, size = self._missed.get((key, event), (0, 0))
            lost = weight - ITEM_BYTES * len(payloads)
            self._missed[key, event] = frames + len(payloads), size + lost
            return
        self._tell_missed(key, event)
        last: Any = self._waiting[-1] if self._waiting else None
        is_same = isinstance(last, protocol.Frames) and (last.key, last.event) == (key, event)
        if is_same and len(last.payloads) < BATCH and self._weights[-1] < BATCH_BYTES:
            last.payloads.extend(payloads)
            self._weights[-1] += weight
            self._weight += weight
            self._report_memory()
        else:
            self._append(protocol.Frames(key, event, number, list(payloads), at), weight)

    def closed(self, message: protocol.Closed) -> None:
        """The end of a socket, and before it what was missed of it."""
        for key, event in [each for each in self._missed if each[0] == message.key]:
            self._tell_missed(key, event)
        for event in ("framesent", "framereceived"):
            self._numbers.pop((message.key, event), None)
        self.put(message)

    async def take(self) -> Any:
        """The next message, once there is one."""
        while not self._waiting:
            for key, event in list(self._missed):
                self._tell_missed(key, event)
            if not self._waiting:
                self._is_filled.clear()
                await self._is_filled.wait()
        self._weight -= self._weights.popleft()
        message = self._waiting.popleft()
        self._report_memory()
        if not isinstance(message, (protocol.Frames, protocol.Missed)):
            self._other_weight -= _weight(message)
        return message

    def _report_memory(self) -> None:
        self._share.follow(self._weight + self._other_weight)

    def _append(self, message: Any, weight: int) -> None:
        self._waiting.append(message)
        self._weights.append(weight)
        self._weight += weight
        self._report_memory()
        self._is_filled.set()

    def _tell_missed(self, key: str, event: Event) -> None:
        if lost := self._missed.pop((key, event), None):
            self._append(protocol.Missed(key, event, *lost), 0)


def _weight(message: Any) -> int:
    """About the memory of a message without frames. A RouteMessage's payload is in memory anyway."""
    match message:
        case protocol.Opening(socket=socket) | protocol.Routed(socket=socket):
            size = size_of(socket)
        case protocol.Changed():
            size = size_of(message)
        case protocol.Welcome(sockets=sockets):
            size = sum(ITEM_BYTES + size_of(socket) for socket in sockets)
        case (
            protocol.Asked(url=text)
            | protocol.Outside(url=text)
            | protocol.Failed(message=text)
            | protocol.Refused(message=text)
        ):
            size = len(text)
        case _:
            size = 0
    return 500 + size
