"""The back side of a WebSocketRoute."""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable

from wirewright.model import user_errors
from wirewright.model.awaitables import is_being_cancelled
from wirewright.model.errors import ENDS_THE_PROGRAM
from wirewright.model.route import Answer, Connect, WebSocketRoute
from wirewright.model.websocket import WebSocket
from wirewright.values import Payload


class RouteControl:
    """The back side of one side of a route: for the carrier of the socket, and for handlers of our own.

    All questions about the handshake are put to the app's side.
    """

    def __init__(self, side: WebSocketRoute) -> None:
        self.side = side
        self.server: RouteControl = self if side is side._server else RouteControl(side._server)
        """The back side of the server's side. It exists also if there is no server."""

    def __repr__(self) -> str:
        return repr(self.side)

    @property
    def socket(self) -> WebSocket:
        """The socket that is routed."""
        return self.side._socket

    # The handshake

    def decide(self) -> Answer:
        """Settle the answer to the handshake, and return it. A handler that decides later gets an Error."""
        self.side._answered = True
        return self.side._answer

    @property
    def is_decided(self) -> bool:
        """True if the answer to the handshake is settled."""
        return self.side._answered

    @property
    def is_connected(self) -> bool:
        """True if the handshake goes to a server."""
        return isinstance(self.side._answer, Connect)

    @property
    def answers_the_app(self) -> bool:
        """True for a mock and a stand-in: messages of the app arrive here, and those of the route are the
        server's."""
        answer = self.side._answer
        return not isinstance(answer, Connect) or answer.is_stand_in

    def stand_in_for_server(self) -> WebSocketRoute:
        """Connect to the server, but answer in its place. Returns the server's side.

        Events and captures have the messages of the app's side, as with a mock: those of the app when they
        arrive, and those that the route sends the app.
        """
        self.side._decide("stand_in_for_server", Connect(is_stand_in=True))
        return self.side._server

    # The open socket

    async def opened(self) -> None:
        """Return when the handshake has succeeded."""
        if self.socket.opened_at is None:
            opening = asyncio.get_running_loop().create_future()
            self.socket._awaiting_opening += (opening,)
            await opening

    def run(self, work: Awaitable[object]) -> None:
        """Run a task until the socket closes, which cancels it."""
        task = self.socket._scope.start(work, None, self.socket)
        self.socket.once("close", lambda _: task.cancel())

    @property
    def handles_messages(self) -> bool:
        """True if a handler gets this side's messages."""
        return self.side._on_message is not None

    @property
    def handles_close(self) -> bool:
        """True if a handler gets this side's end, which then is not forwarded."""
        return self.side._on_close is not None

    def receive(self, message: Payload) -> Awaitable[None] | None:
        """Call the handler of messages. Returns what must be awaited before its next message, if anything."""
        assert self.side._on_message is not None
        return self._call(self.side._on_message, message)

    def closed(self, code: int, reason: str) -> Awaitable[None] | None:
        """Call the handler of this side's end."""
        assert self.side._on_close is not None
        return self._call(self.side._on_close, code, reason)

    def _call(self, handler: Callable[..., object], *arguments: object) -> Awaitable[None] | None:
        try:
            result = handler(*arguments)
        except ENDS_THE_PROGRAM:
            raise
        except BaseException:
            self._log_failure()
            return None
        return self._finish(result) if result is not None and inspect.isawaitable(result) else None

    async def _finish(self, result: Awaitable[object]) -> None:
        try:
            await result
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise  # the proxy is shut down
            self._log_failure()  # the handler has awaited what was cancelled
        except ENDS_THE_PROGRAM:
            raise
        except BaseException:
            self._log_failure()

    def _log_failure(self) -> None:
        self.socket._state.route_errors += 1
        user_errors.report(self.side, "a route's handler", sys.exception())
