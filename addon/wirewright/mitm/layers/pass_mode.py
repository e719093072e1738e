"""PASS: the bytes of a direction have been forwarded as they came, and what was read of them is reported."""

from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import groupby
from typing import cast

from wirewright.mitm.layers.leg import Leg
from wirewright.mitm.layers.open_socket import OpenSocket
from wirewright.values import Payload
from wirewright.wire.frames import Opcode
from wirewright.wire.lazy import LazyBatch
from wirewright.wire.reader import ControlFrame, Event, TooLarge
from wirewright.wire.stream import Close, Ours


class PassMode:
    """Reports what has passed."""

    __slots__ = ("_socket",)

    def __init__(self, socket: OpenSocket) -> None:
        self._socket = socket

    def passed(self, leg: Leg, received: list[Event]) -> ControlFrame | None:
        """Report messages, pings and pongs. A close frame among them is the value."""
        if leg.stream.reader.only_messages:
            self._messages_passed(leg, received)
            return None
        close = None
        for kind, events in groupby(received, _kind):
            if kind is _Kind.MESSAGE:
                self._messages_passed(leg, list(events))
            elif kind is _Kind.PING:
                self._socket.report_pings(leg, cast("list[ControlFrame]", list(events)))
            elif kind is _Kind.TOO_LARGE:
                for _ in events:
                    self._socket.observer.too_large(direction=leg.direction)
            else:
                (close,) = cast("Iterable[ControlFrame]", events)
        return close

    def _messages_passed(self, leg: Leg, received: list[Event]) -> None:
        socket, direction = self._socket, leg.direction
        if not (socket.closing.has_destination(direction) or socket.is_mocked):
            return  # the server has gone: this has gone nowhere
        if leg.stream.reader.lazy:
            for event in received:
                if isinstance(event, LazyBatch):
                    socket.observer.passed_unheard(event, direction=direction)
        elif received:
            socket.observer.passed(cast("list[Payload]", received), direction=direction, injected=False)

    def ours_passed(self, leg: Leg, ours: Sequence[Ours]) -> None:
        """Report what waited for its place, and is among the bytes that were forwarded."""
        if sent := [each for each in ours if not isinstance(each, Close)]:
            self._socket.observer.passed(sent, direction=leg.direction, injected=True)
        for each in ours:
            if isinstance(each, Close):
                self._socket.close_went(leg, each)


class _Kind(Enum):
    """Events of one kind that follow each other are reported together."""

    MESSAGE = "message"
    PING = "ping"
    TOO_LARGE = "too large"
    CLOSE = "close"


def _kind(event: Event) -> _Kind:
    if isinstance(event, ControlFrame):
        return _Kind.CLOSE if event.opcode == Opcode.CLOSE else _Kind.PING
    return _Kind.TOO_LARGE if isinstance(event, TooLarge) else _Kind.MESSAGE
