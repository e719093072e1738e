"""`next_frame` of the sync API."""

from typing import Any, Literal

from wirewright.model import cursor as own_cursor
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
        return self._run(self._own._next(FrameMatch(match, json=json, direction=direction), timeout))
