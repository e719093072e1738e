"""One proxied WebSocket.

https://playwright.dev/python/docs/api/class-websocket
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from wirewright.model import network_plan
from wirewright.model.async_wait import AsyncWait, EventContextManager
from wirewright.model.awaitables import Completion
from wirewright.model.carrier import Carrier
from wirewright.model.catch_up import find
from wirewright.model.close_codes import CLOSE_DIRECTIONS, check_close, check_how
from wirewright.model.close_orders import CloseOrders
from wirewright.model.cursor import Cursor
from wirewright.model.emitter import Emitter
from wirewright.model.errors import Error
from wirewright.model.event_signatures import SocketListening, SocketRemoval, SocketWaiting
from wirewright.model.event_wait import Predicate, Timeout, WaitOptions
from wirewright.model.frame import Frame
from wirewright.model.frame_list import FrameList
from wirewright.model.frame_match import Match
from wirewright.model.handshake import HandshakeRequest, Headers
from wirewright.model.history import History, HistoryLimit, Message, to_payload
from wirewright.model.network_plan import PlannedNetwork
from wirewright.model.scope import Scope
from wirewright.model.socket_properties import SocketProperties
from wirewright.model.socket_state import SocketState
from wirewright.model.socket_text import count_text, end_text, state_text
from wirewright.model.socket_wait import socket_wait_options
from wirewright.model.socket_watch import until
from wirewright.model.steps import Steps, stepped, steps_of
from wirewright.model.waiting_methods import SocketWaits
from wirewright.printable import shown_url
from wirewright.values import Conditions, Direction, Payload

__tracebackhide__ = True  # pytest shows the line that calls


class WebSocket(Emitter, SocketWaits, SocketProperties):
    """One socket of an app. Made by the proxy, never by a user.

    Events: `framesent` and `framereceived` with the payload of a whole message (str for text, bytes for
    binary), `socketerror` with a str, and `close` with this WebSocket, once. `missed` has the number of
    messages that were left out: for a client that does not keep up (docs/remote.md), or for code that took
    the socket after more messages had passed than the socket remembers (docs/frames.md).
    """

    if TYPE_CHECKING:
        on: SocketListening["WebSocket"]  # type: ignore[assignment]
        once: SocketListening["WebSocket"]  # type: ignore[assignment]
        add_listener: SocketListening["WebSocket"]  # type: ignore[assignment]
        remove_listener: SocketRemoval  # type: ignore[assignment]
        expect_event: SocketWaiting[  # type: ignore[assignment]
            "WebSocket",
            EventContextManager[Payload],
            EventContextManager["WebSocket"],
            EventContextManager[str],
            EventContextManager[int],
        ]
        wait_for_event: SocketWaiting[  # type: ignore[assignment]
            "WebSocket",
            Coroutine[Any, Any, Payload],
            Coroutine[Any, Any, "WebSocket"],
            Coroutine[Any, Any, str],
            Coroutine[Any, Any, int],
        ]

    _EVENTS = frozenset({"close", "framereceived", "framesent", "missed", "socketerror"})
    _EVENTS_ELSEWHERE = MappingProxyType(
        {
            "websocket": 'an event of the Proxy: write proxy.on("websocket", ...)',
            "open": "an event of a browser's socket: write ws.wait_for_open()",
            "message": 'an event of a browser\'s socket: write "framereceived" or "framesent"',
            "error": 'an event of a browser\'s socket: write "socketerror"',
        }
    )

    def __init__(
        self, handshake: HandshakeRequest, carrier: Carrier, scope: Scope, limit: HistoryLimit
    ) -> None:
        super().__init__(scope)
        self._handshake = handshake
        self._origin = handshake.origin
        self._carrier = carrier
        self._timeout_of: Callable[[WebSocket], float] | None = None
        """Returns the default timeout of waits on this socket, in milliseconds; None for the scope's."""
        self._number = 0
        self._request_sequence = 0
        """The sequence number of its request, among all requests and ends of sockets of its proxy."""
        self._history = History(limit)
        self._state = SocketState(Headers(handshake.headers))
        self._awaiting_opening: tuple[asyncio.Future[None], ...] = ()

    def __repr__(self) -> str:
        frames = count_text(self._history.total)
        return f"<WebSocket url={shown_url(self.url)!r} {state_text(self)}, {frames}>"

    @property
    def frames(self) -> FrameList:
        """The messages that the socket remembers at this moment, of both directions in the order of the wire.

        `ws_history` and `ws_history_bytes` bound how many these are.
        """
        frames = self._history.after(0)
        return FrameList(frames, self._history.total - len(frames))

    @property
    def flow(self) -> Any:
        """The `mitmproxy.http.HTTPFlow` that this socket is. In the proxy's own process only."""
        return self._handshake.flow

    def _expect(
        self, event: str, predicate: Predicate | None, timeout: Timeout, *, history: bool
    ) -> EventContextManager[Any]:
        options = self._wait_options(event, history=history, is_for_block=True)
        wait: AsyncWait[Any] = AsyncWait(self, event, predicate, timeout, options)
        return EventContextManager(wait, "ws.expect_event(...)")

    def _wait_for(
        self, event: str, predicate: Predicate | None, timeout: Timeout, *, history: bool
    ) -> Coroutine[Any, Any, Any]:
        options = self._wait_options(event, history=history)
        return AsyncWait(self, event, predicate, timeout, options).wait("ws.wait_for_event(...)")

    @stepped("ws")
    def wait_for_open(self, timeout: Timeout = None) -> Steps[None]:
        """Return once the handshake has succeeded. On a socket that has been open it returns at once.

        Raises Error with the reason if the handshake fails, and TimeoutError.
        """

        def is_decided() -> bool:
            return self._state.opened_at is not None or self._state.error is not None

        watch = yield from until(self, is_decided, timeout, "the socket to open")
        if self._state.opened_at is None:
            raise watch.error or Error(end_text(self))

    def cursor(self, start: Literal["opening", "now"] = "opening") -> Cursor:
        """A place among the frames of this socket, with a `next_frame` of its own.

        It is before the first frame of the socket, or ("now") after the newest one.
        """
        return Cursor(self, start)

    @stepped("ws")
    def next_frame(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        direction: Literal["sent", "received"] | None = None,
        timeout: Timeout = None,
    ) -> Steps[Frame]:
        """The next frame that matches, after the one that the last call returned, from the opening on.

        No frame is returned twice, and none is lost between two calls. `match` is a text or bytes that the
        payload contains, a compiled pattern, or a callable that is given the Frame. `json` is a partial
        match: the keys of a dict must be there, with values that are equal, or that a callable or a pattern
        accepts, or that are ANY. Frames that are not JSON do not match it. `timeout` is in milliseconds. In
        the sync API these functions are called in the thread that waits.

        All callers on this socket share one place; `cursor()` gives another one. After an error the place is
        the same as before the call. `json=None` is no condition.

        Raises TimeoutError, and Error if the socket ends first. If the socket no longer remembers a frame
        that was neither returned nor skipped, it raises Error once, and the next call begins at the oldest
        remembered frame.
        """
        steps = steps_of(Cursor.next_frame)
        return steps(self._shared_cursor, match, json=json, direction=direction, timeout=timeout)

    def send_to_client(self, message: Message) -> Completion[None]:
        """Send the app a message, as if the server had. Raises Error on a socket that is not open.

        In the async API the result may be awaited: this raises the Error of a proxy in another process.
        """
        return self._send(message, direction=Direction.RECEIVED)

    def send_to_server(self, message: Message) -> Completion[None]:
        """Send the server a message, as if the app had. Raises Error on a socket that is not open."""
        return self._send(message, direction=Direction.SENT)

    def close(
        self, code: int = 1000, reason: str = "", *, to: Literal["both", "client", "server"] = "both"
    ) -> Completion[None]:
        """Close the socket towards both sides, after what was sent before. Raises Error on a socket that is
        not open; one that is closing already goes on doing so.

        `code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455, 7.4), `reason` at most 123 bytes of
        UTF-8; else a ValueError. `close` is emitted when both sides have answered, or after two seconds
        without an answer.

        With `to="client"` or `to="server"` this side is closed first, as by `WebSocketRoute.close`. The other
        side gets the same code once this side has answered, or after two seconds. A route's `on_close` of
        this side keeps the other side open. Another call may close the other side earlier, with a code of its
        own.
        """
        check_close(code, reason)
        if to not in CLOSE_DIRECTIONS:
            raise ValueError(f"to must be 'both', 'client' or 'server', not {to!r}")
        self._check_open()
        return Completion(self._close_orders.order(code, reason, to))

    def abort(self, how: Literal["fin", "rst"] = "fin") -> Completion[None]:
        """Cut the connections of both sides with no close frame: they see 1006. Raises Error on a socket that
        is not open.

        `how="rst"` resets the TCP connections (RFC 9293, 3.10.7): both sides get an error such as "connection
        reset by peer", and lose what they have not read yet. Raises Error where mitmproxy captures the app's
        traffic itself (local capture, WireGuard): there is no TCP connection that could be reset.
        """
        check_how(how)
        self._check_open()
        return Completion(self._carrier.abort(how))

    conditions = network_plan.conditions

    @cached_property
    def _close_orders(self) -> CloseOrders:
        return CloseOrders(self._carrier)

    @cached_property
    def _network(self) -> PlannedNetwork:
        def order(conditions: Conditions, direction: Direction) -> Awaitable[None] | None:
            return self._carrier.order_conditions(conditions, direction=direction)

        return PlannedNetwork(order, self.is_closed, self._scope, self)

    @property
    def _default_timeout(self) -> float:
        return super()._default_timeout if self._timeout_of is None else self._timeout_of(self)

    @cached_property
    def _shared_cursor(self) -> Cursor:
        """The cursor of `next_frame`."""
        return Cursor(self)

    def _send(self, message: Message, *, direction: Direction) -> Completion[None]:
        payload = to_payload(message)
        self._check_open()
        if direction in self._close_orders.directions:
            raise Error("Socket is closing")
        return Completion(self._carrier.send(payload, direction=direction))

    def _check_open(self) -> None:
        if self.is_closed():
            raise Error(end_text(self))
        if self._state.opened_at is None:
            raise Error("Socket is not open yet: its handshake has not been answered")

    def _wait_options(self, event: str, *, history: bool = False, is_for_block: bool = False) -> WaitOptions:
        return socket_wait_options(self, event, history=history, is_for_block=is_for_block)

    def _add_event_handler(self, event: str, k: Callable[..., Any], v: Callable[..., Any]) -> None:
        super()._add_event_handler(event, k, v)
        catch_up = None if self._late is not None else find(self._history)
        if catch_up is not None and catch_up.events():
            self._put_behind(event, k)
            catch_up.follow(self._replay, event, k)

    def _remark(self, earlier: int, *, history: bool) -> Callable[[], str]:
        """A function that returns the remark in the error of a wait: how many messages were left out.

        `earlier` of them came before the wait; `history` is that of the wait.
        """
        return lambda: f" ({earlier:,} earlier messages were left out)" if earlier else ""
