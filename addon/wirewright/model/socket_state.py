"""The state of a socket: its `Feed` writes it, and its `WebSocket` shows it to users."""

from dataclasses import dataclass

from wirewright.model.handshake import Headers
from wirewright.values import ClosedBy


@dataclass(eq=False, slots=True)
class SocketState:
    """The handshake and the end of a socket. The fields are the properties of `WebSocket`."""

    request_headers: Headers
    response_headers: Headers | None = None
    status: int | None = None
    server_address: tuple[str, int] | None = None
    opened_at: float | None = None
    error: str | None = None
    closed_at: float | None = None
    close_code: int | None = None
    close_reason: str | None = None
    closed_by: ClosedBy | None = None
    route_errors: int = 0
