"""The network between the app and the proxy, where a route has put it under conditions."""

from collections.abc import Iterable
from time import monotonic

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, layer

from wirewright.conditions import Conditions
from wirewright.wire.leg import Held
from wirewright.wire.link import Link

CONTROL_BIT = 0x08
"""Of an opcode: control frames have it (RFC 6455, 5.2)."""


class AppNetwork:
    """Both directions of one socket: what the app has said comes to the proxy late, and what it is sent goes
    late.

    Messages are lost, doubled and reordered; other frames and the end are only delayed, in their place.
    """

    def __init__(self, app: Connection) -> None:
        self.from_app: Link[Held] = Link("from app")
        self.to_app: Link[bytes] = Link("to app")
        self._app = app
        self._timer: tuple[float, commands.RequestWakeup] | None = None
        """When we are woken next, and by what."""

    def change(self, conditions: Conditions, *, to_client: bool) -> None:
        """Put one direction under other conditions. `advance` has to follow."""
        (self.to_app if to_client else self.from_app).change(conditions, monotonic())

    def receive(self, events: Iterable[Held]) -> None:
        """The app has said something. `advance` has to follow."""
        now = monotonic()
        for event in events:
            if isinstance(event, (str, bytes)):
                size = len(event.encode() if isinstance(event, str) else event)
                self.from_app.put(event, size, now, is_message=True)
            else:
                self.from_app.put(event, 0, now, is_message=False)

    @property
    def carries_from_app(self) -> bool:
        """Whether something that the app has said will still come by itself."""
        return not (self.from_app.is_empty or self.from_app.is_stalled)

    def forget_received(self) -> None:
        """What the app has said concerns nobody any more."""
        self.from_app.clear()

    def send(self, frames: Iterable[bytes]) -> layer.CommandGenerator[None]:
        """Frames go to the app, each of these a whole one."""
        now = monotonic()
        for frame in frames:
            self.to_app.put(frame, len(frame), now, is_message=not frame[0] & CONTROL_BIT)
        yield from self._deliver()
        yield from self._set_timer()

    def is_timer(self, command: commands.Command) -> bool:
        """Whether this was our wakeup; it is over then."""
        if self._timer is None or self._timer[1] is not command:
            return False
        self._timer = None
        return True

    def advance(self) -> layer.CommandGenerator[list[Held]]:
        """Send the app what arrives there by now; the value is what has come from it."""
        yield from self._deliver()
        arrived = self.from_app.arrived(monotonic())
        yield from self._set_timer()
        return arrived

    def _deliver(self) -> layer.CommandGenerator[None]:
        if data := b"".join(self.to_app.arrived(monotonic())):
            yield commands.SendData(self._app, data)

    def _set_timer(self) -> layer.CommandGenerator[None]:
        due = min(
            (due for link in (self.from_app, self.to_app) if (due := link.due) is not None), default=None
        )
        if due is not None and (self._timer is None or due < self._timer[0]):
            timer = commands.RequestWakeup(max(0.0, due - monotonic()))
            self._timer = due, timer
            yield timer
