"""The proxy: what a Page or a BrowserContext is in Playwright."""

import re
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wirewright.model.app_connections import AppsSeen
from wirewright.model.arguments import fit
from wirewright.model.awaitables import Completion
from wirewright.model.emitter import Listeners
from wirewright.model.errors import Error
from wirewright.model.event_signatures import ProxyListening, ProxyRemoval, ProxyWaiting
from wirewright.model.feed import Feed, Tape
from wirewright.model.history import HistoryLimit
from wirewright.model.matching import LateMatch, UrlMatch, UrlPattern, compile_match
from wirewright.model.ownership import Owner, current_owner
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_table import RouteHandler, Routes, Rule
from wirewright.model.scope import Scope
from wirewright.model.waiter import (
    EventContextManager,
    Predicate,
    Timeout,
    Waiter,
    WaitingEmitter,
    WaitOptions,
    to_milliseconds,
)
from wirewright.model.websocket import Carrier, Handshake, WebSocket
from wirewright.values import ClosedBy, Direction, Payload


class Host(Protocol):
    """The running proxy behind a Proxy."""

    @property
    def port(self) -> int | None:
        """The port it listens on; None where its mode has none (local capture)."""

    @property
    def ca_certificate(self) -> Path:
        """The PEM file that apps must trust."""

    @property
    def history(self) -> HistoryLimit:
        """How much each socket remembers."""

    def start_capture(self, path: Path, **options: Any) -> Awaitable[None] | None:
        """Record sockets in a file."""

    def stop_capture(self) -> Awaitable[None] | None:
        """Record no more."""

    def forget(self, owner: Owner) -> None:
        """End the capture that a script has begun."""

    def annotate(self, text: str) -> Awaitable[None] | None:
        """Put a remark into the capture that runs."""

    async def apps_seen(self) -> AppsSeen:
        """The counts of apps' connections and requests, and the TLS handshakes that failed."""

    def replay(self, path: Path, **options: Any) -> "ReplayHandler":
        """A route's handler that plays a capture."""


class ReplayHandler(Protocol):
    """A recorded server."""

    mismatches: deque[Any]
    """The newest messages of apps that were not the recorded ones; `str` of one says what differs."""
    finished: int
    """How many sockets have got to the end of their recording."""
    started: Completion[None]
    """Once it is awaited the proxy knows of it."""

    def matches(self, url: str) -> bool:
        """Whether it plays to a socket that opens."""

    def __call__(self, route: WebSocketRoute) -> object:
        """Play to a socket."""


class Watcher(Protocol):
    """Is told of each socket."""

    def opening(self, key: str, feed: Feed) -> None:
        """An app asks for a socket; nothing of it has been emitted yet."""


class SocketRecorder(Protocol):
    """What records sockets."""

    @property
    def first_number(self) -> int:
        """The number of the next socket that is recorded."""

    def record(self, socket: WebSocket, number: int) -> Tape | None:
        """Begin to record one as this number; None if it is not one of those that are meant."""


STOPPED = "the proxy has stopped"
"""The reason of an end that `Control.close_all` makes."""


def _expecting(function: Callable[..., Any]) -> ProxyWaiting[WebSocket, EventContextManager[WebSocket]]:
    return function


def _waiting(function: Callable[..., Any]) -> ProxyWaiting[WebSocket, Coroutine[Any, Any, WebSocket]]:
    return function


class Proxy(WaitingEmitter):
    """All sockets that pass. There is one in a process: `wirewright.proxy`.

    Event: `websocket` with the WebSocket, at the handshake's request, before there is an answer.
    """

    if TYPE_CHECKING:
        on: ProxyListening[WebSocket]  # type: ignore[assignment]
        once: ProxyListening[WebSocket]  # type: ignore[assignment]
        add_listener: ProxyListening[WebSocket]  # type: ignore[assignment]
        remove_listener: ProxyRemoval  # type: ignore[assignment]

    EVENTS = frozenset({"websocket"})

    def __init__(self) -> None:
        super().__init__(Scope())
        self._feeds: dict[str, Feed] = {}
        self._routes = Routes()
        self._recorder: SocketRecorder | None = None
        self._next_number = 1
        """The number of the next socket."""
        self._host: Host | None = None

    def __repr__(self) -> str:
        return f"<Proxy port={self._host.port if self._host else None}>"

    @property
    def web_sockets(self) -> list[WebSocket]:
        """The sockets that are open now, or opening, oldest first."""
        return [feed.socket for feed in self._feeds.values()]

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

    @_expecting
    def expect_event(
        self, event: str, predicate: Predicate | None = None, timeout: Timeout = None
    ) -> EventContextManager[Any]:
        """Wait for an event that the block causes: the listener is there before the block runs."""
        return EventContextManager(Waiter(self, event, predicate, timeout, self._wait_options(event)))

    @_waiting
    def wait_for_event(
        self, event: str, predicate: Predicate | None = None, timeout: Timeout = None
    ) -> Coroutine[Any, Any, Any]:
        """The event's next value for which the predicate holds. The listener is there from the call on."""
        return Waiter[Any](self, event, predicate, timeout, self._wait_options(event)).wait()

    def expect_websocket(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
    ) -> EventContextManager[WebSocket]:
        """Wait for a socket that the block causes, of a matching URL and for which the predicate holds.

        As in Playwright, the first argument may be the predicate: a callable is given the WebSocket.
        """
        return self.expect_event("websocket", both(url, predicate), timeout)

    def wait_for_websocket(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
    ) -> Coroutine[Any, Any, WebSocket]:
        """The next socket of a matching URL for which the predicate holds.

        As in Playwright, the first argument may be the predicate: a callable is given the WebSocket.
        """
        return self.wait_for_event("websocket", both(url, predicate), timeout)

    def _wait_options(self, event: str) -> WaitOptions:
        return WaitOptions(history_of=lambda socket: socket._history)

    def route_web_socket(
        self, url: UrlMatch | LateMatch | None, handler: RouteHandler, times: int | None = None
    ) -> Completion[None]:
        """Have a handler decide what becomes of sockets of a matching URL that are opened from now on.

        It is given a `WebSocketRoute`, before the handshake is answered, and is awaited if it is async. The
        newest matching handler is called and no other; `times` is for how many sockets, None for all. Raises
        ValueError and TypeError for what is no rule.
        """
        rule = self._routes.add(url, handler, times)
        self._scope.note_owner(rule.owner)
        return Completion()

    def unroute_web_socket(
        self, url: UrlMatch | LateMatch | None, handler: RouteHandler | None = None
    ) -> Completion[None]:
        """Take back a handler, or all that were registered for this URL. Open sockets keep theirs."""
        self._routes.remove(url, handler)
        return Completion()

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
        """Play the recorded server to sockets that are opened from now on; the real one is not contacted.

        Those of a recorded URL are meant, and of them the ones that match `url`; with a `url` the recording
        may be of another host, too. Of several recorded sockets of one URL each opening gets the next.

        `"lockstep"`: after each message of the app that is the recorded one the server's answers follow, with
        the gaps that they had, divided by `speed`. `"timed"`: the server's messages come at their times,
        whatever the app says. `compare` tells what the same message is: `"exact"`, `"json"`, a regex of what
        may differ, a callable that is given the recorded message and the live one, such as
        `wirewright.capture.ignoring_keys("id")`. A message that differs is logged with the difference and
        kept in the result's `mismatches`; then the connection is cut (`"abort"`), another message is waited
        for (`"wait"`), or the real server, which is connected all the time, gets it and all that follow
        (`"passthrough"`).

        `unroute_web_socket(replay.matches)` takes it back. Raises Error for what is no capture and while no
        proxy runs, ValueError and TypeError for a bad argument.
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
        """Record all sockets of a matching URL, those that are open and those to come, in a file.

        A capture that is there already gets another session. `max_payload` is how many bytes of each message
        are kept, None for all. `redact` names headers, query parameters and keys of JSON messages whose
        values do not get into the file; None for the usual ones. Once `session.db` has `max_size` bytes (1
        MiB or more), it goes on in `session-2.db`, and so on; `rotate` is how many of these files are kept,
        the newest, None for all. The recording ends, with a warning, before fewer than `min_free` bytes are
        free on the disk, None for 100 MiB; 0 sets no limit. A script's capture ends with the script.

        Raises Error where the file cannot be written, while another capture runs, and while no proxy does,
        ValueError and TypeError for a bad argument. It may be awaited, and must be where the proxy runs in
        another process.
        """
        owner = current_owner()
        started = self._running_host().start_capture(
            Path(path),
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
        """Record no more, and close the file. Nothing happens if no capture runs."""
        return Completion(self._running_host().stop_capture())

    def annotate(self, text: str) -> Completion[None]:
        """Put a remark into the capture that runs, such as what a test does next; `wirewright show` has it in
        its place. Raises Error while no capture runs.
        """
        return Completion(self._running_host().annotate(text))

    def set_default_timeout(self, timeout: float | timedelta) -> None:
        """How long a wait takes at most that has no `timeout` of its own, in milliseconds or as a timedelta;
        0 means no limit.
        """
        self._scope.default_timeout = to_milliseconds(timeout)

    def forget(self, owner: Owner) -> None:
        """Take back all that a script registered here and on the open sockets, and cancel its waits."""
        super().forget(owner)
        self._routes.forget(owner)
        if self._host is not None:
            self._host.forget(owner)
        for socket in self.web_sockets:
            socket.forget(owner)
        self._scope.forget(owner)

    def _running_host(self) -> Host:
        self._scope.check_runs()
        if self._host is None:
            raise Error("no proxy is running")
        return self._host


class Control:
    """The other side of a Proxy: for what runs it, not for its users."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.watchers: list[Watcher] = []

    def start_recording(self, recorder: SocketRecorder) -> None:
        """Record the sockets that are open and those that will be; all get numbers of the recording."""
        proxy = self.proxy
        proxy._recorder, proxy._next_number = recorder, recorder.first_number
        for feed in proxy._feeds.values():
            feed.socket._number = self._take_number()
            feed.tape = recorder.record(feed.socket, feed.socket._number)

    def number_of(self, socket: WebSocket) -> int:
        """The number by which people and captures know a socket. A recording that starts may change it."""
        return socket._number

    def _take_number(self) -> int:
        number, self.proxy._next_number = self.proxy._next_number, self.proxy._next_number + 1
        return number

    def stop_recording(self) -> None:
        """Record nothing more."""
        self.proxy._recorder = None
        for feed in self.proxy._feeds.values():
            for direction in Direction:
                feed.settled(None, direction=direction)
            feed.tape = None

    def attach(self, host: Host | None) -> None:
        """A proxy runs now, or (None) no longer."""
        self.proxy._host = host

    def on_new_script(self, callback: Callable[[Owner], None]) -> None:
        """`callback(owner)` is called the first time that a script registers something."""
        self.proxy._scope.on_new_owner = callback

    def open(
        self,
        key: str,
        handshake: Handshake,
        carrier: Carrier,
        limit: HistoryLimit,
        *,
        kind: type[WebSocket] = WebSocket,
        is_new: bool = True,
    ) -> Feed:
        """A socket; if it is new, its `websocket` event is emitted. `key` finds it again in `feed`."""
        socket = kind(handshake, carrier, self.proxy._scope, limit)
        socket._number = self._take_number()
        feed = self.proxy._feeds[key] = Feed(socket)
        if self.proxy._recorder is not None:
            feed.tape = self.proxy._recorder.record(socket, socket._number)
        for watcher in self.watchers:
            watcher.opening(key, feed)
        if is_new:
            self.proxy.emit_each("websocket", (socket,))
        return feed

    async def take_route(self, url: str) -> Rule | None:
        """The rule for a socket that opens now."""
        return await self.proxy._routes.take(url)

    @property
    def has_routes(self) -> bool:
        """Whether there is any rule."""
        return bool(self.proxy._routes.rules)

    def may_route(self, url: str) -> bool:
        """`Routes.may_match` of the proxy."""
        return self.proxy._routes.may_match(url)

    def sockets(self) -> list[tuple[str, WebSocket]]:
        """The sockets that are not closed yet, with their keys."""
        return [(key, feed.socket) for key, feed in self.proxy._feeds.items()]

    def feeds(self) -> dict[str, Feed]:
        """Those of the sockets that are not closed yet, by their keys."""
        return dict(self.proxy._feeds)

    def key_of(self, socket: WebSocket) -> str:
        """The key of a socket that is not closed yet. Raises KeyError for any other."""
        for key, feed in self.proxy._feeds.items():
            if feed.socket is socket:
                return key
        raise KeyError(socket.url)

    def feed(self, key: str) -> Feed | None:
        """The feed of a socket that is not closed yet."""
        return self.proxy._feeds.get(key)

    def close(
        self,
        key: str,
        code: int | None = None,
        reason: str | None = None,
        by: ClosedBy | None = None,
        at: float | None = None,
    ) -> None:
        """The end of a socket; see `Feed.closed`."""
        feed = self.proxy._feeds.pop(key, None)
        if feed is not None:
            feed.closed(code, reason, by, at)

    def close_all(self) -> None:
        """The proxy ends all sockets, and then itself."""
        self.proxy._scope.is_ending = True
        for key, socket in self.sockets():
            if socket.opened_at is None:
                self.close(key, reason=STOPPED, by="proxy")
            else:
                self.close(key, 1006, STOPPED, "proxy")

    def settings(self) -> "Settings":
        """What a user has set up so far, to be given to `end` later."""
        listeners = {event: listeners.copy() for event, listeners in self.proxy._events.items()}
        return Settings(listeners, self.proxy._routes.copy(), self.proxy._scope.default_timeout)

    async def end(self, keep: "Settings", message: str = "Proxy closed") -> None:
        """Close what is open, fail what waits with this message, cancel what runs, and go back to the
        settings in `keep`."""
        self.close_all()
        await self.proxy._scope.end(message)
        self.proxy._events = keep.listeners
        self.proxy._taps.clear()
        self.proxy._routes.restore(keep.routes)
        self.proxy._scope.default_timeout = keep.default_timeout
        self.proxy._scope.is_ending = False
        self.proxy._host = None


@dataclass(frozen=True)
class Settings:
    """What a user has set up on a Proxy."""

    listeners: Listeners
    routes: list[Rule]
    default_timeout: float
    """Milliseconds."""


def both(url: UrlPattern | Predicate | None, predicate: Predicate | None) -> Predicate:
    """The predicate on sockets that holds where the URL matches and the predicate holds, if there is one.

    As in Playwright, `url` may be the predicate itself. Raises ValueError and TypeError for anything else.
    """
    if callable(url):
        if predicate is not None:
            raise TypeError("give one predicate, as the first argument or as the second")
        return url
    if not (predicate is None or callable(predicate)):
        raise TypeError(f"predicate must be callable, not {type(predicate).__name__}")
    matches = compile_match(url)
    if predicate is None:
        return lambda socket: matches(socket.url)
    holds = fit(predicate, 1)
    return lambda socket: matches(socket.url) and holds(socket)
