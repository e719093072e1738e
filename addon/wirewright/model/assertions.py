"""`expect`: assertions on a socket that wait until they hold, or until they can no longer hold.

https://playwright.dev/python/docs/test-assertions
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NoReturn, overload

from wirewright.model.errors import EndedError
from wirewright.model.event_wait import Timeout, to_milliseconds
from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match
from wirewright.model.frame_scan import FrameScan
from wirewright.model.proxy import Proxy
from wirewright.model.reconnection import ProxyAssertions
from wirewright.model.socket_text import count_text, frame_text, socket_line, subprotocol_text
from wirewright.model.socket_watch import SocketWatch, until
from wirewright.model.steps import Steps, stepped
from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls

EXPECT_TIMEOUT = 5_000.0
"""Milliseconds that an assertion waits by default, as in Playwright."""
_SHOWN = 10
"""Frames that match and are shown, the last ones."""


class SocketAssertions:
    """Assertions on a socket. Each method is awaited, and raises AssertionError if it does not hold."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def __repr__(self) -> str:
        return f"<SocketAssertions of {self._socket!r}>"

    @stepped("expect(ws)")
    def to_have_received(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        count: int | None = None,
        timeout: Timeout = None,
    ) -> Steps[None]:
        """The server has sent a matching frame since the socket's opening, or exactly `count` of them.

        `match` and `json` are those of `ws.next_frame`. Frames that passed before the call count. It waits
        for further ones for `timeout` milliseconds, 5,000 by default; 0 is no limit. Raises TypeError and
        ValueError for arguments that make no sense.
        """
        return self._has_frame("received", match, json, count, timeout)

    @stepped("expect(ws)")
    def to_have_sent(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        count: int | None = None,
        timeout: Timeout = None,
    ) -> Steps[None]:
        """The app has sent a frame that matches; as `to_have_received`."""
        return self._has_frame("sent", match, json, count, timeout)

    @stepped("expect(ws)")
    def not_to_have_received(
        self, match: Match | None = None, *, json: Any = None, within: Timeout = 0
    ) -> Steps[None]:
        """The server has sent no frame that matches since the socket's opening, and sends none in the next
        `within` milliseconds. Without `within` it looks at once."""
        return self._has_no_frame("received", match, json, within)

    @stepped("expect(ws)")
    def not_to_have_sent(
        self, match: Match | None = None, *, json: Any = None, within: Timeout = 0
    ) -> Steps[None]:
        """The app has sent no frame that matches; as `not_to_have_received`."""
        return self._has_no_frame("sent", match, json, within)

    @stepped("expect(ws)")
    def to_be_open(self, *, timeout: Timeout = None) -> Steps[None]:
        """The handshake succeeded, and the socket is not closed. Waits for the handshake."""
        socket = self._socket
        yield from self._until(lambda: socket.opened_at is not None or socket.is_closed(), timeout)
        if socket.is_closed() or socket.opened_at is None:
            self._fail("expected the socket to be open")

    @stepped("expect(ws)")
    def to_be_closed(
        self, *, code: int | None = None, reason: str | None = None, timeout: Timeout = None
    ) -> Steps[None]:
        """The socket is closed, with this code and reason if they are given. Waits for the end."""
        socket = self._socket
        yield from self._until(socket.is_closed, timeout)
        is_as_expected = code in (None, socket.close_code) and reason in (None, socket.close_reason)
        if not socket.is_closed() or not is_as_expected:
            wanted = [str(code)] if code is not None else []
            wanted += [repr(reason)] if reason is not None else []
            self._fail(" ".join(["expected the socket to be closed", *(["with"] if wanted else []), *wanted]))

    @stepped("expect(ws)")
    def to_have_subprotocol(self, subprotocol: str | None, *, timeout: Timeout = None) -> Steps[None]:
        """The server chose this subprotocol, or (None) none. Waits for the handshake."""
        socket = self._socket
        yield from self._until(lambda: socket.opened_at is not None or socket.is_closed(), timeout)
        wanted = "no subprotocol" if subprotocol is None else f"the subprotocol {subprotocol!r}"
        if socket.opened_at is None:
            self._fail(f"expected {wanted}, but the socket did not open")
        if socket.subprotocol != subprotocol:
            self._fail(f"expected {wanted}, but it is {subprotocol_text(socket.subprotocol)}")

    def _has_frame(
        self, direction: str, match: Match | None, json: Any, count: int | None, timeout: Timeout
    ) -> Steps[None]:
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
            raise ValueError(f"count must be a number of frames, 0 or more, not {count!r}")
        scan = _MatchCount(FrameMatch(match, json=json, direction=direction))
        watch: SocketWatch = yield partial(self._watch, scan.match, timeout)
        try:
            is_last = False
            while not is_last:
                is_last = watch.error is not None
                yield from scan.look(watch)
                if scan.found and count is None:
                    return
                if scan.found == count and not scan.forgotten:
                    return
                if count is not None and (scan.found > count or scan.forgotten):
                    break
                if not is_last:
                    yield watch.change
        finally:
            watch.end()
        times = "" if count is None else " once" if count == 1 else f" {count:,} times"
        self._fail(f"expected {scan.match}{times}, but {scan.outcome(watch)}", scan.lines())

    def _has_no_frame(self, direction: str, match: Match | None, json: Any, within: Timeout) -> Steps[None]:
        scan = _MatchCount(FrameMatch(match, json=json, direction=direction))
        is_last = not to_milliseconds(within or 0)
        watch: SocketWatch = yield partial(self._watch, scan.match, within or None)
        try:
            while not scan.found and not scan.forgotten:
                yield from scan.look(watch)
                if is_last:
                    break
                is_last = watch.error is not None
                if not is_last:
                    yield watch.change
        finally:
            watch.end()
        expected = f"expected no{str(scan.match)[1:]}"
        if scan.found:
            self._fail(f"{expected}, but {scan.outcome()}", scan.lines())
        if scan.forgotten:
            self._fail(f"{expected}, but {scan.forgotten_text()}", scan.lines())
        if within and isinstance(watch.error, EndedError):
            self._fail(f"{expected}, but the proxy ended before the time was up", scan.lines())
        if watch.is_undecided:
            self._fail(f"{expected}, but the function of match did not answer", scan.lines())

    def _until(self, holds: Callable[[], bool], timeout: Timeout) -> Steps[SocketWatch]:
        return until(self._socket, holds, EXPECT_TIMEOUT if timeout is None else timeout, "an assertion")

    async def _watch(self, match: FrameMatch, timeout: Timeout) -> SocketWatch:
        limit = EXPECT_TIMEOUT if timeout is None else timeout
        return SocketWatch(self._socket, limit, "an assertion", match)

    def _fail(self, sentence: str, lines: Sequence[str] = ()) -> NoReturn:
        socket = self._socket
        about = f"socket: {socket_line(socket)}, {count_text(socket._history.total)}"
        raise AssertionError("\n".join([sentence, *lines, about]))


class _MatchCount(FrameScan):
    """The frames that an assertion looks at, and how many of them match."""

    def __init__(self, match: FrameMatch) -> None:
        super().__init__(match, deque(), 0)
        self.found = 0
        """How many frames match."""
        self.forgotten = 0
        """How many frames the socket no longer remembered when they were to be looked at."""
        self._matching: deque[Frame] = deque(maxlen=_SHOWN)

    def look(self, watch: SocketWatch) -> Steps[None]:
        """Look at the frames that have come since the last look."""
        runs, newest = yield partial(watch.read, self.position)
        self.unread.extend(runs)
        while frame := (yield from self.next_match(watch)):
            self.found += 1
            self._matching.append(frame)
        self.skip(newest)

    def skip(self, number: int) -> None:
        """Count forgotten frames."""
        self.forgotten += number - self.position
        self.position = number

    def outcome(self, watch: SocketWatch | None = None) -> str:
        """How many matched, as the end of a sentence, with the time limit of the watch if it is over."""
        came = "none came" if not self.found else "it came once" if self.found == 1 else ""
        came = came or f"it came {self.found:,} times"
        limit = "" if watch is None else watch.why_over()
        return came + limit + (f", and {self.forgotten_text()}" if self.forgotten else "")

    def forgotten_text(self) -> str:
        """How many frames could not be looked at."""
        verb = "is" if self.forgotten == 1 else "are"
        return f"{count_text(self.forgotten)} {verb} no longer remembered (ws_history)"

    def lines(self) -> list[str]:
        """The frames that matched, or else those that did not."""
        return [f"    {frame_text(frame)}" for frame in self._matching] or self.passed.lines()


@overload
def expect(actual: WebSocket) -> SocketAssertions: ...
@overload
def expect(actual: Proxy) -> ProxyAssertions: ...
def expect(actual: WebSocket | Proxy) -> SocketAssertions | ProxyAssertions:
    """Assertions on a socket, `await expect(ws).to_have_received(json={"type": "filled"})`, or on a proxy,
    `await expect(proxy).to_reconnect("**/live")`.

    Raises TypeError for anything else.
    """
    if isinstance(actual, Proxy):
        return ProxyAssertions(actual)
    if not isinstance(actual, WebSocket):
        raise TypeError(not_expected(actual, "async"))
    return SocketAssertions(actual)


def not_expected(actual: object, api: Literal["sync", "async"]) -> str:
    """The sentence about a value that the `expect` of an API does not take."""
    kind = type(actual).__name__
    if kind in ("EventInfo", "Completion"):
        return f"write expect({'info.value' if api == 'sync' else 'await info.value'})"
    if kind in (WebSocket.__name__, Proxy.__name__, "ProxyContext"):  # it is that of the other API
        other = {"sync": "async", "async": "sync"}[api]
        return f"this {kind} is of the {other} API: import expect from wirewright.{other}_api"
    return f"expect takes a WebSocket or a Proxy of the {api} API, not {kind}"
