"""How far a socket's layer reads from a source whose messages wait."""

from wirewright.memory import MemoryUse, budget
from wirewright.mitm.layers.leg import Leg
from wirewright.mitm.layers.open_socket import OpenSocket
from wirewright.mitm.patches import back_pressure
from wirewright.values import Direction


class ReadingLimits:
    """Pauses reading from a source while more than `max_held` bytes of its messages wait."""

    __slots__ = ("_socket",)

    def __init__(self, socket: OpenSocket) -> None:
        self._socket = socket

    def update_pauses(self) -> None:
        """Pause reading from a source above `max_held` waiting bytes, and resume below a quarter of it."""
        for leg in self._socket.legs.values():
            if leg.undecided or leg.held or leg.share is not None or self._socket.network is not None:
                self._report_memory(leg)
                self._pause(leg, self.is_full(leg))

    def _report_memory(self, leg: Leg) -> None:
        if leg.share is None:
            leg.share = budget.share(MemoryUse.HELD)
        is_finished = self._socket.closing.is_finished
        leg.share.follow(0 if is_finished else leg.undecided_size + self.waiting(leg))

    def is_full(self, leg: Leg) -> bool:
        """True if reading from the source has to pause, because more than `max_held` bytes of it wait."""
        waiting = self.waiting(leg)
        if not (waiting or leg.undecided) or self._socket.closing.must_be_read(leg.direction):
            return False
        most = self._socket.observer.max_held
        return waiting > (most // 4 if leg.is_paused else most) or not budget.has_room(MemoryUse.HELD)

    def _pause(self, leg: Leg, is_paused: bool) -> None:
        if is_paused is not leg.is_paused:
            leg.is_paused = is_paused
            context = self._socket.context
            source = context.client if leg.direction is Direction.SENT else context.server
            (back_pressure.pause if is_paused else back_pressure.resume)(source)

    def waiting(self, leg: Leg) -> int:
        """About how many bytes of memory a direction's messages take, here and in the app's network."""
        if leg.held:
            leg.held.weigh()
        network = self._socket.network
        return leg.held.weight + (0 if network is None else network.link(leg.direction).weight)

    def is_overfull(self, leg: Leg) -> bool:
        """True if more than `max_held` bytes wait, and the source is read only to notice its end."""
        is_above = self.waiting(leg) > self._socket.observer.max_held
        return is_above and self._socket.closing.must_be_read(leg.direction)
