"""PASS: the bytes of a direction have been forwarded as they came, and what was read of them is reported."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

from wirewright.mitm.layers.leg import Leg
from wirewright.mitm.layers.open_socket import OpenSocket
from wirewright.values import Payload
from wirewright.wire.frames import Opcode
from wirewright.wire.reader_events import ControlFrame, Event, LazyBatch, TooLarge
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
        last = received[-1]
        close = last if isinstance(last, ControlFrame) and last.opcode == Opcode.CLOSE else None
        if close is not None:
            received.pop()  # nothing is read after it
        for kind, group in groupby(received, _kind):
            events: list[Any] = list(group)
            if kind is ControlFrame:
                self._socket.report_pings(leg, events)
            elif kind is TooLarge:
                for _ in events:
                    self._socket.observer.too_large(direction=leg.direction)
            else:
                self._messages_passed(leg, events)
        return close

    def _messages_passed(self, leg: Leg, received: list[Event]) -> None:
        socket, direction = self._socket, leg.direction
        if not (socket.closing.has_destination(direction) or socket.is_mocked):
            return  # the server has gone: this has gone nowhere
        if leg.stream.reader.wanted.lazy:
            for event in received:
                if isinstance(event, LazyBatch):
                    socket.observer.passed_unread(event, direction=direction)
        elif received:
            socket.observer.passed(cast("list[Payload]", received), direction=direction, injected=False)

    def ours_passed(self, leg: Leg, ours: Sequence[Ours]) -> None:
        """Report what waited for its place, and is among the bytes that were forwarded."""
        if sent := [each for each in ours if not isinstance(each, Close)]:
            self._socket.observer.passed(sent, direction=leg.direction, injected=True)
        for each in ours:
            if isinstance(each, Close):
                self._socket.close_was_sent(leg, each)


def _kind(event: Event) -> type:
    """The class of an event. Messages have one in common, so that those in a row are reported together."""
    return type(event) if isinstance(event, (ControlFrame, TooLarge)) else object
