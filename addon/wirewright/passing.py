"""What passes while a test runs: the lines of its report, if it fails."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

from wirewright.model.errors import Error
from wirewright.model.history import Frame
from wirewright.model.proxy import Proxy
from wirewright.model.websocket import WebSocket
from wirewright.timeline import printable

MOST = 20
"""How many sockets a report has: those that are open, and the newest of the others."""
LAST = 10
"""How many frames of a socket a report has."""
WIDTH = 200
"""How many characters of a frame."""


class Passing:
    """The sockets that pass while a test runs. For the thread in which nothing of them can be lost: the
    proxy's."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._seen: list[_Seen] = []
        self._left_out = 0

    def start(self) -> None:
        for socket in self._proxy.web_sockets:
            self._add(_Seen(socket, socket._history.total, is_new=False))
        self._proxy.on("websocket", self._see)

    def stop(self) -> None:
        self._proxy.remove_listener("websocket", self._see)
        for seen in self._seen:
            seen.stop()

    def _see(self, socket: WebSocket) -> None:
        self._add(_Seen(socket, 0, is_new=True))

    def _add(self, seen: "_Seen") -> None:
        self._seen.append(seen)
        if len(self._seen) > MOST:
            oldest = next((each for each in self._seen if each.is_over), self._seen[0])
            self._seen.remove(oldest)
            oldest.stop()
            self._left_out += oldest.has_passed

    def tell(self) -> Iterator[str]:
        told = [seen for seen in self._seen if seen.has_passed]
        if self._left_out:
            yield f"… {self._left_out:,} sockets before these"
        for number, seen in enumerate(told, 1 + self._left_out):
            first, *others = seen.lines()
            yield f"#{number} {first}"
            yield from others
        if not told:
            at = ""
            with suppress(Error):  # it may have no port, or be gone
                at = f" at 127.0.0.1:{self._proxy.port}"
            yield f"no socket came by: does the app use the proxy{at}?"


class _Seen:
    """A socket, and what passed of it since some moment. Once it has closed, lines are all that is kept."""

    def __init__(self, socket: WebSocket, before: int, *, is_new: bool) -> None:
        """`before` is how many frames have passed already."""
        self._socket: WebSocket | None = socket
        self._lines: list[str] = []
        self._before = before
        self._is_new = is_new
        self._error: str | None = None
        socket.on("socketerror", self._fail)
        socket.on("close", self._close)

    def stop(self) -> None:
        if self._socket is not None:
            self._socket.remove_listener("socketerror", self._fail)
            self._socket.remove_listener("close", self._close)

    def _fail(self, message: str) -> None:
        self._error = message

    def _close(self, socket: WebSocket) -> None:
        self._lines = list(self._told(socket))
        self._socket = None

    @property
    def is_over(self) -> bool:
        return self._socket is None

    @property
    def has_passed(self) -> bool:
        """Whether anything has happened to it."""
        return self._is_new or self._socket is None or self._socket._history.total > self._before

    def lines(self) -> list[str]:
        """What it is, its last frames, and its failure."""
        return self._lines if self._socket is None else list(self._told(self._socket))

    def _told(self, socket: WebSocket) -> Iterator[str]:
        since = "" if self._is_new else ", since before the test"
        yield f"{printable(socket.url)} ({_state(socket)}{since})"
        history = socket._history
        frames = history.since(self._before)[-LAST:]
        earlier = history.total - self._before - len(frames)
        if earlier:
            yield f"   … {earlier:,} earlier"
        elif not frames:
            yield "   no frame"
        yield from map(_tell_frame, frames)
        if self._error is not None:
            yield f"   ✕ {printable(self._error)}"


def _state(socket: WebSocket) -> str:
    if not socket.is_closed():
        return "open" if socket.opened_at else "opening"
    if not socket.opened_at:
        status = f" with status {socket.status}" if socket.status else ""
        reason = f": {printable(socket.close_reason)}" if socket.close_reason else ""
        return f"failed{status}{reason}"
    said = [str(socket.close_code)]
    if socket.close_reason:
        said.append(repr(socket.close_reason))
    if socket.closed_by:
        said.append(f"by {socket.closed_by}")
    return f"closed {' '.join(said)}"


def _tell_frame(frame: Frame) -> str:
    shown = repr(frame.payload)
    shown = shown if len(shown) <= WIDTH else f"{shown[:WIDTH]}… ({len(frame.payload):,} in all)"
    at = f"{datetime.fromtimestamp(frame.timestamp):%H:%M:%S.%f}"[:-3]
    return f"   {at} {'→' if frame.event == 'framesent' else '←'} {shown}"
