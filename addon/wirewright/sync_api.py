"""The sync API: the same names, for a test that has no event loop.

    with launch(port=8080) as proxy:
        with proxy.expect_websocket("**/live") as opened:
            phone.open_app()
        ws = opened.value
        with ws.expect_event("framereceived", lambda payload: "welcome" in payload) as frame:
            phone.tap("Join")
        print(frame.value)

The proxy runs in a thread of its own. A wait's predicate is called in the thread that waits. Listeners and
routes' handlers are called in one other thread, one after the other, in the order of the events; they may
call and wait for everything here, too; while one waits, the next one is called. Several threads may use the
API at the same time.

Any of these functions may be async. It begins in its place in that order and runs in the proxy's thread: it
may await anything of asyncio, it must not block, and it cannot wait with this API.

https://playwright.dev/python/docs/library
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from wirewright import async_api
from wirewright.capture.replay.comparisons import ignoring_keys
from wirewright.model import proxy as own_proxy
from wirewright.model import proxy_context as own_context
from wirewright.model import route as own_route
from wirewright.model import route_table as own_route_table
from wirewright.model import websocket as own_websocket
from wirewright.model.assertions import not_expected
from wirewright.model.errors import EndedError, EndpointError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_signatures import (
    ProxyListening,
    ProxyRemoval,
    SocketListening,
    SocketRemoval,
    SocketWaiting,
)
from wirewright.model.event_wait import Predicate, Timeout
from wirewright.model.frame import Frame
from wirewright.model.frame_list import FrameList
from wirewright.model.frame_match import Match
from wirewright.model.handshake import HeaderChanges, HeaderFields
from wirewright.model.history import Message
from wirewright.model.json_match import ANY
from wirewright.model.matching import UrlMatch, UrlPattern
from wirewright.model.misuse import SyncBlock, SyncContextManager, shown_as
from wirewright.model.network_plan import Directions, Milliseconds, Plan, Preset
from wirewright.model.proxy_host import ReplayHandler
from wirewright.model.route import CloseHandler, MessageHandler
from wirewright.model.waiting_methods import ProxyWaits, SocketWaits
from wirewright.model.web_socket_mock import MockRule, Reply, WebSocketMock
from wirewright.sync.assertions import ProxyAssertions, SocketAssertions
from wirewright.sync.cursor import Cursor
from wirewright.sync.listeners import ProxyWrapper, SocketWrapper
from wirewright.sync.proxy_thread import ProxyThread
from wirewright.sync.running_loop import refuse_in_running_loop
from wirewright.sync.waits import EventContextManager, EventInfo, SyncWait
from wirewright.sync.wrappers import (
    DispatchedFunction,
    DispatchedUrlMatch,
    PassedProperty,
    Wrapper,
    WrapperRegistry,
    awaited_method,
    passed_method,
    stepped_method,
)
from wirewright.values import ClosedBy, Conditions, Direction, Payload

__all__ = [
    "ANY",
    "CloseHandler",
    "ClosedBy",
    "Conditions",
    "Cursor",
    "Direction",
    "Directions",
    "EndedError",
    "EndpointError",
    "Error",
    "EventContextManager",
    "EventInfo",
    "Frame",
    "FrameList",
    "HeaderChanges",
    "HeaderFields",
    "Match",
    "Message",
    "MessageHandler",
    "Milliseconds",
    "MockRule",
    "Payload",
    "Plan",
    "Predicate",
    "Preset",
    "Proxy",
    "ProxyAssertions",
    "ProxyContext",
    "ReplayHandler",
    "Reply",
    "RouteHandler",
    "SocketAssertions",
    "Timeout",
    "TimeoutError",
    "UrlMatch",
    "UrlPattern",
    "WebSocket",
    "WebSocketMock",
    "WebSocketRoute",
    "connect",
    "expect",
    "launch",
]

__tracebackhide__ = True  # pytest shows the line that calls

P = ParamSpec("P")
OwnT = TypeVar("OwnT")
ThreadT = TypeVar("ThreadT")
RouteHandler = Callable[["WebSocketRoute"], Any] | Callable[[], Any]
"""A function of the app's side of the route, called before the handshake is answered."""


class WebSocket(SocketWrapper, SocketWaits):
    """One socket of an app, as `wirewright.WebSocket`.

    Events: `framesent` and `framereceived` with the payload (str for text, bytes for binary), `socketerror`
    with a str, `close` with this WebSocket, once.
    """

    if TYPE_CHECKING:
        on: SocketListening["WebSocket"]  # type: ignore[assignment]
        once: SocketListening["WebSocket"]  # type: ignore[assignment]
        remove_listener: SocketRemoval  # type: ignore[assignment]
        expect_event: SocketWaiting[  # type: ignore[assignment]
            "WebSocket",
            EventContextManager[Payload],
            EventContextManager["WebSocket"],
            EventContextManager[str],
            EventContextManager[int],
        ]
        wait_for_event: SocketWaiting[  # type: ignore[assignment]
            "WebSocket", Payload, "WebSocket", str, int
        ]

    url = PassedProperty[str](own_websocket.WebSocket.url)
    request_headers = PassedProperty[dict[str, str]](own_websocket.WebSocket.request_headers)
    response_headers = PassedProperty[dict[str, str] | None](own_websocket.WebSocket.response_headers)
    status = PassedProperty[int | None](own_websocket.WebSocket.status)
    subprotocol = PassedProperty[str | None](own_websocket.WebSocket.subprotocol)
    client_address = PassedProperty[tuple[str, int] | None](own_websocket.WebSocket.client_address)
    proxy_port = PassedProperty[int | None](own_websocket.WebSocket.proxy_port)
    proxy_user = PassedProperty[str | None](own_websocket.WebSocket.proxy_user)
    server_address = PassedProperty[tuple[str, int] | None](own_websocket.WebSocket.server_address)
    opened_at = PassedProperty[float | None](own_websocket.WebSocket.opened_at)
    closed_at = PassedProperty[float | None](own_websocket.WebSocket.closed_at)
    close_code = PassedProperty[int | None](own_websocket.WebSocket.close_code)
    close_reason = PassedProperty[str | None](own_websocket.WebSocket.close_reason)
    error = PassedProperty[str | None](own_websocket.WebSocket.error)
    closed_by = PassedProperty[ClosedBy | None](own_websocket.WebSocket.closed_by)
    route_errors = PassedProperty[int](own_websocket.WebSocket.route_errors)

    @property
    def flow(self) -> None:
        """None: mitmproxy's flow is for the proxy's own thread."""

    def is_closed(self) -> bool:
        """True if the socket is closed."""
        return self._own.is_closed()

    def request_headers_array(self) -> list[dict[str, str]]:
        """Each field of the request as `{"name": ..., "value": ...}`: in wire order, names as written."""
        return self._own.request_headers_array()

    def response_headers_array(self) -> list[dict[str, str]] | None:
        """Each field of the answer as `{"name": ..., "value": ...}`; None until there is one."""
        return self._own.response_headers_array()

    def _expect(
        self, event: str, predicate: Predicate | None, timeout: Timeout, *, history: bool
    ) -> EventContextManager[Any]:
        self._own._check_event(event)
        return EventContextManager(
            lambda: SyncWait(
                self._wrappers, self._own, event, predicate, timeout, history=history, is_for_block=True
            ),
            "ws.expect_event(...)",
        )

    def _wait_for(self, event: str, predicate: Predicate | None, timeout: Timeout, *, history: bool) -> Any:
        wait: SyncWait[Any] = SyncWait(self._wrappers, self._own, event, predicate, timeout, history=history)
        return wait.take()

    @property
    def frames(self) -> FrameList:
        """The messages that the socket remembers at this moment, of both directions in the order of the wire.

        `ws_history` and `ws_history_bytes` bound how many these are.
        """
        try:
            return self._call(lambda: self._own.frames)
        except EndedError:  # no frame comes any more
            return self._own.frames

    wait_for_open = stepped_method(own_websocket.WebSocket.wait_for_open)

    def cursor(self, start: Literal["opening", "now"] = "opening") -> Cursor:
        """A place among the frames of this socket, with a `next_frame` of its own.

        It is before the first frame of the socket, or ("now") after the newest one.
        """
        return Cursor(self._call(self._own.cursor, start), self._wrappers)

    next_frame = stepped_method(own_websocket.WebSocket.next_frame)
    send_to_client = awaited_method(own_websocket.WebSocket.send_to_client)
    send_to_server = awaited_method(own_websocket.WebSocket.send_to_server)
    close = awaited_method(own_websocket.WebSocket.close)
    abort = awaited_method(own_websocket.WebSocket.abort)
    conditions = awaited_method(
        own_websocket.WebSocket.conditions, undo=lambda ws: ws._do(ws._own.conditions)
    )


@overload
def expect(actual: WebSocket) -> SocketAssertions: ...
@overload
def expect(actual: "Proxy") -> ProxyAssertions[WebSocket]: ...
def expect(actual: "WebSocket | Proxy") -> SocketAssertions | ProxyAssertions[WebSocket]:
    """Assertions on a socket, `expect(ws).to_have_received(json={"type": "filled"})`, or on a proxy,
    `expect(proxy).to_reconnect("**/live")`.

    Raises TypeError for anything else.
    """
    if isinstance(actual, Proxy):
        return ProxyAssertions(actual)
    if not isinstance(actual, WebSocket):
        raise TypeError(not_expected(actual, "sync"))
    return SocketAssertions(actual)


class WebSocketRoute(Wrapper[own_route.WebSocketRoute]):
    """One side of a routed socket, the app's or the server's, as `wirewright.WebSocketRoute`.

    A route's handler is given the app's side, and `connect_to_server` returns the server's.
    """

    url = PassedProperty[str](own_route.WebSocketRoute.url)
    protocols = PassedProperty[list[str]](own_route.WebSocketRoute.protocols)
    request_headers = PassedProperty[dict[str, str]](own_route.WebSocketRoute.request_headers)

    def request_headers_array(self) -> list[dict[str, str]]:
        """The header fields of the app's request, as `WebSocket.request_headers_array`."""
        return self._own.request_headers_array()

    send = passed_method(own_route.WebSocketRoute.send)
    accept = passed_method(own_route.WebSocketRoute.accept)
    reject = passed_method(own_route.WebSocketRoute.reject)
    conditions = passed_method(
        own_route.WebSocketRoute.conditions, undo=lambda route: route._do(route._own._socket.conditions)
    )
    abort = passed_method(own_route.WebSocketRoute.abort)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close this side, and then the other one with the same code, unless `on_close` is set here."""
        self._call(self._own.close, code, reason)

    def on_message(self, handler: MessageHandler) -> None:
        """Give this side's messages to a handler instead of forwarding them. A later handler replaces it."""
        self._call(self._own.on_message, DispatchedFunction(self._wrappers, handler))

    def on_close(self, handler: CloseHandler) -> None:
        """Call a handler when this side closes. The close is not forwarded to the other side then."""
        self._call(self._own.on_close, DispatchedFunction(self._wrappers, handler, 2))

    def connect_to_server(self, headers: HeaderChanges | None = None) -> "WebSocketRoute":
        """Have the handshake go to the server, and return the server's side.

        Only the app's side, which a route's handler is given, can do that.
        """
        side: WebSocketRoute = self._wrappers.of(self._call(self._own.connect_to_server, headers))
        return side

    def redirect(self, url: str, headers: HeaderChanges | None = None) -> "WebSocketRoute":
        """Have the handshake go to another server, and return that server's side."""
        side: WebSocketRoute = self._wrappers.of(self._call(self._own.redirect, url, headers))
        return side


class Proxy(ProxyWrapper[own_proxy.Proxy], ProxyWaits[WebSocket, EventContextManager[WebSocket], WebSocket]):
    """All sockets that pass, as `wirewright.Proxy`.

    Event: `websocket` with the WebSocket, at the handshake's request.
    """

    if TYPE_CHECKING:
        on: ProxyListening[WebSocket]  # type: ignore[assignment]
        once: ProxyListening[WebSocket]  # type: ignore[assignment]
        remove_listener: ProxyRemoval  # type: ignore[assignment]

    @property
    def web_sockets(self) -> list[WebSocket]:
        """The sockets that are open now, or opening, oldest first."""
        return [self._wrappers.of(each) for each in self._call(lambda: self._own.web_sockets)]

    @property
    def port(self) -> int:
        """The port that the proxy listens on. Raises Error where it listens on none."""
        return self._call(lambda: self._own.port)

    @property
    def ca_certificate(self) -> Path:
        """The PEM file of the CA that apps must trust."""
        return self._call(lambda: self._own.ca_certificate)

    def _expect(
        self, event: str, predicate: Predicate | None, timeout: Timeout, call: str
    ) -> EventContextManager[WebSocket]:
        self._own._check_event(event)
        return EventContextManager(
            lambda: SyncWait(self._wrappers, self._own, event, predicate, timeout), call
        )

    def _wait_for(self, event: str, predicate: Predicate | None, timeout: Timeout, call: str) -> WebSocket:
        wait: SyncWait[WebSocket] = SyncWait(self._wrappers, self._own, event, predicate, timeout)
        return wait.take()

    def _model_socket(self, socket: WebSocket) -> own_websocket.WebSocket:
        return socket._own

    def route_web_socket(self, url: UrlMatch | None, handler: RouteHandler, times: int | None = None) -> None:
        """Call a handler for each socket of a matching URL that opens from now on.

        It is called in the dispatcher's thread with a WebSocketRoute, and the handshake waits for it.
        """
        self._wrappers.check_going_on()
        self._do(
            self._own.route_web_socket, self._asked(url), DispatchedFunction(self._wrappers, handler), times
        )
        self._wrappers.note(lambda: self.unroute_web_socket(url, handler))

    def mock_web_socket(self, url: UrlMatch | None, *, strict: bool = False) -> WebSocketMock:
        """Be the server of the sockets of a matching URL that open from now on, by a table of rules.

            mock = proxy.mock_web_socket("**/live")
            mock.on(json={"type": "ping"}).reply({"type": "pong"})

        It is a route. With `strict` a frame without a rule is an error of the route's handler, which fails a
        test.
        """
        return WebSocketMock(
            url,
            self.route_web_socket,
            self._own._scope,
            strict=strict,
            unwrap=lambda route: route._own,
            ask=lambda function: DispatchedFunction(self._wrappers, function, 0)(),
        )

    def unroute_web_socket(self, url: UrlMatch | None, handler: RouteHandler | None = None) -> None:
        """Remove a handler, or all that were registered for this URL. Open sockets keep theirs."""
        own = None if handler is None else DispatchedFunction(self._wrappers, handler)
        self._do(self._own.unroute_web_socket, self._asked(url), own)

    def route_from_capture(
        self,
        path: str | Path,
        *,
        url: UrlMatch | None = None,
        match: Literal["lockstep", "timed"] = "lockstep",
        speed: float = 1.0,
        on_mismatch: Literal["abort", "wait", "passthrough"] = "abort",
        compare: Any = "exact",
    ) -> ReplayHandler:
        """Play the recorded server to sockets that are opened from now on; see `wirewright.Proxy`."""
        self._wrappers.check_going_on()
        is_function = callable(compare) and not isinstance(compare, ignoring_keys)

        async def route() -> ReplayHandler:
            replay = self._own.route_from_capture(
                path,
                url=self._asked(url),
                match=match,
                speed=speed,
                on_mismatch=on_mismatch,
                compare=DispatchedFunction(self._wrappers, compare, 2) if is_function else compare,
            )
            await replay.started
            return replay

        replay = self._bridge.wait(route())
        self._wrappers.note(lambda: self._do(self._own.unroute_web_socket, replay.matches, replay))
        return replay

    def start_capture(
        self,
        path: str | Path,
        *,
        url: UrlMatch | None = None,
        max_payload: int | None = None,
        redact: Iterable[str] | None = None,
        max_size: int | None = None,
        rotate: int | None = None,
        min_free: int | None = None,
    ) -> None:
        """Record all sockets of a matching URL in a file; see `wirewright.Proxy`.

        `url` must be a glob or a regex here: the recorder asks it in the proxy's thread.
        """
        if callable(url):
            raise TypeError("url must be a glob or a regex: a capture cannot ask a function of the sync API")
        self._wrappers.note(self.stop_capture)  # before the call: an interrupt may end it
        self._do(
            self._own.start_capture,
            path,
            url=url,
            max_payload=max_payload,
            redact=redact,
            max_size=max_size,
            rotate=rotate,
            min_free=min_free,
        )

    def offline(self) -> None:
        """Cut the connections of all apps, and refuse new ones, until `online()`; see `wirewright.Proxy`.

        The outage of a test of the pytest plugin ends with the test.
        """
        wrappers = self._wrappers
        if wrappers.undo is None:
            self._do(self._own.offline)
            return
        wrappers.check_going_on()
        wrappers.note(lambda: self._do(self._own._end_outage, wrappers))  # those of this test alone
        self._do(self._own._begin_outage, wrappers)

    online = awaited_method(own_proxy.Proxy.online)
    stop_capture = awaited_method(own_proxy.Proxy.stop_capture)
    annotate = awaited_method(own_proxy.Proxy.annotate)

    def set_default_timeout(self, timeout: float | timedelta) -> None:
        """Set the default timeout of waits, in milliseconds or as a timedelta. 0 means no limit."""
        before = self._own._timeout_setting
        self._call(self._own.set_default_timeout, timeout)
        self._wrappers.note(lambda: self._call(setattr, self._own, "_timeout_setting", before))

    def context(
        self, *, client: str | None = None, port: int | None = None, user: str | None = None
    ) -> "ProxyContext":
        """A proxy that sees, routes and records only the sockets of one device, port or user.

            with proxy.context(client="192.168.1.7") as phone:
                phone.wait_for_websocket("**/live")

        The parameters and errors are those of `wirewright.Proxy.context`.
        """
        self._wrappers.check_going_on()
        own = self._call(self._own.context, client=client, port=port, user=user)
        context = ProxyContext(own, self._wrappers)
        self._wrappers.note(context.close)
        return context

    def _asked(self, url: UrlMatch | None) -> Any:
        """A rule that is a function is a user's code: it is asked where that runs."""
        return DispatchedUrlMatch(self._wrappers, url) if callable(url) else url


class ProxyContext(Proxy, SyncContextManager):
    """The sockets of one device, port or user, as `wirewright.ProxyContext`. Made by `proxy.context`.

    Event: `websocket` with each WebSocket of the context.
    """

    _own: own_context.ProxyContext
    _expression, _value = "proxy.context(...)", "context"

    def __enter__(self) -> "ProxyContext":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    close = awaited_method(own_context.ProxyContext.close)


_KINDS: dict[type, type[Wrapper[Any]]] = {
    own_websocket.WebSocket: WebSocket,
    own_route.WebSocketRoute: WebSocketRoute,
}


@contextmanager
def temporary_registrations(proxy: Proxy) -> Iterator[Proxy]:
    """The same proxy. At the end of the block, the listeners and routes that it registered are removed."""
    wrappers = WrapperRegistry(proxy._bridge, _KINDS)
    undo: list[Callable[[], object]] = []
    wrappers.undo = undo
    wrappers.since = next(proxy._own._state.sequence)
    try:
        yield Proxy(proxy._own, wrappers)
    finally:
        wrappers.end()
        for take_back in reversed(undo):
            with suppress(Error):  # the proxy may be gone
                take_back()
        with suppress(Error):
            proxy._bridge.call(wrappers.close_catch_ups)


def route_in_loop(proxy: Proxy, url: UrlMatch | None, handler: own_route_table.RouteHandler) -> None:
    """Register a route whose handler is called in the proxy's event loop, as that of a replay."""
    asked = proxy._asked(url)
    proxy._do(proxy._own.route_web_socket, asked, handler)
    proxy._wrappers.note(lambda: proxy._do(proxy._own.unroute_web_socket, asked, handler))


class _InThread(SyncBlock):
    """A proxy of the async API, in a loop of its own for as long as the block runs."""

    _value = "proxy"

    def __init__(self, own: async_api.launch | async_api.connect) -> None:
        own._entered()  # by this block
        self._own = own
        self._without_effect = own._without_effect
        self._must_be_entered()

    def __enter__(self) -> Proxy:
        self._entered()
        refuse_in_running_loop()
        self._thread = thread = ProxyThread(self._own)
        # Ctrl-C may come before `__exit__`, or at the beginning of `leave`
        self._finalizer = weakref.finalize(self, thread.abandon)
        self._finalizer.atexit = False
        try:
            own = thread.enter()
            thread.wrappers = WrapperRegistry(thread.bridge, _KINDS)
            kind = ProxyContext if isinstance(own, own_context.ProxyContext) else Proxy
            return kind(own, thread.wrappers)
        except BaseException:  # Ctrl-C may come when it is inside already
            self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._thread.leave()
        self._finalizer.detach()


@shown_as("connect")
class _Connection(_InThread):
    """A connection to a proxy."""

    _expression = "connect(...)"

    def __init__(self, own: async_api.connect) -> None:
        super().__init__(own)
        self._connection = own

    def context(
        self, *, client: str | None = None, port: int | None = None, user: str | None = None
    ) -> AbstractContextManager[ProxyContext]:
        """The same connection for the sockets of one device, port or user alone.

            with connect().context(user="phone-2") as phone:
                phone.wait_for_websocket("**/live")

        The parameters and errors are those of `Proxy.context`.
        """
        self._misused()  # there is no other report if this raises
        self._connection.context(client=client, port=port, user=user)
        self._connection._entered()  # by this block
        self._must_be_entered()
        return self  # type: ignore[return-value]  # its value is a context now


@shown_as("launch")
class _Launch(_InThread):
    """A proxy in this program."""

    _expression = "launch(...)"


def _launched(own: async_api.launch) -> AbstractContextManager[Proxy]:
    return _Launch(own)


def _in_thread(enter: Callable[P, OwnT], kind: Callable[[OwnT], ThreadT], doc: str) -> Callable[P, ThreadT]:
    """The sync face of `launch` and `connect`."""

    @wraps(enter, assigned=("__name__", "__qualname__"))
    def in_thread(*arguments: P.args, **options: P.kwargs) -> ThreadT:
        return kind(enter(*arguments, **options))

    in_thread.__doc__ = doc
    return in_thread


launch = _in_thread(
    async_api.launch,
    _launched,
    """Run mitmproxy with Wirewright inside this program, in a thread of its own.

        with launch(port=0) as proxy:
            print(proxy.port, proxy.ca_certificate)

    The parameters, and the errors, are those of `wirewright.launch`.
    """,
)
connect = _in_thread(
    async_api.connect,
    _Connection,
    """Use a proxy that runs in another process, with `ws_remote` set.

    The parameters, and the errors, are those of `wirewright.async_api.connect`.
    """,
)
