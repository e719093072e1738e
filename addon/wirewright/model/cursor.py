"""`next_frame`: the frames of a socket one after the other, of which none is lost between two calls."""

import asyncio
import builtins
import inspect
from collections import deque
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from wirewright.model.catch_up import find
from wirewright.model.errors import EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_wait import ENDS, TimedWait, Timeout
from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls

_FRAMES = ("framesent", "framereceived")
_LAST = 3
"""Frames that the error of a wait shows."""


class FrameWait(TimedWait):
    """The wait of one search for a frame, in the proxy's event loop. An `EventTap` of the socket.

    The socket remembers at least as many frames as by default until it ends.
    """

    wants = (*_FRAMES, *ENDS)

    def __init__(self, socket: "WebSocket", timeout: Timeout, search: "Search") -> None:
        """Raises the errors of TimedWait."""
        self._socket, self._search = socket, search
        self._error: Error | None = None
        """The wait fails with it once no frame is left."""
        self._is_over = False
        self._filled: asyncio.Future[None] | None = None
        """Done once there is a frame or an error. None while nobody waits."""
        super().__init__(socket._scope, timeout)

    @property
    def is_over(self) -> bool:
        return self._error is not None or self._is_over

    async def more(self, number: int) -> list[Frame]:
        """The remembered frames with a higher number, at least one.

        Raises Error if the socket has ended or has forgotten frames, and TimeoutError when the time is up.
        """
        history = self._socket._history
        while True:
            if frames := history.after(number, history.limit):
                return frames
            if history.total > number:
                self._search.skip(history.total)
            self._check()
            self._filled = asyncio.get_running_loop().create_future()
            try:
                await self._filled
            finally:
                self._filled = None

    async def verdict(self, held: Awaitable[object]) -> object:
        """The answer of an async callable. Raises TimeoutError when the time of the wait is up."""
        limit = asyncio.timeout_at(None if self._timer is None else self._timer.when())
        try:
            async with limit:
                return await held
        except builtins.TimeoutError:
            if limit.expired():
                self._check()
            raise

    def _check(self) -> None:
        if self._is_over:  # its script was unloaded
            raise asyncio.CancelledError
        if self._error is not None:
            during = "" if isinstance(self._error, TimeoutError) else f" while waiting for {self._awaited()}"
            raise type(self._error)(f"{self._error.message}{during}{self._search.remark()}")

    def hear(self, event: str, values: Sequence[Any]) -> None:
        """Wake the search for a frame, or for the end of the socket."""
        if event in _FRAMES:
            self._wake()
        elif event in ENDS:
            self._fail_at_end(ENDS[event])

    def cancel(self) -> None:
        self._dispose()
        if self._filled is not None:
            self._filled.cancel()

    def fail(self, message: str) -> None:
        self._conclude(EndedError(message))

    def _start(self) -> None:
        socket = self._socket
        socket._history.retain()
        socket._attach(self)
        if socket.is_closed():
            self._fail_at_end(ENDS["close"])
        elif self._scope.ended_reason is not None:
            self._fail_at_end(self._scope.ended_reason)

    def _awaited(self) -> str:
        return str(self._search.match)

    def _conclude(self, error: Error) -> None:
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._filled is not None and not self._filled.done():
            self._filled.set_result(None)

    def _dispose(self, _: object = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._socket._detach(self)
            self._socket._history.release()
        super()._dispose()


class Search:
    """The frames that one call of `next_frame` looks at, oldest first. Pure."""

    def __init__(self, match: FrameMatch, ahead: "deque[Frame]", position: int, seen: int) -> None:
        self.match = match
        self.ahead = ahead
        """Frames that are to be looked at."""
        self.position = position
        """The number of the frame that was looked at last."""
        self.seen = seen
        """The highest number of a frame that any call has looked at, or has been told is forgotten."""
        self._passed = 0
        self._last: deque[Frame] = deque(maxlen=_LAST)

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
            self._passed += 1
            self._last.append(frame)

    def skip(self, number: int) -> None:
        """The frames up to this one are not remembered. Raises Error if no call has looked at all of them."""
        known = max(self.position, self.seen)
        if number > known:
            self.seen = number
            raise Error(forgotten_text(number - known))

    def remark(self) -> str:
        """How many frames did not match, and the last of them."""
        if not self._passed:
            return ": no frame came"
        which = "the only one" if self._passed == 1 else f"the last of {self._passed:,}"
        return f": {which} did not match:" + "".join(f"\n  {frame!r}" for frame in self._last)


class Cursor:
    """A place among the frames of one socket. Each call of `next_frame` moves it.

    A cursor has one `next_frame` at a time. Tasks and threads that all want each frame have one cursor each.
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
        with self._search(FrameMatch(match, json=json, direction=direction)) as search:
            wait = FrameWait(self._socket, timeout, search)
            try:
                while True:
                    for frame in search.frames():
                        held = search.match.holds(frame)
                        if inspect.isawaitable(held):
                            held = await wait.verdict(held)
                        if held:
                            self._found(frame)
                            self._move_other_waits(frame)
                            return frame
                    search.ahead.extend(await wait.more(search.position))
            finally:
                wait.cancel()

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

    def _found(self, frame: Frame) -> None:
        """The search has found this frame: the cursor moves to it."""
        self._position = frame.number

    def _move_other_waits(self, frame: Frame) -> None:
        """Have other waits of the code, which has just got the socket and this frame, begin behind it.

        In the loop's thread.
        """
        history = self._socket._history
        if (catch_up := find(history)) is not None:
            catch_up.advance(history.event_number(frame.number))


def forgotten_text(count: int) -> str:
    """The message of the error of a cursor that comes too late."""
    frames = "1 frame is" if count == 1 else f"{count:,} frames are"
    return (
        f"{frames} no longer remembered, and the cursor has not passed them: call next_frame sooner, or have "
        "the proxy remember more (ws_history, ws_history_bytes)"
    )
