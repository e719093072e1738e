"""One message of a socket, as `ws.frames` and `ws.next_frame()` give it."""

import json
from dataclasses import dataclass
from typing import Any

from wirewright.values import Direction, Payload, payload_size

_SHOWN = 60
"""Characters or bytes of the payload that a repr shows."""


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """One whole message of a socket. (In Playwright's words a frame; RFC 6455 calls it a message.)"""

    number: int
    """From 1, among all messages of the socket, in the order in which they passed the proxy."""
    direction: Direction
    """"sent" (by the app) or "received" (from the server)."""
    payload: Payload
    """str for a text message, bytes for a binary one."""
    at: float
    """Seconds since the epoch."""

    @property
    def size(self) -> int:
        """Bytes of the payload, before compression."""
        return payload_size(self.payload)

    def json(self) -> Any:
        """The payload as JSON, also of a binary message. Raises ValueError if it is not JSON."""
        return json.loads(self.payload)

    def __repr__(self) -> str:
        rest = "…" if len(self.payload) > _SHOWN else ""
        return f"<Frame {self.number} {self.direction} {self.payload[:_SHOWN]!r}{rest}>"
