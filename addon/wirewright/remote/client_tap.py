"""The reports of one socket to one remote client."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from wirewright.model.emitter import EmittedEvent
from wirewright.model.websocket import WebSocket
from wirewright.remote import protocol
from wirewright.remote.outbox import Outbox
from wirewright.remote.snapshots import changed
from wirewright.values import FrameEvent

LONGEST_REASON = 10_000
"""Characters of an error or a reason that a client gets."""


class ClientTap:
    """Reports one socket to a client."""

    def __init__(
        self,
        key: str,
        socket: WebSocket,
        outbox: Outbox,
        events: Sequence[FrameEvent],
        over: Callable[[], object],
    ) -> None:
        """`over` is called when the socket has closed."""
        self.wants = frozenset(events)
        self._key, self._socket = key, socket
        self._outbox = outbox
        self._over = over

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        match event:
            case "framesent" | "framereceived":
                if event in self.wants:
                    self._outbox.frames(self._key, event, values, time.time())
            case "changed":
                self._outbox.put(changed(self._key, self._socket))
            case "socketerror":
                self._outbox.put(protocol.Failed(self._key, shortened(values[0])))
            case "close":
                self._closed()

    def _closed(self) -> None:
        socket = self._socket
        reason = None if socket.close_reason is None else shortened(socket.close_reason)
        self._outbox.closed(
            protocol.Closed(self._key, socket.close_code, reason, socket.closed_by, socket.closed_at)
        )
        self._over()


def shortened(text: str) -> str:
    """The beginning of an error or a reason, as a client gets it."""
    return protocol.plain(text)[:LONGEST_REASON]
