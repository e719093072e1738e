"""`expect(proxy).to_reconnect`: waits for the socket that an app opens after the end of another one."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from wirewright.model.change_watch import ChangeWatch
from wirewright.model.code_places import function_text
from wirewright.model.emitter import EmittedEvent
from wirewright.model.ended_sockets import EndedSocket
from wirewright.model.event_wait import Timeout
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.proxy import Proxy
from wirewright.model.socket_text import socket_line
from wirewright.model.steps import Steps, stepped
from wirewright.model.websocket import WebSocket
from wirewright.printable import printable

__tracebackhide__ = True  # pytest shows the line that calls

RECONNECT_TIMEOUT = 3_000.0
"""Milliseconds."""
_SHOWN = 10
"""Sockets that a failure shows, the newest."""


class ProxyAssertions:
    """Assertions on a proxy. Each method is awaited, and raises AssertionError if it does not hold."""

    def __init__(self, proxy: Proxy, since: int = 0) -> None:
        """Ends up to the sequence number `since` do not count."""
        self._proxy, self._since = proxy, since

    def __repr__(self) -> str:
        return f"<ProxyAssertions of {self._proxy!r}>"

    @stepped("expect(proxy)")
    def to_reconnect(
        self, url: UrlMatch | None = None, *, within: Timeout = RECONNECT_TIMEOUT
    ) -> Steps[WebSocket]:
        """An app has opened a new socket of a matching URL after the last one ended. Returns the new one.

        The end and the new socket may both have come before the call. If no matching socket has ended yet,
        it waits for that, too. Only the end of a socket that was open counts: a handshake that failed is no
        end. `within` is in milliseconds, for both together; 0 is no limit.

        The failure says how the last socket ended, and how the handshakes since then failed. The proxy
        remembers the newest 1,000 ends, a remote client those since it has connected. Raises
        ValueError and TypeError for arguments that make no sense.
        """
        matches = cache(compile_match(url))
        outside = self._proxy._outside
        outside_before = 0 if outside is None else outside.count

        async def begin() -> ProxyWatch:
            return ProxyWatch(self._proxy, RECONNECT_TIMEOUT if within is None else within, "a socket")

        watch: ProxyWatch = yield begin
        try:
            is_last = False
            while not is_last:
                is_last = watch.is_final
                every: ProxySockets = yield watch.look
                seen = every.matching(matches, self._since)
                if (socket := seen.reopened) is not None:
                    return socket
                if not is_last:
                    yield watch.change
        finally:
            watch.end()
        since_then = every.matching(lambda url: True, self._since)
        expected = f"expected the app to reconnect{_target(url)}{watch.why_over()}"
        lines = [f"{expected}, but {seen.outcome}", *seen.lines(), *_others(since_then, seen)]
        if outside is not None and (came := outside.text(outside_before, matches)):
            lines.append(came)
        raise AssertionError("\n".join(lines))


class ProxySockets(NamedTuple):
    """The sockets of a proxy at one moment, oldest first."""

    ended: Sequence[EndedSocket]
    current: Sequence[WebSocket]
    """Open, or opening."""

    def matching(self, matches: Callable[[str], bool], since: int) -> "ProxySockets":
        """Those of a matching URL. Ends up to the sequence number `since` do not count."""
        ended = [each for each in self.ended if each.end_sequence > since and matches(each.url)]
        return ProxySockets(ended, [each for each in self.current if matches(each.url)])

    @property
    def last_end(self) -> EndedSocket | None:
        """The last end of a socket that was open."""
        return next((each for each in reversed(self.ended) if each.opened_at is not None), None)

    @property
    def reopened(self) -> WebSocket | None:
        """The first open socket that was requested after the last end."""
        is_open = (each for each in self._requested_since() if each.opened_at is not None)
        return next((each for each in is_open if isinstance(each, WebSocket)), None)

    def _requested_since(self) -> Iterator[EndedSocket | WebSocket]:
        if (last := self.last_end) is not None:
            yield from (each for each in self.ended if each.request_sequence > last.end_sequence)
            yield from (each for each in self.current if each._request_sequence > last.end_sequence)

    @property
    def outcome(self) -> str:
        """Why there is no new socket, as the end of a sentence."""
        if self.last_end is None:
            return "no such socket has ended"
        if not any(True for _ in self._requested_since()):
            return "it has requested no socket since the last one ended"
        return "no socket that it has requested since is open"

    def lines(self) -> list[str]:
        """The last end, and the sockets that were requested since."""
        last = self.last_end
        if last is None:
            return _listed("sockets", [*self.ended, *self.current])
        return [f"ended: {socket_line(last)}", *_listed("requested since", list(self._requested_since()))]


class ProxyWatch(ChangeWatch):
    """One watch of a proxy. An `EventTap` of the proxy and its sockets."""

    wants = ("websocket", "changed", "close")

    def __init__(self, proxy: Proxy, timeout: Timeout, awaited: str) -> None:
        """As ChangeWatch."""
        self._proxy = proxy
        self._sockets: set[WebSocket] = set()
        """Those that it is attached to."""
        super().__init__(proxy, timeout, awaited)

    async def look(self) -> ProxySockets:
        """The sockets at this moment."""
        proxy = self._proxy
        return ProxySockets(proxy._state.ended_sockets(proxy._filter), proxy.web_sockets)

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        """Wake the code that waits."""
        for socket in values if event == "websocket" else ():
            self._attach(socket)
        for socket in values if event == "close" else ():
            self._detach(socket)
        self._wake()

    def _start(self) -> None:
        self._proxy._attach(self)
        for socket in self._proxy.web_sockets:
            self._attach(socket)
        if self._scope.ended_reason is not None:
            self._fail_at_end(self._scope.ended_reason)

    def _attach(self, socket: WebSocket) -> None:
        self._sockets.add(socket)
        socket._attach(self)

    def _detach(self, socket: WebSocket) -> None:
        self._sockets.discard(socket)
        socket._detach(self)

    def _ignore(self) -> None:
        self._proxy._detach(self)
        for socket in list(self._sockets):
            self._detach(socket)


def _target(url: UrlMatch | None) -> str:
    if not url:
        return ""
    if isinstance(url, re.Pattern):
        return f" to /{printable(url.pattern)}/"
    return f" to {url!r}" if isinstance(url, str) else f" to a URL that {function_text(url)} accepts"


def _listed(title: str, sockets: Sequence[EndedSocket | WebSocket]) -> list[str]:
    shown = [f"    {socket_line(each)}" for each in sockets[-_SHOWN:]]
    left_out = len(sockets) - len(shown)
    return [f"{title}:", *([f"    … {left_out:,} earlier"] if left_out else []), *shown] if shown else []


def _others(every: ProxySockets, seen: ProxySockets) -> list[str]:
    """Where no socket matches, those that do not."""
    return [] if seen.ended or seen.current else _listed("other sockets", [*every.ended, *every.current])
