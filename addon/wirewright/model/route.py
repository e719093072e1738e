"""A routed socket: what becomes of its messages and its end is a handler's matter.

https://playwright.dev/python/docs/api/class-websocketroute
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

from wirewright.model.arguments import fit
from wirewright.model.awaitables import Completion
from wirewright.model.close_codes import check_close
from wirewright.model.errors import Error
from wirewright.model.handshake import (
    HeaderChanges,
    HeaderFields,
    Headers,
    header_changes,
    sendable_headers,
    split_tokens,
    upstream_url,
)
from wirewright.model.history import Message, to_payload
from wirewright.model.websocket import WebSocket
from wirewright.printable import shown_url
from wirewright.values import Conditions, Direction, Payload

__tracebackhide__ = True  # pytest shows the line that calls

MessageHandler = Callable[[Payload], Any] | Callable[[], Any]
"""Is given each message of one side: str for text, bytes for binary; may be async."""
CloseHandler = Callable[[int, str], Any] | Callable[[int], Any] | Callable[[], Any]
"""Is given the code and the reason with which one side has ended; may be async. The code is 1005 for a close
frame without one, and 1006 where the connection just ended or never was."""


Milliseconds = float | timedelta
Directions = Literal["both", "sent", "received"]
"""As the app sees it."""
_DIRECTIONS: Mapping[str, tuple[Direction, ...]] = {
    "both": tuple(Direction),
    **{each.value: (each,) for each in Direction},
}


@dataclass(frozen=True, slots=True)
class Mock:
    """The handshake is answered here, and no server is contacted."""

    protocol: str | None
    """The subprotocol that is chosen, of those that the app asked for."""
    headers: Headers = field(default_factory=Headers)
    """Further fields of the 101."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The handshake goes to the server, with these headers changed; None takes all of that name out."""

    headers: tuple[tuple[str, str | None], ...] = ()
    url: str | None = None
    """That of the handshake, `http` or `https`, if it goes to another server than the app asked for."""
    is_stand_in: bool = False
    """The route answers in the server's place: what is reported is the app's side."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The handshake is refused."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """The app's connection is cut."""


Answer = Mock | Connect | Reject | Abort


class RouteCarrier(Protocol):
    """What carries a routed socket. What it is told before the socket is open it keeps, in order."""

    def check_can(self, what: str) -> None:
        """Raise Error if it cannot do that, with the reason."""

    def order(self, message: Payload, *, direction: Direction) -> None:
        """Send one side a message."""

    def order_close(self, code: int, reason: str, *, direction: Direction) -> None:
        """Send one side a close frame; 1005 stands for one without a code."""

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> None:
        """Have messages go to or from the app under these conditions."""

    def abort(self) -> None:
        """Cut both connections."""

    def handlers_changed(self) -> None:
        """A side has got a handler, or another one."""


class WebSocketRoute:
    """One side of a routed socket: the app's, which a route's handler is given, or the server's, which
    `connect_to_server` returns.

    Until the handler has returned, the app's side decides how the handshake is answered. `connect_to_server`
    sends it to the server, `reject` refuses it, `abort` cuts the connection. Without any of them it is
    answered here, with the first subprotocol that the app asked for: the server is mocked.
    """

    def __init__(
        self, socket: WebSocket, carrier: RouteCarrier, *, app: "WebSocketRoute | None" = None
    ) -> None:
        """The server's side has the `app` side that it belongs to."""
        self._socket = socket
        self._carrier = carrier
        self._app = app or self
        self._source = Direction.SENT if app is None else Direction.RECEIVED
        """The direction of the messages that come from this side."""
        self._on_message: Callable[..., Any] | None = None
        self._on_close: Callable[..., Any] | None = None
        self._answer: Answer = Mock(next(iter(self.protocols), None))
        self._answered = False
        self._server: WebSocketRoute = WebSocketRoute(socket, carrier, app=self) if app is None else self
        """The server's side, whether or not there is a server."""

    def __repr__(self) -> str:
        return f"<WebSocketRoute url={shown_url(self.url)!r}>"

    @property
    def url(self) -> str:
        """The `ws://` or `wss://` URL that the app asked for."""
        return self._socket.url

    @property
    def protocols(self) -> list[str]:
        """The subprotocols that the app asked for, the best first."""
        return split_tokens(self._socket.request_headers.get("sec-websocket-protocol", ""))

    @property
    def request_headers(self) -> dict[str, str]:
        """Of the app's handshake, as `WebSocket.request_headers`. `connect_to_server` changes them."""
        return self._socket.request_headers

    def request_headers_array(self) -> list[dict[str, str]]:
        """Of the app's handshake, as `WebSocket.request_headers_array`."""
        return self._socket.request_headers_array()

    def send(self, message: Message) -> None:
        """Send this side a message: str as text, bytes or anything like it as binary.

        Before the socket is open it is kept, after this side's end it is dropped.
        """
        payload = to_payload(message)
        if isinstance(payload, str) and not payload.isascii():
            payload.encode()  # a lone surrogate raises here, and not on the wire
        self._carrier.order(payload, direction=self._source.opposite)

    def close(self, code: int | None = None, reason: str | None = None) -> Completion[None]:
        """Close this side, and once it has answered the other one with the same code, unless `on_close` is
        set here.

        Towards a server `code` is 1000 or 3000 to 4999, towards an app also the protocol's own codes; the
        reason has at most 123 bytes of UTF-8. Raises ValueError for any other.
        """
        if code is None and reason is None:
            self._carrier.order_close(1005, "", direction=self._source.opposite)
        else:
            code, reason = 1000 if code is None else code, reason or ""
            check_close(code, reason, as_server=self._source is Direction.SENT)
            self._carrier.order_close(code, reason, direction=self._source.opposite)
        return Completion()

    def on_message(self, handler: MessageHandler) -> None:
        """Give this side's messages to a handler instead of forwarding them. A later handler replaces it."""
        self._on_message = fit(_callable(handler), 1)
        self._carrier.handlers_changed()

    def on_close(self, handler: CloseHandler) -> None:
        """Tell a handler of this side's end, which then is not the other side's end, too."""
        self._carrier.check_can("on_close()")
        self._on_close = fit(_callable(handler), 2)
        self._carrier.handlers_changed()

    def connect_to_server(self, headers: HeaderChanges | None = None) -> "WebSocketRoute":
        """Have the handshake go to the server, and return the server's side.

        From then on each side's messages are forwarded to the other, until that side has an `on_message`.
        `headers` are changed in the handshake's request, by a mapping or by (name, value) pairs in which a
        name may occur again. None takes a name out, such as `{"Sec-WebSocket-Extensions": None}` for a socket
        without compression.
        """
        if self._source is Direction.RECEIVED:
            # Playwright's message.
            raise Error("connectToServer must be called on the page-side WebSocketRoute")
        self._decide("connect_to_server", Connect(header_changes(headers)))
        return self._server

    def redirect(self, url: str, headers: HeaderChanges | None = None) -> "WebSocketRoute":
        """Have the handshake go to another server, and return that server's side.

        Everything that the app does not see is that server's: address, path and query, Host header, TLS name.
        Otherwise it is `connect_to_server`. `url` is `ws://…` or `wss://…`; ValueError for any other.
        """
        self._decide("redirect", Connect(header_changes(headers), upstream_url(url)))
        return self._server

    def accept(self, protocol: str | None, headers: HeaderFields | None = None) -> None:
        """Answer the handshake here, as without any decision, with this subprotocol or (None) without one.

        It must be one of `protocols`; ValueError for any other. `headers` are further fields of the answer,
        such as Set-Cookie, given as for `reject`. Raises ValueError for fields of the handshake itself
        (RFC 6455, 4.2.2) and of the connection (RFC 9110, 7.6.1).
        """
        if protocol is not None and protocol not in self.protocols:
            raise ValueError(f"protocol must be one of {self.protocols!r}, or None, not {protocol!r}")
        fields = sendable_headers(headers)
        if reserved := set(fields) - set(fields.of_acceptance()):
            raise ValueError(f"accept() sets {', '.join(sorted(reserved))} itself")
        self._decide("accept", Mock(protocol, fields))

    def reject(self, status: int, headers: HeaderFields | None = None, body: Message = b"") -> None:
        """Refuse the handshake with an HTTP status (200 to 599).

        `headers` are a mapping, or a list of (name, value) pairs or of `{"name": ..., "value": ...}`, in
        which a name may occur again. Raises TypeError or ValueError for any that cannot be sent.
        """
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"status must be 200 to 599, not {status!r}")
        content = to_payload(body)
        if isinstance(content, str):
            content = content.encode()
        self._decide("reject", Reject(status, sendable_headers(headers), content))

    def conditions(
        self,
        *,
        latency: Milliseconds = 0,
        jitter: Milliseconds = 0,
        bytes_per_second: float | None = None,
        drop: float = 0,
        duplicate: float = 0,
        reorder: float = 0,
        stall_after: int | None = None,
        seed: int | None = None,
        direction: Directions = "both",
    ) -> Conditions:
        """Put the network between the app and the proxy under conditions, from now on; without arguments it
        is a good one again. At any time, for a mocked server, too.

        Each message takes `latency` milliseconds, more or less by up to `jitter`, and follows the one before
        it at `bytes_per_second`. `drop`, `duplicate` and `reorder` are probabilities from 0 to 1: that a
        message is lost, comes twice, changes places with the next. After `stall_after` messages in a
        direction nothing passes there any more, pings and closes neither, and the connections stay open; what
        is stuck arrives once conditions are changed. What is not a message is delayed and keeps its place.

        The same `seed` has the same become of the same messages; without one it differs each time.
        `direction` is what the app has "sent", or what it has "received". Returns the conditions, with the
        seed in use. Raises ValueError or TypeError for what is none.
        """
        self._check_app("conditions")
        if direction not in _DIRECTIONS:
            raise ValueError(f"direction must be {', '.join(map(repr, _DIRECTIONS))}, not {direction!r}")
        conditions = Conditions(
            latency=_milliseconds(latency),
            jitter=_milliseconds(jitter),
            bytes_per_second=bytes_per_second,
            drop=drop,
            duplicate=duplicate,
            reorder=reorder,
            stall_after=stall_after,
            seed=secrets.randbits(32) if seed is None else seed,
        )
        for each in _DIRECTIONS[direction]:
            self._carrier.order_conditions(conditions, direction=each)
        return conditions

    def abort(self) -> None:
        """Cut the connections with no close frame: the app sees 1006. At any time."""
        if self._app._answered:
            self._carrier.abort()
        else:
            self._app._answer = Abort()

    def _decide(self, method: str, answer: Answer) -> None:
        self._check_app(method)
        if isinstance(self._answer, Connect):
            raise Error("Already connected to the server")
        if self._answered:
            raise Error(
                f"{method} must be called before the route's handler returns: then the handshake is answered"
            )
        self._answer = answer

    def _check_app(self, method: str) -> None:
        if self._source is Direction.RECEIVED:
            raise Error(f"{method} must be called on the app's side of the route")


def _callable(handler: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(handler):
        raise TypeError(f"handler must be callable, not {type(handler).__name__}")
    return handler


def _milliseconds(value: Milliseconds) -> float:
    return value / timedelta(milliseconds=1) if isinstance(value, timedelta) else value
