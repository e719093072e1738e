"""`next_frame`: the frames of a socket one after the other, of which none is lost between two calls."""

import inspect
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from wirewright.model.catch_up import find, is_anybody_behind
from wirewright.model.errors import Error
from wirewright.model.event_wait import Timeout
from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match
from wirewright.model.passed_frames import PassedFrames
from wirewright.model.socket_text import count_text
from wirewright.model.socket_watch import SocketWatch, failure_text
from wirewright.model.steps import Steps, run_steps

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls


class Search:
    """The frames that one call of `next_frame` looks at, oldest first."""

    def __init__(self, match: FrameMatch, ahead: "deque[Frame]", position: int, seen: int) -> None:
        self.match = match
        self.ahead = ahead
        """Frames that are to be looked at."""
        self.position = position
        """The number of the frame that was looked at last."""
        self.seen = seen
        """The highest number of a frame that any call has looked at, or was told to be forgotten."""
        self._passed = PassedFrames(match)

    def frames(self) -> Iterator[Frame]:
        """The frames that are ahead. Raises Error before one that follows forgotten ones."""
        ahead = self.ahead
        while ahead:
            number = ahead[0].number
            self.skip(number - 1)
            frame = ahead.popleft()
            self.position = number
            self.seen = max(self.seen, number)
            yield frame
            self._passed.add(frame)

    def skip(self, number: int) -> None:
        """The frames up to this one are not remembered. Raises Error if no call has looked at all of them."""
        known = max(self.position, self.seen)
        if number > known:
            self.seen = number
            raise Error(forgotten_text(number - known))

    def failed(self, error: Error) -> Error:
        """The error of the call, once no frame is left."""
        return type(error)("\n".join([failure_text(error, str(self.match)), *self._passed.lines()]))


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
        self._seen = self._position
        self._ahead: deque[Frame] = deque()
        """Frames behind that one, which were read from the history already."""
        self._is_searching = False

    async def next_frame(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        direction: Literal["sent", "received"] | None = None,
        timeout: Timeout = None,
    ) -> Frame:
        """The next frame that matches, after the one that the last call returned. See `ws.next_frame`."""
        return await run_steps(self._next(FrameMatch(match, json=json, direction=direction), timeout))

    def _next(self, match: FrameMatch, timeout: Timeout) -> Steps[Frame]:
        """The steps of `next_frame`."""
        watch: SocketWatch = yield partial(self._watch, match, timeout)
        try:
            with self._search(match) as search:
                while True:
                    for frame in search.frames():
                        held = match.holds(frame)
                        if inspect.isawaitable(held):
                            held = yield partial(watch.verdict, held)
                        if held:
                            self._position = frame.number
                            if is_anybody_behind():
                                yield partial(self._move_other_waits, frame)
                            return frame
                    search.ahead.extend((yield partial(self._more, watch, search)))
        finally:
            watch.end()

    async def _watch(self, match: FrameMatch, timeout: Timeout) -> SocketWatch:
        return SocketWatch(self._socket, timeout, str(match))

    async def _more(self, watch: SocketWatch, search: Search) -> list[Frame]:
        """Frames behind those that were looked at, at least one. Raises the error of the search."""
        while not (frames := watch.frames(search.position)):
            search.skip(self._socket._history.total)
            if watch.error is not None:
                raise search.failed(watch.error)
            await watch.change()
        return frames

    @contextmanager
    def _search(self, match: FrameMatch) -> Iterator[Search]:
        """One search at a time. After one that fails the cursor is where it was."""
        if self._is_searching:
            raise Error(
                "another next_frame of this cursor is waiting: give each task or thread a cursor of its own, "
                "ws.cursor()"
            )
        self._is_searching = True
        search = Search(match, self._ahead, self._position, self._seen)
        try:
            yield search
        finally:
            self._is_searching = False
            self._seen = search.seen
            if search.position != self._position:  # nothing was found
                self._ahead = deque()

    async def _move_other_waits(self, frame: Frame) -> None:
        """Have other waits of code that has just got the socket begin behind this frame."""
        history = self._socket._history
        if (catch_up := find(history)) is not None:
            catch_up.advance(history.event_number(frame.number))


def forgotten_text(count: int) -> str:
    """The message of the error of a cursor that comes too late."""
    return (
        f"{count_text(count)} {'is' if count == 1 else 'are'} no longer remembered, and the cursor has not "
        "passed them: call next_frame sooner, or have the proxy remember more (ws_history, ws_history_bytes)"
    )
