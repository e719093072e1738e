"""What carries the protocol's messages, whatever the transport: what a codec has made of them."""

from typing import Any, Protocol


class Disconnected(Exception):
    """The other side is gone, or has closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason or f"the connection was closed ({code})")
        self.code = code


class Connection(Protocol):
    """A WebSocket, or what behaves like one."""

    @property
    def subprotocol(self) -> str:
        """Which codec it takes: one of `SUBPROTOCOLS`."""

    async def send(self, data: Any) -> None:
        """Raises Disconnected."""

    async def receive(self) -> Any:
        """Raises Disconnected."""

    async def close(self, code: int, reason: str) -> None:
        """End it; nothing happens if it has ended."""
