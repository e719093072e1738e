"""The object that moves a socket's bytes, as the model sees it."""

from collections.abc import Awaitable
from typing import Literal, Protocol

from wirewright.model.close_codes import CloseTarget
from wirewright.values import Conditions, Direction, Payload


class Carrier(Protocol):
    """Moves a socket's bytes, and sends messages for users."""

    def send(self, payload: Payload, *, direction: Direction) -> Awaitable[None] | None:
        """Send one message to one side. The result may be awaited."""

    def close(self, code: int, reason: str, *, to: CloseTarget) -> Awaitable[None] | None:
        """Send a close frame to both sides, or to one side first, and end the connections."""

    def abort(self, how: Literal["fin", "rst"]) -> Awaitable[None] | None:
        """Cut the connections, by a TCP FIN or RST."""

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> Awaitable[None] | None:
        """Have messages of one direction go between the app and the proxy under these conditions."""
