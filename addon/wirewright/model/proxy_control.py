"""The back side of a Proxy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wirewright.model.emitter import Listeners
from wirewright.model.ended_sockets import EndedSocket
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.model.ownership import Owner
from wirewright.model.proxy import Host, Proxy, SocketRecorder
from wirewright.model.route_table import Rule
from wirewright.model.websocket import Carrier, HandshakeRequest, WebSocket
from wirewright.values import ClosedBy, Direction

STOPPED = "the proxy has stopped"
"""The reason of an end that `Control.close_all` makes."""


class Watcher(Protocol):
    """An object that is called for each new socket."""

    def opening(self, key: str, feed: Feed) -> None:
        """An app asks for a socket. Its `websocket` event follows."""


class Control:
    """The back side of a Proxy: for the program that runs it, not for its users."""

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
        """End the recording."""
        self.proxy._recorder = None
        for feed in self.proxy._feeds.values():
            for direction in Direction:
                feed.settled(None, direction=direction)
            feed.tape = None

    def attach(self, host: Host | None) -> None:
        """Set the program that runs the proxy; None if it has ended."""
        self.proxy._host = host

    def on_new_script(self, callback: Callable[[Owner], None]) -> None:
        """`callback(owner)` is called the first time that a script registers something."""
        self.proxy._scope.on_new_owner = callback

    def forget(self, owner: Owner) -> None:
        """Remove all that a script registered on the proxy and its open sockets, and cancel its waits."""
        proxy = self.proxy
        proxy._forget(owner)
        proxy._routes.forget(owner)
        if proxy._host is not None:
            proxy._host.forget(owner)
        for feed in proxy._feeds.values():
            feed.socket._forget(owner)
        proxy._scope.forget(owner)

    def open(
        self,
        key: str,
        handshake: HandshakeRequest,
        carrier: Carrier,
        limit: HistoryLimit,
        *,
        kind: type[WebSocket] = WebSocket,
        is_new: bool = True,
    ) -> Feed:
        """Make a socket, and emit its `websocket` event if it is new. `feed(key)` finds it again."""
        socket = kind(handshake, carrier, self.proxy._scope, limit)
        socket._number = self._take_number()
        socket._requested = next(self.proxy._moments)
        feed = self.proxy._feeds[key] = Feed(socket)
        if self.proxy._recorder is not None:
            feed.tape = self.proxy._recorder.record(socket, socket._number)
        for watcher in self.watchers:
            watcher.opening(key, feed)
        if is_new:
            self.proxy._emit_each("websocket", (socket,))
        return feed

    async def take_route(self, url: str) -> Rule | None:
        """The rule for a socket that opens now."""
        return await self.proxy._routes.take(url)

    @property
    def has_routes(self) -> bool:
        """True if there is any rule."""
        return bool(self.proxy._routes.rules)

    def may_route(self, url: str) -> bool:
        """`RouteTable.may_match` of the proxy."""
        return self.proxy._routes.may_match(url)

    def sockets(self) -> list[tuple[str, WebSocket]]:
        """The sockets that are not closed yet, with their keys."""
        return [(key, feed.socket) for key, feed in self.proxy._feeds.items()]

    def feeds(self) -> dict[str, Feed]:
        """The feeds of the sockets that are not closed yet, by their keys."""
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
        """Close a socket; see `Feed.closed`."""
        feed = self.proxy._feeds.pop(key, None)
        if feed is None:
            return
        socket = feed.socket
        self.proxy._ended.add(
            EndedSocket(
                requested=socket._requested,
                ended=next(self.proxy._moments),
                url=socket.url,
                opened_at=socket.opened_at,
                status=socket.status,
                error=socket.error,
                close_code=code,
                close_reason=reason,
                closed_by=by,
            )
        )
        feed.closed(code, reason, by, at)

    def close_all(self) -> None:
        """Close all sockets, as the proxy is about to end."""
        self.proxy._scope.is_ending = True
        for key, socket in self.sockets():
            if socket.opened_at is None:
                self.close(key, reason=STOPPED, by="proxy")
            else:
                self.close(key, 1006, STOPPED, "proxy")

    def settings(self) -> "Settings":
        """A copy of the listeners, the routes and the default timeout, which `end` restores."""
        listeners = {event: listeners.copy() for event, listeners in self.proxy._events.items()}
        return Settings(listeners, self.proxy._routes.copy(), self.proxy._scope.default_timeout)

    async def end(self, keep: "Settings", message: str = "Proxy closed") -> None:
        """Close all sockets, fail all waits with this message, cancel all tasks, and restore the settings in
        `keep`."""
        self.close_all()
        await self.proxy._scope.end(message)
        self.proxy._events = keep.listeners
        self.proxy._taps = ()
        self.proxy._routes.restore(keep.routes)
        self.proxy._scope.default_timeout = keep.default_timeout
        self.proxy._scope.is_ending = False
        self.proxy._ended.clear()
        self.proxy._host = None


@dataclass(frozen=True)
class Settings:
    """The listeners, the routes and the default timeout of a Proxy."""

    listeners: Listeners
    routes: list[Rule]
    default_timeout: float
    """Milliseconds."""
