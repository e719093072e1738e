"""Records the real server for a cassette: a route's handler that notes the messages of both sides.

It is a route, as the replay is one. So a test's own route for a socket takes precedence over both, and
messages that the test sends by `send_to_client` and `send_to_server` are not recorded: the test sends them
again when it is replayed.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from wirewright.capture.cassettes.cassette_file import LARGEST_CASSETTE
from wirewright.capture.errors import CaptureError
from wirewright.capture.records import FrameFlag, RecordedFrame, Socket
from wirewright.model.handshake import Headers
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.values import Direction, Payload, payload_size


class CassetteRecorder:
    """A route's handler that connects to the server, and remembers all that passes."""

    def __init__(self) -> None:
        self._sockets: list[_RecordedSocket] = []
        self._bytes = 0

    def __call__(self, route: WebSocketRoute) -> None:
        """Record a socket."""
        self._sockets.append(_RecordedSocket(RouteControl(route), self._has_room))

    def sockets(self) -> list[tuple[Socket, list[RecordedFrame]]]:
        """The sockets that were opened or refused, in the order of their requests.

        Raises CaptureError if the messages have more bytes than a cassette.
        """
        if self._bytes > LARGEST_CASSETTE:
            raise CaptureError(
                f"the messages have more than {LARGEST_CASSETTE >> 20} MiB: use a capture for them"
            )
        decided = [each for each in self._sockets if each.is_decided]
        return [(each.record(number), each.frames.copy()) for number, each in enumerate(decided, 1)]

    def _has_room(self, size: int) -> bool:
        """Count the bytes of a message. False if it must not be remembered."""
        self._bytes += size
        return self._bytes <= LARGEST_CASSETTE


class _RecordedSocket:
    """One socket, with the times since its opening."""

    def __init__(self, control: RouteControl, has_room: Callable[[int], bool]) -> None:
        """`has_room` is called with the size of each message; False if it must not be remembered."""
        self.frames: list[RecordedFrame] = []
        self._has_room = has_room
        self._socket = control.socket
        self._clock = asyncio.get_running_loop().time
        self._opened: float | None = None
        route = control.side
        server = route.connect_to_server()
        route.on_message(partial(self._forward, Direction.SENT, server))
        server.on_message(partial(self._forward, Direction.RECEIVED, route))
        control.run(self._note_opening(control))

    @property
    def is_decided(self) -> bool:
        """True if the handshake has succeeded or failed."""
        return self._socket.opened_at is not None or self._socket.is_closed()

    def record(self, number: int) -> Socket:
        """The socket as a record that was opened at 0."""
        socket = self._socket
        opened_at, closed_at = socket.opened_at, socket.closed_at
        return Socket(
            id=number,
            session_id=1,
            url=socket.url,
            asked_ns=0,
            opened_ns=None if opened_at is None else 0,
            closed_ns=None if opened_at is None or closed_at is None else int((closed_at - opened_at) * 1e9),
            request_headers=Headers(_pairs(socket.request_headers_array())),
            response_headers=Headers(_pairs(socket.response_headers_array() or [])),
            status=socket.status,
            subprotocol=socket.subprotocol,
            extensions=None,
            client_address=None,
            server_address=None,
            close_code=socket.close_code,
            close_reason=socket.close_reason,
            closed_by=socket.closed_by,
            error=socket.error,
        )

    def _forward(self, direction: Direction, receiver: WebSocketRoute, message: Payload) -> None:
        size = payload_size(message)
        if self._has_room(size):
            since = 0.0 if self._opened is None else self._clock() - self._opened
            opcode = 1 if isinstance(message, str) else 2
            self.frames.append(
                RecordedFrame(0, 0, int(since * 1e9), direction, opcode, size, message, FrameFlag.NONE, None)
            )
        receiver.send(message)

    async def _note_opening(self, control: RouteControl) -> None:
        await control.opened()
        self._opened = self._clock()


def _pairs(fields: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(field["name"], field["value"]) for field in fields]
