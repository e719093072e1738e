"""Counts, sizes, rates and gaps of the messages of each socket."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from wirewright.capture.records import RecordedFrame, Socket
from wirewright.values import Direction

PERCENTILES = (50, 95, 99)


@dataclass
class DirectionStatistics:
    """The messages of one direction of one socket."""

    messages: int = 0
    bytes: int = 0
    """Bytes of their payloads."""
    first_ns: int = 0
    last_ns: int = 0
    _gaps: "array[int]" = field(default_factory=lambda: array("q"))

    def add(self, frame: RecordedFrame) -> None:
        if self.messages:
            self._gaps.append(frame.time_ns - self.last_ns)
        else:
            self.first_ns = frame.time_ns
        self.messages += 1
        self.bytes += frame.size
        self.last_ns = frame.time_ns

    @property
    def rate(self) -> float | None:
        """Messages a second, from the first to the last; None for fewer than two, or if they came at once."""
        seconds = (self.last_ns - self.first_ns) / 1e9
        return (self.messages - 1) / seconds if seconds else None

    def gaps(self, percentiles: Sequence[int] = PERCENTILES) -> list[float]:
        """Milliseconds between one message and the next, at these percentiles; nothing for fewer than two."""
        gaps = sorted(self._gaps)
        return (
            [gaps[min(len(gaps) - 1, len(gaps) * each // 100)] / 1e6 for each in percentiles] if gaps else []
        )


@dataclass
class SocketStatistics:
    """One socket; dropped messages are left out, and control frames are counted apart."""

    socket: Socket
    sent: DirectionStatistics = field(default_factory=DirectionStatistics)
    received: DirectionStatistics = field(default_factory=DirectionStatistics)
    control_frames: int = 0

    def direction(self, direction: Direction) -> DirectionStatistics:
        return self.sent if direction is Direction.SENT else self.received


def statistics(frames: Iterable[tuple[Socket, RecordedFrame]]) -> list[SocketStatistics]:
    """The statistics of the sockets of these frames, in the order of their first frames."""
    found: dict[int, SocketStatistics] = {}
    for socket, frame in frames:
        of_socket = found.setdefault(socket.id, SocketStatistics(socket))
        if not frame.is_message:
            of_socket.control_frames += 1
        elif not frame.is_dropped:
            of_socket.direction(frame.direction).add(frame)
    return list(found.values())
