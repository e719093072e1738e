"""Answers a live app's handshake as the recorded server did."""

from wirewright.capture.records import Socket
from wirewright.capture.redaction import REDACTED
from wirewright.model.handshake import Headers, sendable_headers
from wirewright.model.route import WebSocketRoute
from wirewright.printable import get_logger

logger = get_logger(__name__)

BODILESS = (204, 304)
"""Statuses of answers without a body (RFC 9110, 6.4.1)."""


def accept(route: WebSocketRoute, socket: Socket) -> None:
    """Open the socket with the recorded headers, and the recorded subprotocol if the app asks for it."""
    if socket.subprotocol == REDACTED:
        protocol = next(iter(route.protocols), None)
    else:
        protocol = socket.subprotocol if socket.subprotocol in route.protocols else None
    headers = (socket.response_headers or Headers()).of_acceptance()
    route.accept(protocol, _replayable(route, socket, headers).pairs)


def refuse(route: WebSocketRoute, socket: Socket) -> None:
    """Refuse the handshake with the recorded answer. Without a status of 200 to 599, cut the connection."""
    if socket.status is None or not 200 <= socket.status <= 599:
        route.abort()
        return
    recorded = socket.response_headers or Headers()
    if socket.response_body is None and _had_body(socket.status, recorded):
        logger.warning("%s: the body of the recorded answer %d is not in the capture", route, socket.status)
    # The recorded body is decompressed, and the length of the sent body is set anew.
    headers = recorded.end_to_end().without(("content-encoding", "content-length"))
    route.reject(socket.status, _replayable(route, socket, headers).pairs, socket.response_body or b"")


def _replayable(route: WebSocketRoute, socket: Socket, headers: Headers) -> Headers:
    """The headers that can be sent: not those whose whole value is redacted in the capture."""
    kept: list[tuple[str, str]] = []
    redacted: dict[str, str] = {}
    for name, value in headers.pairs:
        if REDACTED in value:
            redacted.setdefault(name.lower(), name)
        if value == REDACTED:
            continue
        try:
            kept += sendable_headers([(name, value)]).pairs
        except ValueError as error:
            logger.warning("%s: a recorded header is left out: %s", route, error)
    if redacted:
        logger.warning(
            "%s: the recording has REDACTED for %s of socket #%d: the app does not get the value",
            *(route, ", ".join(redacted.values()), socket.id),
        )
    return Headers(kept)


def _had_body(status: int, headers: Headers) -> bool:
    length = headers.get("content-length", "0").strip()
    return status not in BODILESS and (length != "0" or "transfer-encoding" in headers)
