"""Sockets as remote clients see them, with URLs and header fields of a bounded size.

An app and a server choose the size of their header fields. A message that is too large for a client would end
its connection, and with it all of its routes.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from msgspec.structs import asdict, replace

from wirewright.model.feed import Feed
from wirewright.model.websocket import WebSocket
from wirewright.remote.protocol import (
    Changed,
    Fields,
    Opening,
    Outside,
    Remembered,
    Routed,
    Snapshot,
    Welcome,
    plain,
)

LARGEST_HEADERS = 256 * 1024
"""Bytes of the header fields of one request or one answer. Fields that do not fit are left out."""
LONGEST_URL = 1024 * 1024
"""Characters of a URL. A longer handshake does not open where a route may be for it (`admission`)."""
LONGEST_BARE_URL = 2 * 1024
"""Characters of a URL in a message without header fields."""
MOST_HEADERS = 8 * 1024 * 1024
"""Bytes of URLs and header fields that a new client gets, of all sockets together."""
MOST_HISTORY = 32 * 1024 * 1024
"""Bytes of remembered messages that a new client gets, of all sockets together."""

Described = TypeVar("Described", Snapshot, Changed)


def snapshots(feeds: Iterable[tuple[str, Feed]], *, with_history: bool) -> list[Snapshot]:
    """The open sockets for a new client."""
    found: list[Snapshot] = []
    room, history_room = MOST_HEADERS, MOST_HISTORY if with_history else 0
    for key, feed in feeds:
        size = feed.history.size
        shown = snapshot(key, feed.socket, with_history=size <= history_room)
        history_room -= min(size, history_room)
        if size_of(shown) > room:
            shown = bare(shown)
        room -= min(size_of(shown), room)
        found.append(shown)
    return found


def snapshot(key: str, socket: WebSocket, *, with_history: bool) -> Snapshot:
    """A socket as it is now."""
    kept = socket._history.after(0) if with_history else []
    url = plain(socket.url)
    handshake = changed(key, socket)
    left_out = handshake.left_out + max(0, len(url) - LONGEST_URL)
    return Snapshot(
        **asdict(replace(handshake, left_out=left_out)),
        url=url[:LONGEST_URL],
        client_address=socket.client_address,
        history=[Remembered(frame.payload, frame.direction.event, frame.at) for frame in kept],
        forgotten=socket._history.total - len(kept),
        proxy_port=socket.proxy_port,
        proxy_user=_user(socket),
    )


def outside(socket: WebSocket) -> Outside:
    """A socket for a client that is not subscribed to its device."""
    return Outside(
        plain(socket.url)[:LONGEST_BARE_URL], socket.client_address, socket.proxy_port, _user(socket)
    )


def changed(key: str, socket: WebSocket) -> Changed:
    """The handshake of a socket as it is now."""
    request, request_size = bounded(socket._state.request_headers.octets())
    headers = socket._state.response_headers
    response, response_size = bounded(() if headers is None else headers.octets())
    return Changed(
        key=key,
        request_headers=request,
        response_headers=None if headers is None else response,
        status=socket.status,
        opened_at=socket.opened_at,
        server_address=socket.server_address,
        left_out=request_size + response_size,
    )


def smaller(message: Any) -> Any:
    """The same message without history or header fields. None if there is nothing to leave out."""
    match message:
        case Opening(socket=socket) | Routed(socket=socket) if bare(socket) != socket:
            return replace(message, socket=bare(socket))
        case Changed() if bare(message) != message:
            return bare(message)
        case Welcome(sockets=sockets) if any(socket.history for socket in sockets):
            bare_sockets = [
                replace(each, history=(), forgotten=each.forgotten + len(each.history)) for each in sockets
            ]
            return replace(message, sockets=bare_sockets)
        case Welcome(sockets=sockets) if any(bare(socket) != socket for socket in sockets):
            return replace(message, sockets=[bare(each) for each in sockets])
    return None


def bare(described: Described) -> Described:
    """Without header fields, and with the beginning of a long URL."""
    answer = None if described.response_headers is None else ()
    before = size_of(described)
    without = replace(described, request_headers=(), response_headers=answer)
    if isinstance(without, Snapshot):
        without = replace(without, url=without.url[:LONGEST_BARE_URL])
    return replace(without, left_out=described.left_out + before - size_of(without))


def size_of(described: Snapshot | Changed) -> int:
    """Bytes of header fields, and characters of the URL."""
    url = described.url if isinstance(described, Snapshot) else ""
    return len(url) + _size(described.request_headers) + _size(described.response_headers or ())


def bounded(fields: Fields) -> tuple[Fields, int]:
    """The fields that fit into LARGEST_HEADERS, and how many bytes the others have."""
    size = _size(fields)
    if size <= LARGEST_HEADERS:
        return fields, 0
    kept: list[tuple[str, str]] = []
    room = LARGEST_HEADERS
    for field in fields:
        if (each := _size((field,))) <= room:
            room -= each
            kept.append(field)
    return kept, size - (LARGEST_HEADERS - room)


def _user(socket: WebSocket) -> str | None:
    return None if socket.proxy_user is None else plain(socket.proxy_user)[:LONGEST_BARE_URL]


def _size(fields: Sequence[tuple[str, str]]) -> int:
    return sum(len(name) + len(value) for name, value in fields)
