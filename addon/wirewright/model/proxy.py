"""The proxy: what a Page or a BrowserContext is in Playwright."""

import re
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wirewright.model.async_wait import AsyncWait, EventContextManager
from wirewright.model.awaitables import Completion
from wirewright.model.context_filter import ContextFilter
from wirewright.model.emitter import Emitter
from wirewright.model.errors import Error
from wirewright.model.event_signatures import ProxyListening, ProxyRemoval
from wirewright.model.event_wait import Predicate, Timeout, WaitOptions, to_milliseconds
from wirewright.model.matching import UrlMatch
from wirewright.model.outside_sockets import OutsideSockets
from wirewright.model.ownership import current_owner
from wirewright.model.proxy_host import Host, ReplayHandler
from wirewright.model.proxy_state import ProxyState
from wirewright.model.route_table import RouteHandler
from wirewright.model.socket_match import SocketTrials
from wirewright.model.waiting_methods import ProxyWaits
from wirewright.model.web_socket_mock import WebSocketMock
from wirewright.model.websocket import WebSocket
from wirewright.values import Payload

if TYPE_CHECKING:
    from wirewright.model.proxy_context import ProxyContext

__tracebackhide__ = True  # pytest shows the line that calls


class Proxy(Emitter, ProxyWaits[WebSocket, EventContextManager[WebSocket], Coroutine[Any, Any, WebSocket]]):
    """The sockets of a proxy. `wirewright.proxy` is this process's; `connect` and `context` return others.

    Event: `websocket` with the WebSocket, at the handshake's request, before there is an answer.
    """

    if TYPE_CHECKING:
        on: ProxyListening[WebSocket]  # type: ignore[assignment]
        once: ProxyListening[WebSocket]  # type: ignore[assignment]
        add_listener: ProxyListening[WebSocket]  # type: ignore[assignment]
        remove_listener: ProxyRemoval  # type: ignore[assignment]

    _EVENTS = frozenset({"websocket"})
    _EVENTS_ELSEWHERE = dict.fromkeys(
        WebSocket._EVENTS,
        "an event of a WebSocket: take the socket from expect_websocket, and wait for its event",
    )

    def __init__(self, state: ProxyState | None = None, context: ContextFilter | None = None) -> None:
        """`context` accepts the sockets that this proxy shows; None stands for all. For Wirewright alone."""
        self._shared = state or ProxyState()
        self._filter = context
        self._outside = None if context is None else OutsideSockets(context)
        super().__init__(self._shared.scope)

    def __repr__(self) -> str:
        host = self._shared.host
        return f"<Proxy port={host.port if host else None}>"

    @property
    def web_sockets(self) -> list[WebSocket]:
        """The sockets that are open now, or opening, oldest first."""
        return self._state.sockets(self._filter)

    @property
    def port(self) -> int:
        """The port that the proxy listens on. Raises Error where it listens on none, or does not run."""
        port = self._running_host().port
        if port is None:
            raise Error("this proxy listens on no port: its mode captures traffic by itself")
        return port

    @property
    def ca_certificate(self) -> Path:
        """The PEM file of the CA that apps must trust. Raises Error while no proxy runs."""
        return self._running_host().ca_certificate

    def _expect(
        self, event: str, predicate: Predicate | None, timeout: Timeout, call: str
    ) -> EventContextManager[WebSocket]:
        wait: AsyncWait[WebSocket] = AsyncWait(self, event, predicate, timeout, self._wait_options(event))
        return EventContextManager(wait, call)

    def _wait_for(
        self, event: str, predicate: Predicate | None, timeout: Timeout, call: str
    ) -> Coroutine[Any, Any, WebSocket]:
        wait: AsyncWait[WebSocket] = AsyncWait(self, event, predicate, timeout, self._wait_options(event))
        return wait.wait(call)

    def _model_socket(self, socket: WebSocket) -> WebSocket:
        return socket

    def _wait_options(self, event: str) -> WaitOptions:
        sockets = self.web_sockets
        trials = SocketTrials(reversed(sockets), len(sockets), self._outside)
        return WaitOptions(trials=trials, history_of=lambda socket: socket._history)

    def route_web_socket(
        self, url: UrlMatch | None, handler: RouteHandler, times: int | None = None
    ) -> Completion[None]:
        """Call a handler for each socket of a matching URL that opens from now on.

        The handler gets a `WebSocketRoute` before the handshake is answered, and is awaited if it is async.
        Only the newest matching handler is called. `times` limits the number of sockets; None is no limit.
        Raises ValueError and TypeError for arguments that are not a rule.
        """
        return Completion(self._state.add_route(url, handler, times, self._filter))

    def mock_web_socket(self, url: UrlMatch | None, *, strict: bool = False) -> WebSocketMock:
        """Be the server of the sockets of a matching URL that open from now on, by a table of rules.

            mock = proxy.mock_web_socket("**/live")
            mock.on(json={"type": "ping"}).reply({"type": "pong"})

        It is a route. With `strict` a frame without a rule is an error of the route's handler, which fails a
        test. In the async API the result may be awaited, as that of `route_web_socket`.
        """
        return WebSocketMock(url, self.route_web_socket, self._scope, strict=strict)

    def unroute_web_socket(
        self, url: UrlMatch | None, handler: RouteHandler | None = None
    ) -> Completion[None]:
        """Remove a handler, or all that were registered for this URL. Open sockets keep theirs."""
        return Completion(self._state.remove_routes(url, handler, self._filter))

    def route_from_capture(
        self,
        path: str | Path,
        *,
        url: UrlMatch | None = None,
        match: Literal["lockstep", "timed"] = "lockstep",
        speed: float = 1.0,
        on_mismatch: Literal["abort", "wait", "passthrough"] = "abort",
        compare: "str | re.Pattern[str] | Callable[[Payload, Payload], object]" = "exact",
    ) -> ReplayHandler:
        """Play the recorded server to sockets that open from now on. The real server is not contacted.

        The recording is played to sockets with a recorded URL that matches `url`. With a `url`, the recording
        may be of another host. If several sockets of one URL were recorded, each new socket gets the next.

        - `match="lockstep"`: each message of the app that is the recorded one is followed by the recorded
          answers, with the recorded gaps divided by `speed`.
        - `match="timed"`: the server's messages are sent at the recorded times, whatever the app sends.

        `compare` decides if two messages are the same: `"exact"`, `"json"`, a regex of the parts that may
        differ, or a function of the recorded and the live message, such as
        `wirewright.capture.ignoring_keys("id")`. A different message is logged, and kept in `mismatches` of
        the result. Then `on_mismatch` applies: `"abort"` cuts the connection, `"wait"` waits for another
        message, and `"passthrough"` hands over to the real server, which is connected from the beginning.

        `path` is a capture, or a cassette of the pytest plugin. `unroute_web_socket(replay.matches)` ends it.
        Raises Error for another file and while no proxy runs, ValueError and TypeError for a wrong argument.
        """
        replay = self._running_host().replay(
            Path(path), url=url, match=match, speed=speed, on_mismatch=on_mismatch, compare=compare
        )
        replay.started = self.route_web_socket(replay.matches, replay)
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
    ) -> Completion[None]:
        """Record all sockets of a matching URL in a file, those that are open and those that will be.

        An existing capture gets another session. `max_payload` is the number of bytes that are kept of each
        message; None keeps all. The values of the headers, query parameters and JSON keys in `redact` are not
        written; None stands for the usual names. When `session.db` has `max_size` bytes (1 MiB or more), the
        recording continues in `session-2.db`, and so on. `rotate` is the number of these files that are kept,
        the newest; None keeps all. The recording ends, with a warning, before less than `min_free` bytes are
        free on the disk; None stands for 100 MiB, 0 for no limit. A script's capture ends with the script.

        Raises Error if the file cannot be written, while another capture runs, and while no proxy runs;
        ValueError and TypeError for a wrong argument. The result may be awaited. If the proxy runs in another
        process, it must be.
        """
        owner = current_owner()
        started = self._running_host().start_capture(
            Path(path),
            self._filter,
            owner=owner,
            url=url,
            max_payload=max_payload,
            redact=redact,
            max_size=max_size,
            rotate=rotate,
            min_free=min_free,
        )
        self._scope.note_owner(owner)
        return Completion(started)

    def stop_capture(self) -> Completion[None]:
        """End the recording, and close the file. Nothing happens if no capture runs."""
        return Completion(self._running_host().stop_capture(self._filter))

    def annotate(self, text: str) -> Completion[None]:
        """Write a remark into the running capture, such as the next step of a test. `wirewright show` prints
        it between the messages. Raises Error while no capture runs.
        """
        return Completion(self._running_host().annotate(text, self._filter))

    def offline(self) -> Completion[None]:
        """Cut the connections of all apps, and refuse new ones, until `online()`.

        The connections of all apps and servers are cut, with no close frame: sockets end with 1006. Nothing
        is forwarded to a server any more, and nothing answered by a route. A new handshake fails at once: the
        socket has `websocket`, `socketerror` (net::ERR_INTERNET_DISCONNECTED) and `close`. All other requests
        and connections of apps are cut, too. Remote clients of the proxy stay connected.

        Of a context, only its own apps are cut. The outage ends with the script that called it, and with the
        remote client. Raises Error while no proxy runs.
        """
        owner = current_owner()
        begun = self._begin_outage(owner)
        self._scope.note_owner(owner)
        return begun

    def online(self) -> Completion[None]:
        """End the outage, whoever began it. Nothing happens without one.

        `online()` of a context does not end an outage of the whole proxy. Raises Error while no proxy runs.
        """
        return Completion(self._running_host().end_outage(context=self._filter))

    def _begin_outage(self, holder: object) -> Completion[None]:
        return Completion(self._running_host().begin_outage(holder, self._filter))

    def _end_outage(self, holder: object) -> Completion[None]:
        """End the outages that one holder has begun."""
        return Completion(self._running_host().end_outage(holder=holder))

    def set_default_timeout(self, timeout: float | timedelta) -> None:
        """Set the timeout of waits that have no `timeout` of their own, in milliseconds or as a timedelta.

        0 means no limit. That of a context is for waits on the context and its sockets.
        """
        self._timeout_setting = to_milliseconds(timeout)

    def context(
        self, *, client: str | None = None, port: int | None = None, user: str | None = None
    ) -> "ProxyContext":
        """A proxy that sees, routes and records only the sockets of one device, port or user.

            async with proxy.context(client="192.168.1.7") as phone:
                await phone.wait_for_websocket("**/live")

        `client` is the IP address of the device. `port` is the port that the app connects to, of a proxy with
        several modes. `user` is the name with which the app logs in at the proxy (mitmproxy's option
        `proxyauth`). A socket must have all that are given. Listeners, routes, the capture and the default
        timeout of a context are its own. A context that is made of a context has the conditions of both.

        Raises ValueError and TypeError for a wrong argument, or none. Playwright's counterpart:
        https://playwright.dev/python/docs/browser-contexts
        """
        from wirewright.model.proxy_context import ProxyContext

        return ProxyContext(self, ContextFilter(client, port, user, self._filter))

    @property
    def _state(self) -> ProxyState:
        """The state that the proxy and its contexts share. Raises Error for a context that is closed."""
        return self._shared

    @property
    def _timeout_setting(self) -> float | None:
        """The default timeout that was set here, in milliseconds; None if there is none."""
        return self._shared.timeouts.get(self._filter)

    @_timeout_setting.setter
    def _timeout_setting(self, milliseconds: float | None) -> None:
        if milliseconds is None:
            self._shared.timeouts.pop(self._filter, None)
        else:
            self._shared.timeouts[self._filter] = milliseconds

    @property
    def _default_timeout(self) -> float:
        return self._shared.timeout_in(self._filter)

    def _sees(self, socket: WebSocket) -> bool:
        """True if the socket is one of this proxy's."""
        return self._filter is None or self._filter.accepts(socket._origin)

    def _running_host(self) -> Host:
        self._check_runs()
        return self._shared.running_host()

    def _add_event_handler(self, event: str, k: Callable[..., Any], v: Callable[..., Any]) -> None:
        self._check_runs()
        super()._add_event_handler(event, k, v)
