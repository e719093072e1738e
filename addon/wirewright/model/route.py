"""The route of a socket: a handler decides on its handshake, its messages and its end.

https://playwright.dev/python/docs/api/class-websocketroute
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, get_args

from wirewright.model.arguments import fit, show_result
from wirewright.model.awaitables import Completion
from wirewright.model.close_codes import check_close, check_how
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
from wirewright.values import Direction, Payload

__tracebackhide__ = True  # pytest shows the line that calls

P = ParamSpec("P")
T = TypeVar("T")
MessageHandler = Callable[[Payload], Any] | Callable[[], Any]
"""A function of one side's messages: str for text, bytes for binary. It may be async."""
CloseHandler = Callable[[int, str], Any] | Callable[[int], Any] | Callable[[], Any]
"""A function of the code and the reason with which one side has closed. It may be async. The code is 1005 for
a close frame without a code, and 1006 if the connection was lost, or never made."""


@dataclass(frozen=True, slots=True)
class Mock:
    """The handshake is answered here, and no server is contacted."""

    protocol: str | None
    """The subprotocol that is chosen, of those that the app asked for."""
    headers: Headers = field(default_factory=Headers)
    """Further fields of the 101."""


@dataclass(frozen=True, slots=True)
class Connect:
    """The handshake goes to the server, with these header fields changed. A value of None removes a field."""

    headers: tuple[tuple[str, str | None], ...] = ()
    url: str | None = None
    """The `http` or `https` URL of another server than the app asked for; None for the same one."""
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

    how: Literal["fin", "rst"] = "fin"
    """By a TCP FIN or RST."""


Answer = Mock | Connect | Reject | Abort


class RouteCarrier(Protocol):
    """The carrier of a routed socket. It keeps orders until the socket is open."""

    def check_can(self, what: str) -> None:
        """Raise Error, with the reason, if the carrier does not support a feature."""

    def order(self, message: Payload, *, direction: Direction) -> None:
        """Send one side a message."""

    def order_close(self, code: int, reason: str, *, direction: Direction) -> None:
        """Send one side a close frame; 1005 stands for one without a code."""

    def abort(self, how: Literal["fin", "rst"]) -> None:
        """Cut both connections, by a TCP FIN or RST."""

    def handlers_changed(self) -> None:
        """A handler of a side was set or replaced."""


def _of_socket(
    method: Callable[Concatenate[WebSocket, P], Completion[T]],
) -> "Callable[Concatenate[WebSocketRoute, P], T]":
    """A method of the app's side that calls that of its socket, and returns what is known at once."""

    @wraps(method)
    def call(route: "WebSocketRoute", /, *arguments: P.args, **options: P.kwargs) -> T:
        route._check_app(method.__name__)
        return cast("T", method(route._socket, *arguments, **options).value)

    (result,) = get_args(method.__annotations__["return"])
    show_result(call, method, result)
    return call


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
        """The headers of the app's request, as in `WebSocket.request_headers`.

        `connect_to_server` can send the server others.
        """
        return self._socket.request_headers

    def request_headers_array(self) -> list[dict[str, str]]:
        """The header fields of the app's request, as `WebSocket.request_headers_array`."""
        return self._socket.request_headers_array()

    def send(self, message: Message) -> None:
        """Send this side a message: str as text, bytes and other buffers as binary.

        Messages are kept until the socket is open, and dropped after this side has closed.
        """
        payload = to_payload(message)
        if isinstance(payload, str) and not payload.isascii():
            payload.encode()  # a lone surrogate raises here, and not on the wire
        self._carrier.order(payload, direction=self._source.opposite)

    def close(self, code: int | None = None, reason: str | None = None) -> Completion[None]:
        """Close this side. When it has answered, the other side is closed with the same code, unless
        `on_close` is set here.

        `code` is 1000 to 1003, 1007 to 1014 or 3000 to 4999 (RFC 6455, 7.4). `reason` has at most 123 bytes
        of UTF-8. Raises ValueError for others.
        """
        if code is None and reason is None:
            self._carrier.order_close(1005, "", direction=self._source.opposite)
        else:
            code, reason = 1000 if code is None else code, reason or ""
            check_close(code, reason)
            self._carrier.order_close(code, reason, direction=self._source.opposite)
        return Completion()

    def on_message(self, handler: MessageHandler) -> None:
        """Give this side's messages to a handler instead of forwarding them. A later handler replaces it."""
        self._on_message = fit(_callable(handler), 1)
        self._carrier.handlers_changed()

    def on_close(self, handler: CloseHandler) -> None:
        """Call a handler when this side closes. The close is not forwarded to the other side then."""
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

    conditions = _of_socket(WebSocket.conditions)

    def abort(self, how: Literal["fin", "rst"] = "fin") -> None:
        """Cut the connections with no close frame: the app sees 1006. At any time. `how` is that of
        `WebSocket.abort`."""
        check_how(how)
        if self._app._answered:
            self._carrier.abort(how)
        else:
            self._app._answer = Abort(how)

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
