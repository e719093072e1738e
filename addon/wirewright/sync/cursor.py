"""`next_frame` of the sync API."""

from wirewright.model import cursor as own_cursor
from wirewright.sync.wrappers import Wrapper, stepped_method


class Cursor(Wrapper[own_cursor.Cursor]):
    """A place among the frames of one socket. Each call of `next_frame` moves it.

    A cursor has one `next_frame` at a time. Threads that all want each frame have one cursor each.
    """

    next_frame = stepped_method(own_cursor.Cursor.next_frame)
