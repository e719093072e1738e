"""The back side of a Proxy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wirewright.model.carrier import Carrier
from wirewright.model.context_filter import ContextFilter
from wirewright.model.emitter import Listeners
from wirewright.model.ended_sockets import EndedSocket
from wirewright.model.feed import Feed
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.history import HistoryLimit
from wirewright.model.ownership import Owner
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_host import Host
from wirewright.model.route_table import Rule
from wirewright.model.tape import Recording, SocketRecorder
from wirewright.model.websocket import WebSocket
from wirewright.values import ClosedBy

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
        self._state = proxy._state
        self.watchers: list[Watcher] = []

    def start_recording(self, recorder: SocketRecorder, context: ContextFilter | None = None) -> None:
        """Record the sockets of a context that are open and those that will be.

        Without a context these are all sockets, and they get the numbers of the recording.
        """
        state = self._state
        state.recordings[context] = Recording(recorder, recorder.first_number)
        if context is None:
            state.next_number = recorder.first_number
        for feed in state.feeds.values():
            if context is None:
                feed.socket._number = state.take_number()
            self._record(feed, context)

    def _record(self, feed: Feed, context: ContextFilter | None) -> None:
        recording, socket = self._state.recordings[context], feed.socket
        if context is None:
            feed.set_tape(None, recording.recorder.record(socket, socket._number))
        elif context.accepts(socket._origin):
            feed.set_tape(context, recording.recorder.record(socket, recording.next_number))
            recording.next_number += 1

    def number_of(self, socket: WebSocket) -> int:
        """The number by which people and captures know a socket. A recording that starts may change it."""
        return socket._number

    def stop_recording(self, context: ContextFilter | None = None) -> None:
        """End the recording of a context, or of the proxy."""
        self._state.recordings.pop(context, None)
        for feed in self._state.feeds.values():
            feed.set_tape(context, None)

    def attach(self, host: Host | None) -> None:
        """Set the program that runs the proxy; None if it has ended."""
        self._state.host = host

    def on_new_script(self, callback: Callable[[Owner], None]) -> None:
        """`callback(owner)` is called the first time that a script registers something."""
        self._state.scope.on_new_owner = callback

    def forget(self, owner: Owner) -> None:
        """Remove all that a script registered on the proxy and its open sockets, and cancel its waits."""
        state = self._state
        for context in list(state.contexts):
            if context._owner is owner:
                context.close()
            context._forget(owner)
        self.proxy._forget(owner)
        state.routes.forget(owner)
        if state.host is not None:
            state.host.forget(owner)
        for feed in state.feeds.values():
            feed.socket._forget(owner)
        state.scope.forget(owner)

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
        state = self._state
        socket = kind(handshake, carrier, state.scope, limit)
        socket._number = state.take_number()
        socket._request_sequence = next(state.sequence)
        socket._timeout_of = state.timeout_of
        feed = state.feeds[key] = Feed(socket)
        for context in state.recordings:
            self._record(feed, context)
        for watcher in self.watchers:
            watcher.opening(key, feed)
        if is_new:
            for emitter in (self.proxy, *state.contexts):
                if emitter._sees(socket):
                    emitter._emit_each("websocket", (socket,))
            self.passed(handshake)
        return feed

    def passed(self, asked: HandshakeRequest) -> None:
        """An app has asked for a socket: contexts that leave it out name it in the errors of their waits."""
        for context in self._state.contexts:
            context._outside.add(asked)

    async def take_route(self, asked: HandshakeRequest) -> Rule | None:
        """The rule for a socket that opens now."""
        return await self._state.routes.take(asked)

    @property
    def has_routes(self) -> bool:
        """True if there is any rule."""
        return bool(self._state.routes.rules)

    def may_route(self, asked: HandshakeRequest) -> bool:
        """`RouteTable.may_match` of the proxy."""
        return self._state.routes.may_match(asked)

    def sockets(self) -> list[tuple[str, WebSocket]]:
        """The sockets that are not closed yet, with their keys."""
        return [(key, feed.socket) for key, feed in self._state.feeds.items()]

    def feeds(self) -> dict[str, Feed]:
        """The feeds of the sockets that are not closed yet, by their keys."""
        return dict(self._state.feeds)

    def key_of(self, socket: WebSocket) -> str:
        """The key of a socket that is not closed yet. Raises KeyError for any other."""
        for key, feed in self._state.feeds.items():
            if feed.socket is socket:
                return key
        raise KeyError(socket.url)

    def feed(self, key: str) -> Feed | None:
        """The feed of a socket that is not closed yet."""
        return self._state.feeds.get(key)

    def close(
        self,
        key: str,
        code: int | None = None,
        reason: str | None = None,
        by: ClosedBy | None = None,
        at: float | None = None,
    ) -> None:
        """Close a socket; see `Feed.closed`."""
        feed = self._state.feeds.pop(key, None)
        if feed is None:
            return
        socket = feed.socket
        self._state.ended.add(
            EndedSocket(
                request_sequence=socket._request_sequence,
                end_sequence=next(self._state.sequence),
                url=socket.url,
                origin=socket._origin,
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
        self._state.scope.is_ending = True
        for key, socket in self.sockets():
            if socket.opened_at is None:
                self.close(key, reason=STOPPED, by="proxy")
            else:
                self.close(key, 1006, STOPPED, "proxy")

    def settings(self) -> "Settings":
        """A copy of the listeners, the routes and the default timeouts, which `end` restores."""
        state = self._state
        listeners = [
            (emitter, {event: each.copy() for event, each in emitter._events.items()})
            for emitter in (self.proxy, *state.contexts)
        ]
        return Settings(listeners, dict(state.timeouts), state.routes.copy())

    async def end(self, keep: "Settings", message: str = "Proxy closed") -> None:
        """Close all sockets, fail all waits with this message, cancel all tasks, and restore the settings in
        `keep`."""
        state = self._state
        self.close_all()
        await state.scope.end(message)
        kept = [emitter for emitter, _ in keep.listeners]
        for context in list(state.contexts):
            if context not in kept:
                context.close()
        for emitter, listeners in keep.listeners:
            emitter._events, emitter._taps = listeners, ()
        are_open = [None, *(context._filter for context in state.contexts)]
        state.timeouts = {context: each for context, each in keep.timeouts.items() if context in are_open}
        state.routes.restore([rule for rule in keep.routes if rule.context in are_open])
        state.scope.is_ending = False
        state.ended.clear()
        state.host = None


@dataclass(frozen=True)
class Settings:
    """The settings of a Proxy and of its contexts."""

    listeners: list[tuple[Proxy, Listeners]]
    timeouts: dict[ContextFilter | None, float]
    routes: list[Rule]
