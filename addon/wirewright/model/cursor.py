"""`next_frame`: the frames of a socket one after the other, of which none is lost between two calls."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

from wirewright.model.catch_up import find, may_need_catch_up
from wirewright.model.errors import Error
from wirewright.model.event_wait import Timeout
from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match
from wirewright.model.frame_run import FrameRun
from wirewright.model.frame_scan import FrameScan
from wirewright.model.socket_text import count_text
from wirewright.model.socket_watch import SocketWatch, failure_text
from wirewright.model.steps import Steps, stepped

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls


class Search(FrameScan):
    """The frames that one call of `next_frame` looks at. It raises Error before one that follows forgotten
    ones."""

    def __init__(self, match: FrameMatch, unread: "deque[FrameRun]", position: int, reported: int) -> None:
        super().__init__(match, unread, position)
        self.reported = reported
        """The highest number of a frame that a call has reported as forgotten."""

    def skip(self, number: int) -> None:
        """Move past forgotten frames. Raises Error unless a call has reported all of them."""
        known = max(self.position, self.reported)
        if number > known:
            self.reported = number
            raise Error(forgotten_text(number - known))

    def failed(self, error: Error) -> Error:
        """The error of the call, once no frame is left."""
        return type(error)("\n".join([failure_text(error, str(self.match)), *self.passed.lines()]))


class Cursor:
    """A place among the frames of one socket. Each call of `next_frame` moves it.

    A cursor has one `next_frame` at a time. Tasks that all want each frame have one cursor each.
    """

    def __init__(self, socket: "WebSocket", start: Literal["opening", "now"] = "opening") -> None:
        """Raises ValueError for an unknown start."""
        if start not in ("opening", "now"):
            raise ValueError(f"start must be 'opening' or 'now', not {start!r}")
        self._socket = socket
        self._position = 0 if start == "opening" else socket._history.total
        """The number of the frame that was returned last."""
        self._reported = self._position
        self._unread: deque[FrameRun] = deque()
        """Frames after that one, which were read from the history already."""
        self._is_searching = False

    def __repr__(self) -> str:
        return f"<Cursor after frame {self._position} of {self._socket!r}>"

    @stepped("cursor")
    def next_frame(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        direction: Literal["sent", "received"] | None = None,
        timeout: Timeout = None,
    ) -> Steps[Frame]:
        """The next frame that matches, after the one that the last call returned. See `ws.next_frame`."""
        return self._next(FrameMatch(match, json=json, direction=direction), timeout)

    def _next(self, match: FrameMatch, timeout: Timeout) -> Steps[Frame]:
        watch: SocketWatch = yield partial(self._watch, match, timeout)
        try:
            with self._search(match) as search:
                is_last = False
                while True:
                    frame = yield from search.next_match(watch)
                    if frame is not None:
                        self._position = frame.number
                        if may_need_catch_up():
                            yield partial(self._move_other_waits, frame)
                        return frame
                    if is_last:
                        assert watch.error is not None
                        raise search.failed(watch.error)
                    more = yield partial(self._more, watch, search)
                    is_last = not more or watch.is_timed_out
                    search.unread.extend(more)
        finally:
            watch.end()

    async def _watch(self, match: FrameMatch, timeout: Timeout) -> SocketWatch:
        return SocketWatch(self._socket, timeout, str(match), match)

    async def _more(self, watch: SocketWatch, search: Search) -> list[FrameRun]:
        """The frames after those that were looked at, at least one; none if the watch is over.

        After the time limit these are only frames that cannot match, for the error. Raises Error if the
        socket has forgotten some of them.
        """
        while True:
            if runs := watch.runs(search.position):
                break
            search.skip(self._socket._history.total)
            if watch.error is not None:
                break
            await watch.change()
        if watch.is_timed_out:
            runs = list(takewhile(lambda run: not search.match.may_match(run), runs))
        return runs

    @contextmanager
    def _search(self, match: FrameMatch) -> Iterator[Search]:
        """One search at a time. After one that fails the cursor is where it was."""
        if self._is_searching:
            raise Error(
                "another next_frame of this cursor is waiting: give each task or thread a cursor of its own, "
                "ws.cursor()"
            )
        self._is_searching = True
        search = Search(match, self._unread, self._position, self._reported)
        try:
            yield search
        finally:
            self._is_searching = False
            self._reported = search.reported
            if search.position != self._position:  # nothing was found
                self._unread = deque()

    async def _move_other_waits(self, frame: Frame) -> None:
        """Have other waits of code that has just got the socket begin after this frame."""
        history = self._socket._history
        if (catch_up := find(history)) is not None:
            catch_up.advance(history.event_number(frame.number))


def forgotten_text(count: int) -> str:
    """The message of the error of a cursor that comes too late."""
    return (
        f"{count_text(count)} {'is' if count == 1 else 'are'} no longer remembered, and the cursor has not "
        "passed them: call next_frame sooner, or have the proxy remember more (ws_history, ws_history_bytes)"
    )
