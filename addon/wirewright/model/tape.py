"""The interface of a capture to the sockets that it records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol

from wirewright.model.frame_run import UnreadBatch
from wirewright.model.handshake import Headers
from wirewright.model.websocket import WebSocket
from wirewright.values import ClosedBy, Direction, Payload

P = ParamSpec("P")


class Tape(Protocol):
    """The recorder of one socket, from its handshake or from the middle of its life."""

    def requested(self, headers: Headers) -> None:
        """The handshake goes to the server with these headers."""

    def answered(self, status: int, headers: Headers, body: bytes | None = None) -> None:
        """The handshake was answered. `body` is that of a refusal, decompressed; None if it is not known."""

    def opened(self, at: float, server_address: tuple[str, int] | None) -> None:
        """The handshake succeeded; `at` is seconds since the epoch."""

    def messages(
        self,
        payloads: Sequence[Payload] | UnreadBatch,
        size: int,
        *,
        direction: Direction,
        injected: bool = False,
    ) -> None:
        """Messages have passed, of so many bytes together; `injected` ones are the proxy's own."""

    def offered(self, payload: Payload, *, direction: Direction) -> None:
        """A message is held. The next call for its direction says if it was sent, changed or dropped."""

    def settled(self, payload: Payload | None, *, direction: Direction, injected: bool = False) -> None:
        """The message that was offered last is forwarded as `payload`. None: it is dropped, if still open."""

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        """A route has sent a message: in place of the one that was offered last, or one of its own."""

    def too_large(self) -> None:
        """A message has passed that was too large to be read."""

    def controls(
        self, frames: Sequence[tuple[int, bytes]], *, direction: Direction, injected: bool = False
    ) -> None:
        """Control frames have passed, at the same time: the opcode and the payload of each."""

    def failed(self, message: str) -> None:
        """The socket failed."""

    def closed(self, at: float, code: int | None, reason: str | None, by: ClosedBy | None) -> None:
        """The socket is over; `at` is seconds since the epoch."""


def _to_all(method: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """A method that calls the same method of all tapes of a group."""
    name = method.__name__

    def call(group: Any, /, *arguments: P.args, **options: P.kwargs) -> None:
        for tape in group.tapes:
            getattr(tape, name)(*arguments, **options)

    return call


class TapeGroup(Tape):
    """The tapes of several captures that record the same socket."""

    def __init__(self, tapes: Sequence[Tape]) -> None:
        self.tapes = tapes

    requested = _to_all(Tape.requested)
    answered = _to_all(Tape.answered)
    opened = _to_all(Tape.opened)
    messages = _to_all(Tape.messages)
    offered = _to_all(Tape.offered)
    settled = _to_all(Tape.settled)
    ordered = _to_all(Tape.ordered)
    too_large = _to_all(Tape.too_large)
    controls = _to_all(Tape.controls)
    failed = _to_all(Tape.failed)
    closed = _to_all(Tape.closed)


class SocketRecorder(Protocol):
    """A capture that records sockets: it makes a `Tape` for each."""

    @property
    def first_number(self) -> int:
        """The number of the next socket that is recorded."""

    def record(self, socket: WebSocket, number: int) -> Tape | None:
        """Begin to record a socket with this number. Returns None if the capture is not for its URL."""


@dataclass
class Recording:
    """A capture that runs, of the proxy or of a context."""

    recorder: SocketRecorder
    next_number: int
    """The number of the next socket of a context. A socket of the proxy has its own."""
