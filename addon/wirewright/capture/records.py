"""The records of a capture: sessions, sockets, frames, gaps and annotations."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Flag

from wirewright.model.handshake import Headers
from wirewright.values import ClosedBy, Direction, Payload

SocketFrames = Iterator[tuple["Socket", Iterator["RecordedFrame"]]]
"""Sockets, each with its frames; those have to be read before the next socket is asked for."""
ALIVE_SECONDS = 2.0
"""A session that has not ended is still being written if its recorder was seen within this time."""


class FrameFlag(Flag):
    """How a frame differs from one that was forwarded as it arrived."""

    NONE = 0
    INJECTED = 1
    """The frame was made by the proxy, not by the app or the server."""
    CHANGED = 2
    """`RecordedFrame.original` arrived, and `RecordedFrame.payload` was forwarded."""
    DROPPED = 4
    """The frame was not forwarded."""
    TRUNCATED = 8
    """`RecordedFrame.payload` is the beginning of the payload, `RecordedFrame.size` the size of the whole."""


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a recorder."""

    id: int
    started_ns: int
    """Nanoseconds since the epoch, as all times here."""
    seen_ns: int
    """The last time at which its recorder was known to be alive."""
    ended_ns: int | None
    """None while the session runs, and if its recorder was killed."""
    program: str

    @property
    def is_over(self) -> bool:
        """True if it has ended, or if its recorder was not seen within ALIVE_SECONDS.

        A recorder that was seen in the future has not been alive since the clock was set back.
        """
        return self.ended_ns is not None or abs(time.time_ns() - self.seen_ns) > ALIVE_SECONDS * 1e9


@dataclass(frozen=True, slots=True)
class Socket:
    """One recorded WebSocket."""

    id: int
    session_id: int
    url: str
    asked_ns: int
    """When the app asked for it."""
    opened_ns: int | None
    closed_ns: int | None
    request_headers: Headers
    """A mapping with lower-case names; `pairs` are the fields in wire order."""
    response_headers: Headers | None
    status: int | None
    subprotocol: str | None
    extensions: str | None
    client_address: str | None
    server_address: str | None
    close_code: int | None
    close_reason: str | None
    closed_by: ClosedBy | None
    error: str | None
    """The message of its `socketerror`; None without one."""
    response_body: bytes | None = None
    """The body of an answer that refused the handshake, decompressed; None if it was not recorded."""


def was_open(socket: Socket, *, has_frames: bool) -> bool:
    """True if the WebSocket was open: it has an opening time, or frames.

    A recorder writes the opening time when the handshake succeeds. An import writes it for a socket with a
    101, any 2xx (RFC 8441, 5) or messages. Captures that were imported by an older Wirewright have sockets
    with frames and without an opening time.
    """
    return socket.opened_ns is not None or has_frames


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """A whole message, or a control frame."""

    id: int
    socket_id: int
    time_ns: int
    direction: Direction
    opcode: int
    """RFC 6455, 5.2: 1 for text, 2 for binary, 8 for a close frame, 9 for a ping, 10 for a pong."""
    size: int
    """Bytes of the payload as it was sent, before compression."""
    payload: Payload
    flags: FrameFlag
    original: Payload | None

    @property
    def is_message(self) -> bool:
        """True if the frame is not a control frame."""
        return self.opcode < 8

    @property
    def is_dropped(self) -> bool:
        """True if the frame was not forwarded."""
        return FrameFlag.DROPPED in self.flags


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that were not recorded. With 0 `frames`, parts of handshakes or remarks were not recorded."""

    session_id: int
    time_ns: int
    frames: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark."""

    session_id: int
    time_ns: int
    text: str


def oldest_first(sockets: Iterable[Socket]) -> list[Socket]:
    """Session after session, by the time of the request. An import may have written them in another order."""
    return sorted(sockets, key=lambda socket: (socket.session_id, socket.asked_ns, socket.id))
