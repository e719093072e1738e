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
call and wait for everything here, too, and while one waits the next one has its turn. All of it may be used
from several threads.

Any of these functions may be async. It begins in its place in that order and runs in the proxy's thread: it
may await anything of asyncio, it must not block, and it cannot wait with this API.

https://playwright.dev/python/docs/library
"""

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from wirewright import async_api
from wirewright.capture.replay.comparisons import ignoring_keys
from wirewright.model import proxy as own_proxy
from wirewright.model import route as own_route
from wirewright.model import websocket as own_websocket
from wirewright.model.errors import EndedError, EndpointError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_signatures import (
    ProxyListening,
    ProxyRemoval,
    ProxyWaiting,
    SocketListening,
    SocketRemoval,
    SocketWaiting,
)
from wirewright.model.handshake import HeaderChanges, HeaderFields
from wirewright.model.history import Message
from wirewright.model.matching import UrlMatch, UrlPattern
from wirewright.model.proxy import ReplayHandler
from wirewright.model.route import CloseHandler, Directions, MessageHandler, Milliseconds
from wirewright.model.running_proxies import RunningProxy, running_proxies
from wirewright.model.waiter import Predicate, Timeout
from wirewright.sync.bridge import Bridge
from wirewright.sync.listeners import SocketsWrapper, SocketWrapper
from wirewright.sync.waits import EventContextManager, EventInfo, SyncWait
from wirewright.sync.wrappers import Asked, AskedUrl, PassedProperty, Wrapper, Wrappers
from wirewright.values import ClosedBy, Conditions, Payload

__all__ = [
    "EndedError",
    "EndpointError",
    "Error",
    "EventInfo",
    "Proxy",
    "TimeoutError",
    "WebSocket",
    "WebSocketRoute",
    "connect",
    "launch",
]

RouteHandler = Callable[["WebSocketRoute"], Any] | Callable[[], Any]
"""Is given the app's side of the route before the handshake is answered."""


def _socket_expecting(
    function: Callable[..., Any],
) -> SocketWaiting[
    "WebSocket",
    EventContextManager[Payload],
    EventContextManager["WebSocket"],
    EventContextManager[str],
    EventContextManager[int],
]:
    return function


def _socket_waiting(
    function: Callable[..., Any],
) -> SocketWaiting["WebSocket", Payload, "WebSocket", str, int]:
    return function


def _expecting(function: Callable[..., Any]) -> "ProxyWaiting[WebSocket, EventContextManager[WebSocket]]":
    return function


def _waiting(function: Callable[..., Any]) -> "ProxyWaiting[WebSocket, WebSocket]":
    return function


class WebSocket(SocketWrapper):
    """One socket of an app, as `wirewright.WebSocket`.

    Events: `framesent` and `framereceived` with the payload (str for text, bytes for binary), `socketerror`
    with a str, `close` with this WebSocket, once.
    """

    if TYPE_CHECKING:
        on: SocketListening["WebSocket"]  # type: ignore[assignment]
        once: SocketListening["WebSocket"]  # type: ignore[assignment]
        remove_listener: SocketRemoval  # type: ignore[assignment]

    url = PassedProperty[str](own_websocket.WebSocket.url)
    request_headers = PassedProperty[dict[str, str]](own_websocket.WebSocket.request_headers)
    response_headers = PassedProperty[dict[str, str] | None](own_websocket.WebSocket.response_headers)
    status = PassedProperty[int | None](own_websocket.WebSocket.status)
    subprotocol = PassedProperty[str | None](own_websocket.WebSocket.subprotocol)
    client_address = PassedProperty[tuple[str, int] | None](own_websocket.WebSocket.client_address)
    server_address = PassedProperty[tuple[str, int] | None](own_websocket.WebSocket.server_address)
    opened_at = PassedProperty[float | None](own_websocket.WebSocket.opened_at)
    closed_at = PassedProperty[float | None](own_websocket.WebSocket.closed_at)
    close_code = PassedProperty[int | None](own_websocket.WebSocket.close_code)
    close_reason = PassedProperty[str | None](own_websocket.WebSocket.close_reason)
    closed_by = PassedProperty[ClosedBy | None](own_websocket.WebSocket.closed_by)
    route_errors = PassedProperty[int](own_websocket.WebSocket.route_errors)

    @property
    def flow(self) -> None:
        """None: mitmproxy's flow is for the proxy's own thread."""

    def is_closed(self) -> bool:
        """Whether it is over."""
        return self._own.is_closed()

    def request_headers_array(self) -> list[dict[str, str]]:
        """Each field of the request as `{"name": ..., "value": ...}`: in wire order, names as written."""
        return self._own.request_headers_array()

    def response_headers_array(self) -> list[dict[str, str]] | None:
        """Each field of the answer as `{"name": ..., "value": ...}`; None until there is one."""
        return self._own.response_headers_array()

    @_socket_expecting
    def expect_event(
        self,
        event: str,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> EventContextManager[Any]:
        """Wait for an event that the block causes: the listener is there before the block runs.

        `history=True` first tries the frames that the socket still remembers. Raises Error("Socket
        closed"), Error("Socket error") or TimeoutError at the end of the block.
        """
        return EventContextManager(
            lambda: SyncWait(
                self._wrappers, self._own, event, predicate, timeout, history=history, is_for_block=True
            )
        )

    @_socket_waiting
    def wait_for_event(
        self,
        event: str,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> Any:
        """The event's next value for which the predicate holds. The errors are those of `expect_event`."""
        return SyncWait[Any](self._wrappers, self._own, event, predicate, timeout, history=history).take()

    def send_to_client(self, message: Message) -> None:
        """Send the app a message, as if the server had. Raises Error on a socket that is not open."""
        self._do(self._own.send_to_client, message)

    def send_to_server(self, message: Message) -> None:
        """Send the server a message, as if the app had. Raises Error on a socket that is not open."""
        self._do(self._own.send_to_server, message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the socket towards both sides. Raises Error on a socket that is not open."""
        self._do(self._own.close, code, reason)

    def abort(self) -> None:
        """Cut the connections of both sides with no close frame. Raises Error where they are not open."""
        self._do(self._own.abort)


class WebSocketRoute(Wrapper[own_route.WebSocketRoute]):
    """One side of a routed socket, the app's or the server's, as `wirewright.WebSocketRoute`.

    A route's handler is given the app's side, and `connect_to_server` returns the server's.
    """

    url = PassedProperty[str](own_route.WebSocketRoute.url)
    protocols = PassedProperty[list[str]](own_route.WebSocketRoute.protocols)
    request_headers = PassedProperty[dict[str, str]](own_route.WebSocketRoute.request_headers)

    def request_headers_array(self) -> list[dict[str, str]]:
        """Of the app's handshake, as `WebSocket.request_headers_array`."""
        return self._own.request_headers_array()

    def send(self, message: Message) -> None:
        """Send this side a message: str as text, bytes as binary."""
        self._call(self._own.send, message)

    def close(self, code: int | None = None, reason: str | None = None) -> None:
        """Close this side, and then the other one with the same code, unless `on_close` is set here."""
        self._call(self._own.close, code, reason)

    def on_message(self, handler: MessageHandler) -> None:
        """Give this side's messages to a handler instead of forwarding them. A later handler replaces it."""
        self._call(self._own.on_message, Asked(self._wrappers, handler))

    def on_close(self, handler: CloseHandler) -> None:
        """Tell a handler of this side's end, which then is not the other side's end, too."""
        self._call(self._own.on_close, Asked(self._wrappers, handler, 2))

    def connect_to_server(self, headers: HeaderChanges | None = None) -> "WebSocketRoute":
        """Have the handshake go to the server, and return the server's side.

        Only the app's side, which a route's handler is given, can do that.
        """
        side: WebSocketRoute = self._wrappers.of(self._call(self._own.connect_to_server, headers))
        return side

    @property
    def server(self) -> "WebSocketRoute":
        """The server's side, whether or not there is a server."""
        side: WebSocketRoute = self._wrappers.of(self._own.server)
        return side

    def redirect(self, url: str, headers: HeaderChanges | None = None) -> "WebSocketRoute":
        """Have the handshake go to another server, and return that server's side."""
        side: WebSocketRoute = self._wrappers.of(self._call(self._own.redirect, url, headers))
        return side

    def accept(self, protocol: str | None, headers: HeaderFields | None = None) -> None:
        """Answer the handshake here with this subprotocol, or (None) without one; `headers` are added."""
        self._call(self._own.accept, protocol, headers)

    def reject(self, status: int, headers: HeaderFields | None = None, body: Message = b"") -> None:
        """Refuse the handshake with an HTTP status (200 to 599).

        `headers` are a mapping, or a list in which a name may occur again: of (name, value) pairs, or of
        `{"name": ..., "value": ...}`.
        """
        self._call(self._own.reject, status, headers, body)

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
        """Put the network between the app and the proxy under conditions; see `wirewright.WebSocketRoute`."""
        return self._call(
            self._own.conditions,
            latency=latency,
            jitter=jitter,
            bytes_per_second=bytes_per_second,
            drop=drop,
            duplicate=duplicate,
            reorder=reorder,
            stall_after=stall_after,
            seed=seed,
            direction=direction,
        )

    def abort(self) -> None:
        """Cut the connections with no close frame: the app sees 1006. At any time."""
        self._call(self._own.abort)


class Proxy(SocketsWrapper[own_proxy.Proxy]):
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

    @_expecting
    def expect_event(
        self, event: str, predicate: Predicate | None = None, timeout: Timeout = None
    ) -> EventContextManager[Any]:
        """Wait for an event that the block causes: the listener is there before the block runs."""
        return EventContextManager(lambda: SyncWait(self._wrappers, self._own, event, predicate, timeout))

    @_waiting
    def wait_for_event(self, event: str, predicate: Predicate | None = None, timeout: Timeout = None) -> Any:
        """The event's next value for which the predicate holds."""
        return SyncWait[Any](self._wrappers, self._own, event, predicate, timeout).take()

    def expect_websocket(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
    ) -> EventContextManager[WebSocket]:
        """Wait for a socket that the block causes, of a matching URL and for which the predicate holds.

        As in Playwright, the first argument may be the predicate: a callable is given the WebSocket.
        """
        return self.expect_event("websocket", _both(url, predicate), timeout)

    def wait_for_websocket(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
    ) -> WebSocket:
        """The next socket of a matching URL for which the predicate holds.

        As in Playwright, the first argument may be the predicate: a callable is given the WebSocket.
        """
        socket: WebSocket = self.wait_for_event("websocket", _both(url, predicate), timeout)
        return socket

    def route_web_socket(self, url: UrlMatch | None, handler: RouteHandler, times: int | None = None) -> None:
        """Have a handler decide what becomes of sockets of a matching URL that are opened from now on.

        It is called in the dispatcher's thread with a WebSocketRoute, and the handshake waits for it.
        """
        self._wrappers.check_going_on()
        self._do(self._own.route_web_socket, self._asked(url), Asked(self._wrappers, handler), times)
        self._wrappers.note(lambda: self.unroute_web_socket(url, handler))

    def unroute_web_socket(self, url: UrlMatch | None, handler: RouteHandler | None = None) -> None:
        """Take back a handler, or all that were registered for this URL. Open sockets keep theirs."""
        own = None if handler is None else Asked(self._wrappers, handler)
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
                compare=Asked(self._wrappers, compare, 2) if is_function else compare,
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

    def stop_capture(self) -> None:
        """Record no more, and close the file. Nothing happens if no capture runs."""
        self._do(self._own.stop_capture)

    def annotate(self, text: str) -> None:
        """Put a remark into the capture that runs. Raises Error while none runs."""
        self._do(self._own.annotate, text)

    def set_default_timeout(self, timeout: float | timedelta) -> None:
        """How long a wait takes at most that has no `timeout` of its own, in milliseconds or as a timedelta;
        0 means no limit.
        """
        before = self._own._scope.default_timeout
        self._call(self._own.set_default_timeout, timeout)
        self._wrappers.note(lambda: self._call(self._own.set_default_timeout, before))

    def _asked(self, url: UrlMatch | None) -> Any:
        """A rule that is a function is a user's code: it is asked where that runs."""
        return AskedUrl(self._wrappers, url) if callable(url) else url


_KINDS: dict[type, type[Wrapper[Any]]] = {
    own_websocket.WebSocket: WebSocket,
    own_route.WebSocketRoute: WebSocketRoute,
}


def _both(url: UrlPattern | Predicate | None, predicate: Predicate | None) -> Predicate | None:
    """As the async API does it: both are asked in the thread that waits."""
    return None if not url and predicate is None else own_proxy.both(url, predicate)


@contextmanager
def for_a_while(proxy: Proxy) -> Iterator[Proxy]:
    """The same proxy; what is registered on it, and on its sockets, is taken back at the end of the block."""
    wrappers = Wrappers(proxy._bridge, _KINDS)
    undo: list[Callable[[], object]] = []
    wrappers.undo = undo
    try:
        yield Proxy(proxy._own, wrappers)
    finally:
        wrappers.end()
        for take_back in reversed(undo):
            with suppress(Error):  # the proxy may be gone
                take_back()
        with suppress(Error):
            proxy._bridge.call(wrappers.catch_up)


class _InThread(ABC):
    """A proxy of the async API, in a loop of its own for as long as the block runs."""

    @abstractmethod
    def _open(self) -> AbstractAsyncContextManager[own_proxy.Proxy]:
        """The proxy, for as long as the block runs."""

    def __enter__(self) -> Proxy:
        self._is_inside = False
        self._wrappers: Wrappers | None = None
        self._own = self._open()
        self._bridge = Bridge()
        try:
            self._bridge.start()
            own = self._bridge.wait(self._enter())
            self._let_settle(own)
            self._wrappers = Wrappers(self._bridge, _KINDS)
            return Proxy(own, self._wrappers)
        except BaseException:  # Ctrl-C may come when it is inside already
            self._stop()
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        try:
            if self._is_inside:
                self._bridge.wait(self._leave())
        finally:
            self._bridge.stop()

    async def _enter(self) -> own_proxy.Proxy:
        proxy = await self._own.__aenter__()
        self._is_inside = True
        return proxy

    def _let_settle(self, own: own_proxy.Proxy) -> None:
        for running in running_proxies():
            if running.loop is self._bridge.loop:
                running.settle = partial(self._settle, running, own)

    def _settle(self, running: RunningProxy, own: own_proxy.Proxy) -> None:
        running.run(own._running_host().apps_seen())  # what was told before the answer is here by then
        self._bridge.settle()

    async def _leave(self) -> None:
        if self._is_inside:  # else a handler has left it
            self._is_inside = False
            try:
                await self._own.__aexit__(None, None, None)
            finally:
                self._bridge.is_ended = True
                if self._wrappers is not None:
                    self._wrappers.catch_up()


class launch(_InThread):  # noqa: N801  used like a function, as in Playwright
    """Run mitmproxy with Wirewright inside this program, in a thread of its own.

        with launch(port=0) as proxy:
            print(proxy.port, proxy.ca_certificate)

    The parameters, and the errors, are those of `wirewright.launch`.
    """

    def __init__(
        self,
        port: int = 8080,
        *,
        host: str = "127.0.0.1",
        mode: Sequence[str] = ("regular",),
        options: Mapping[str, Any] | None = None,
        confdir: str | Path | None = None,
    ) -> None:
        self._launching = async_api.launch(port, host=host, mode=mode, options=options, confdir=confdir)

    def _open(self) -> AbstractAsyncContextManager[own_proxy.Proxy]:
        return self._launching


class connect(_InThread):  # noqa: N801  used like a function, as in Playwright
    """Use a proxy that runs in another process, with `ws_remote` set.

    The parameters, and the errors, are those of `wirewright.async_api.connect`.
    """

    def __init__(
        self,
        endpoint: str | Path | None = None,
        *,
        token: str | None = None,
        url: UrlMatch | None = None,
        events: Sequence[Literal["framesent", "framereceived"]] = ("framesent", "framereceived"),
        route_timeout: float = async_api.ROUTE_TIMEOUT,
        route_fallback: Literal["pass", "drop"] = "pass",
        tls: ssl.SSLContext | str | Path | None = None,
        allow_cleartext: bool = False,
    ) -> None:
        self._connecting = async_api.connect(
            endpoint,
            token=token,
            url=url,
            events=events,
            route_timeout=route_timeout,
            route_fallback=route_fallback,
            tls=tls,
            allow_cleartext=allow_cleartext,
        )

    def _open(self) -> AbstractAsyncContextManager[own_proxy.Proxy]:
        return self._connecting
