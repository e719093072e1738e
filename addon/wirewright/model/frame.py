"""One message of a socket, as `ws.frames` and `ws.next_frame()` give it."""

import json
from typing import Any

from wirewright.values import Direction, Payload, payload_size

_SHOWN = 60
"""Characters or bytes of the payload that a repr shows."""


class Frame:
    """One whole message of a socket, which never changes. (RFC 6455 calls it a message.)"""

    # A frozen dataclass takes four times as long to make, and a wait makes one of each message.
    __slots__ = ("_at", "_direction", "_number", "_payload")

    def __init__(self, number: int, direction: Direction, payload: Payload, at: float) -> None:
        self._number = number
        self._direction = direction
        self._payload = payload
        self._at = at

    @property
    def number(self) -> int:
        """From 1, among all messages of the socket, in the order in which they passed the proxy."""
        return self._number

    @property
    def direction(self) -> Direction:
        """ "sent" (by the app) or "received" (from the server)."""
        return self._direction

    @property
    def payload(self) -> Payload:
        """str for a text message, bytes for a binary one."""
        return self._payload

    @property
    def at(self) -> float:
        """Seconds since the epoch."""
        return self._at

    @property
    def size(self) -> int:
        """Bytes of the payload, before compression."""
        return payload_size(self._payload)

    def json(self) -> Any:
        """The payload as JSON, also of a binary message. Raises ValueError if it is not JSON."""
        return json.loads(self._payload)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        rest = "…" if len(self._payload) > _SHOWN else ""
        return f"<Frame {self._number} {self._direction} {self._payload[:_SHOWN]!r}{rest}>"

    def _values(self) -> tuple[int, Direction, Payload, float]:
        return self._number, self._direction, self._payload, self._at
