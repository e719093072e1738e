"""`next_frame` of the sync API. The loop reads the history; the waiting thread calls the user's functions."""

from typing import Any, Literal

from wirewright.model import cursor as own_cursor
from wirewright.model.catch_up import bound
from wirewright.model.cursor import FrameWait, Search
from wirewright.model.event_wait import Timeout
from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match
from wirewright.sync.wrappers import Wrapper

__tracebackhide__ = True  # pytest shows the line that calls


class Cursor(Wrapper[own_cursor.Cursor]):
    """A place among the frames of one socket. Each call of `next_frame` moves it.

    A cursor has one `next_frame` at a time. Threads that all want each frame have one cursor each.
    """

    def next_frame(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        direction: Literal["sent", "received"] | None = None,
        timeout: Timeout = None,
    ) -> Frame:
        """The next frame that matches, after the one that the last call returned. See `ws.next_frame`."""
        self._bridge.check_may_wait()
        with self._own._search(FrameMatch(match, json=json, direction=direction)) as search:
            wait = self._call(self._begin, timeout, search)
            try:
                while True:
                    for frame in search.frames():
                        if self._bridge.call_user(search.match.holds, (frame,)):
                            self._own._found(frame)
                            if bound():
                                self._call(self._own._move_other_waits, frame)
                            return frame
                    search.ahead.extend(self._bridge.wait(wait.more(search.position)))
            finally:
                self._bridge.post(wait.cancel)

    def _begin(self, timeout: Timeout, search: Search) -> FrameWait:
        self._wrappers.check_going_on()
        wait = FrameWait(self._own._socket, timeout, search)
        self._wrappers.waits.add(wait)
        return wait
