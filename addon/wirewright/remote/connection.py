"""The interface of a connection: it carries encoded messages over any transport."""

from typing import Any, Protocol


class Disconnected(Exception):
    """The other side is gone, or has closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason or f"the connection was closed ({code})")
        self.code = code


class Connection(Protocol):
    """A WebSocket, or an object that behaves like one."""

    @property
    def subprotocol(self) -> str:
        """The name of its codec: one of `SUBPROTOCOLS`."""

    async def send(self, data: Any) -> None:
        """Raises Disconnected."""

    async def receive(self) -> Any:
        """Raises Disconnected."""

    async def close(self, code: int, reason: str) -> None:
        """End it; nothing happens if it has ended."""
