"""The network between the app and the proxy, where it is under conditions."""

from collections.abc import Iterable
from time import monotonic
from typing import Any

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, layer

from wirewright.mitm.layers.leg import Held, Lost
from wirewright.values import Conditions, Direction
from wirewright.wire.network_link import Link
from wirewright.wire.reader_events import Deflated

CONTROL_BIT = 0x08
"""The bit of an opcode that control frames have (RFC 6455, 5.2)."""


class AppNetwork:
    """The simulated network of one socket, in both directions.

    Messages are delayed, dropped, duplicated and reordered. Other frames and the end of the connection are
    only delayed, and keep their place.
    """

    def __init__(self, app: Connection) -> None:
        self.sent: Link[Held] = Link("from app")
        self.received: Link[bytes] = Link("to app")
        self._app = app
        self._timers: dict[commands.RequestWakeup, float] = {}
        """By what we are woken, and when."""

    def link(self, direction: Direction) -> "Link[Any]":
        """The link of one direction."""
        return self.sent if direction is Direction.SENT else self.received

    def set_conditions(self, conditions: Conditions, *, direction: Direction) -> layer.CommandGenerator[None]:
        """Put one direction under other conditions. What is no longer stuck arrives when we are woken."""
        self.link(direction).set_conditions(conditions, monotonic())
        yield from self._set_timer()

    def receive(self, events: Iterable[Held]) -> None:
        """The app has said something. `advance` has to follow."""
        now = monotonic()
        for event in events:
            message = event.payload if isinstance(event, Deflated) else event
            if isinstance(message, (str, bytes)):
                size = len(message.encode() if isinstance(message, str) else message)
                self.sent.put(event, size, now, is_message=True)
            else:
                self.sent.put(event, 0, now, is_message=False)

    def lose_app(self) -> bool:
        """The app's connection has ended. Returns True if the end comes later, behind items under way.

        `advance` has to follow then.
        """
        if self.sent.due is None:
            return False
        self.sent.end(Lost.LOST, monotonic())
        return True

    def forget_received(self) -> None:
        """Drop the items from the app that are under way."""
        self.sent.clear()

    def send(self, frames: Iterable[bytes]) -> layer.CommandGenerator[None]:
        """Frames go to the app, each of these a whole one."""
        now = monotonic()
        for frame in frames:
            self.received.put(frame, len(frame), now, is_message=not frame[0] & CONTROL_BIT)
        yield from self._deliver()
        yield from self._set_timer()

    def is_timer(self, command: commands.RequestWakeup) -> bool:
        """True if this was a wakeup of ours; it is over then."""
        return self._timers.pop(command, None) is not None

    def advance(self) -> layer.CommandGenerator[list[Held]]:
        """Send the app the frames that are due by now. Returns the items from the app that have arrived."""
        yield from self._deliver()
        arrived = self.sent.arrived(monotonic())
        yield from self._set_timer()
        return arrived

    def _deliver(self) -> layer.CommandGenerator[None]:
        if data := b"".join(self.received.arrived(monotonic())):
            yield commands.SendData(self._app, data)

    def _set_timer(self) -> layer.CommandGenerator[None]:
        due = min((due for link in (self.sent, self.received) if (due := link.due) is not None), default=None)
        if due is not None and all(due < at for at in self._timers.values()):
            timer = commands.RequestWakeup(max(0.0, due - monotonic()))
            self._timers[timer] = due
            yield timer
