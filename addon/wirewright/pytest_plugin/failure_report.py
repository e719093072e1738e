"""The report of a failed test: the sockets, frames and TLS failures of a proxy while the test ran."""

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from wirewright.capture.redaction import Redaction
from wirewright.model.app_connections import NOTHING_SEEN, AppsSeen
from wirewright.model.code_places import is_raised_here
from wirewright.model.emitter import EmittedEvent
from wirewright.model.errors import Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.feed import Feed
from wirewright.model.frame import Frame
from wirewright.model.proxy_loop import RunningProxy
from wirewright.model.socket_text import frame_text, state_text
from wirewright.model.websocket import WebSocket
from wirewright.printable import printable

REDACTION = Redaction()
"""Reports are shared as captures are, so the same secrets are redacted."""
MOST = 20
"""How many sockets a report has: those that are open, and the newest of the others."""
LAST = 10
"""How many frames of a socket a report has."""
MOST_FAILURES = 5
"""How many different failures of TLS handshakes a report has, the newest."""


class ProxyTraffic:
    """The sockets and the apps that a proxy sees while a test runs. For the proxy's event loop."""

    def __init__(self, running: RunningProxy) -> None:
        self._proxy, self._control = running.proxy, running.control
        self._seen: list[_SocketTraffic] = []
        self._left_out = 0
        self._address = ""
        self._ca_certificate = Path()
        self._before = self._apps = NOTHING_SEEN

    async def start(self) -> None:
        """Follow the sockets that are open, and those that open."""
        with suppress(Error):  # it may listen on no port
            self._address = f" at 127.0.0.1:{self._proxy.port}"
        self._ca_certificate = self._proxy.ca_certificate
        self._control.watchers.append(self)
        for feed in self._control.feeds().values():
            if self._proxy._sees(feed.socket):
                self._add(_SocketTraffic(feed, feed.history.total, is_new=False))
        self._before = self._apps = await self._proxy._running_host().apps_seen()

    async def count_apps(self) -> None:
        """Ask for the counts of apps' connections and requests; `lines` has them."""
        self._apps = await self._proxy._running_host().apps_seen()

    def stop(self) -> None:
        with suppress(ValueError):  # it has not begun
            self._control.watchers.remove(self)
        for seen in self._seen:
            seen.stop()

    def opening(self, key: str, feed: Feed) -> None:
        if self._proxy._sees(feed.socket):
            self._add(_SocketTraffic(feed, 0, is_new=True))

    def _add(self, seen: "_SocketTraffic") -> None:
        self._seen.append(seen)
        if len(self._seen) > MOST:
            oldest = next((each for each in self._seen if each.is_over), self._seen[0])
            self._seen.remove(oldest)
            oldest.stop()
            self._left_out += oldest.has_any

    @property
    def place(self) -> tuple[str, Path, str]:
        """The address, the CA and the context: equal for two ways to a proxy, as `launch` and `connect`."""
        return self._address, self._ca_certificate, str(self._proxy._filter or "")

    @property
    def has_any(self) -> bool:
        """True if the report has anything to show."""
        return self.has_sockets or bool(self._new_apps.tls_failures)

    @property
    def has_sockets(self) -> bool:
        """True if anything happened to a socket, so that a capture has it."""
        return bool(self._left_out or any(each.has_any for each in self._seen))

    @property
    def _new_apps(self) -> AppsSeen:
        return self._apps.since(self._before)

    def lines(self) -> Iterator[str]:
        shown = [seen for seen in self._seen if seen.has_any]
        if self._left_out:
            yield f"… {self._left_out:,} sockets before these"
        for number, seen in enumerate(shown, 1 + self._left_out):
            first, *others = seen.lines()
            yield f"#{number} {first}"
            yield from others
        apps = self._new_apps
        if not shown:
            yield self._why_none(apps)
        yield from self._tls_failure_lines(apps)

    def _why_none(self, apps: AppsSeen) -> str:
        if any(failure.side == "client" for failure in apps.tls_failures):
            return "no app asked for a WebSocket: its TLS handshake with the proxy failed"
        if apps.requests:
            return f"no app asked for a WebSocket: it sent {apps.requests:,} other HTTP requests"
        if apps.connections:
            return f"no app asked for a WebSocket: it connected to the proxy, {apps.connections:,} times"
        if self._seen:
            return f"no message passed: {len(self._seen):,} sockets are open since before the test"
        return f"no app connected to the proxy{self._address}: does the app use it?"

    def _tls_failure_lines(self, apps: AppsSeen) -> Iterator[str]:
        different = {(each.server_name, each.sentence): each for each in apps.tls_failures}
        if different:
            yield f"TLS handshakes that failed: {len(apps.tls_failures):,}"
        for failure in list(different.values())[-MOST_FAILURES:]:
            yield f"   ✕ {printable(failure.server_name)}: {printable(failure.sentence)}"
            if remedy := failure.remedy(self._ca_certificate):
                yield f"     {printable(remedy)}"


class _SocketTraffic:
    """A socket and its frames since the test began. Once it has closed, only its lines are kept."""

    wants: Container[str] = ()
    """No frames: the socket's history has them."""

    def __init__(self, feed: Feed, before: int, *, is_new: bool) -> None:
        """`before` is how many frames have passed already."""
        self._feed: Feed | None = feed
        self._lines: list[str] = []
        self._before = before
        self._is_new = is_new
        self._error: str | None = None
        feed.attach(self)

    def stop(self) -> None:
        if self._feed is not None:
            self._feed.detach(self)

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        """Note the socket's failure and its end."""
        if event == "socketerror":
            self._error = values[0]
        elif event == "close":
            self._lines = list(self._lines_of(values[0]))
            self._feed = None

    @property
    def is_over(self) -> bool:
        return self._feed is None

    @property
    def has_any(self) -> bool:
        """True if anything has happened to it."""
        return self._is_new or self._feed is None or self._feed.history.total > self._before

    def lines(self) -> list[str]:
        """Its URL and state, its last frames, and its failure."""
        return self._lines if self._feed is None else list(self._lines_of(self._feed.socket))

    def _lines_of(self, socket: WebSocket) -> Iterator[str]:
        since = "" if self._is_new else ", since before the test"
        yield f"{printable(REDACTION.url(socket.url))} ({state_text(socket)}{since})"
        history = socket._history
        frames = history.after(self._before)[-LAST:]
        earlier = history.total - self._before - len(frames)
        if earlier:
            yield f"   … {earlier:,} earlier"
        elif not frames:
            yield "   no frame"
        yield from map(_frame_line, frames)
        if self._error is not None:
            yield f"   ✕ {printable(REDACTION.text(self._error))}"


def is_of_wirewright(exception: BaseException | None) -> bool:
    """True if a wait or an assertion of Wirewright has failed: this exception, or one behind it."""
    seen: set[int] = set()
    waiting = [exception]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, TimeoutError) or (isinstance(each, AssertionError) and is_raised_here(each)):
            return True
        waiting += [each.__cause__, each.__context__]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
    return False


def _frame_line(frame: Frame) -> str:
    at = f"{datetime.fromtimestamp(frame.at):%H:%M:%S.%f}"[:-3]
    return f"   {at} {frame_text(frame)}"
