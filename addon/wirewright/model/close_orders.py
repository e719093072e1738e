"""The close frames that users order for a socket."""

import asyncio
from collections.abc import Awaitable
from functools import partial

from wirewright.model.carrier import Carrier
from wirewright.model.close_codes import CLOSE_DIRECTIONS, CloseTarget
from wirewright.model.errors import Error
from wirewright.values import Direction


class CloseOrders:
    """Orders each close frame of a socket once."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.directions: frozenset[Direction] = frozenset()
        """The directions of the close frames that were ordered."""

    def order(self, code: int, reason: str, to: CloseTarget) -> Awaitable[None] | None:
        """Have a close frame sent to both ends, or to one first. Nothing happens if that was ordered before.

        Raises Error if it cannot be sent.
        """
        ordered = CLOSE_DIRECTIONS[to]
        if ordered <= self.directions:
            return None
        before, self.directions = self.directions, self.directions | ordered
        try:
            closing = self._carrier.close(code, reason, to=to)
        except Error:
            self.directions = before
            raise
        if isinstance(closing, asyncio.Future):
            closing.add_done_callback(partial(self._take_back, ordered))
        return closing

    def _take_back(self, ordered: frozenset[Direction], closing: "asyncio.Future[None]") -> None:
        """If a proxy in another process refuses the order, the socket is not closing."""
        if not closing.cancelled() and closing.exception() is not None:
            self.directions -= ordered
