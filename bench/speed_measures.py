"""Measures of speed: messages a second, and round trips."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.bench_run import Outcome, Scale, Session
from bench.measure import MB, Measure, Row
from bench.processes import Failure
from bench.proxies import Carrier
from bench.sender import Order
from wirewright.capture import Capture

MESSAGES, MEGABYTES, MICROSECONDS = "messages/s", "MB/s", "µs"

SMALL_TEXT = Order("flood", 0, 100)


@dataclass
class Speed(Measure):
    """Messages through one socket or several, as many as take the time that is meant for it."""

    order: Order = SMALL_TEXT
    sockets: int = 1
    scheme: str = "wss"
    must_change: bool = False
    times_processor: bool = False
    """Whether the processor time of the proxy is a row, too. Other programs disturb it less than a rate."""
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> Sequence[Row]:
        unit = MEGABYTES if self.order.size >= MB else MESSAGES
        return [Row(self.name, self.title, unit), *self._processor_row]

    @property
    def _processor_row(self) -> Sequence[Row]:
        title = f"{self.title}: processor time of the proxy for each"
        return [Row(self._processor, title, MICROSECONDS)] if self.times_processor else []

    @property
    def _processor(self) -> str:
        return f"{self.name}-processor"

    async def run(self, session: Session, carrier: Carrier) -> Mapping[str, float]:
        outcome, seconds = await self._measure(session, carrier)
        if outcome.unfinished:
            await session.drop(carrier)
            session.note(self.name, carrier, outcome.unfinished)
        values = self._values(outcome)
        if self.times_processor and carrier.is_proxy:
            values[self._processor] = seconds / outcome.messages * 1e6
        return values

    async def _measure(self, session: Session, carrier: Carrier) -> tuple[Outcome, float]:
        """Carry the order. Returns its outcome, and the processor time of the proxy in seconds."""
        route = await session.route(carrier)
        async with session.sockets(route, self.scheme, self.sockets):

            async def attempt(count: int) -> Outcome:
                return await session.carry(route, self._order(count), self.sockets)

            if carrier.name not in self._counts:
                self._counts[carrier.name] = await _calibrate(attempt, session.scale, self._start)
            before = route.processor_seconds()
            outcome = await attempt(self._counts[carrier.name])
            seconds = route.processor_seconds() - before
        if not outcome.messages or (outcome.unfinished and self.order.do == "sink"):
            await session.drop(carrier)
            raise Failure(outcome.unfinished or "nothing came")
        if self.must_change and not outcome.changed:
            raise Failure("the messages came unchanged")
        return outcome, seconds

    @property
    def _start(self) -> int:
        """With how many messages to find out how many it takes."""
        return max(1, min(100, 2 * MB // self.order.size))

    def _order(self, count: int) -> Order:
        return Order(self.order.do, count, self.order.size, self.order.binary)

    def _values(self, outcome: Outcome) -> dict[str, float]:
        amount = outcome.size / MB if self.order.size >= MB else outcome.messages
        return {self.name: amount / outcome.seconds}


@dataclass
class Recorded(Speed):
    """What is recorded must be in the file."""

    async def run(self, session: Session, carrier: Carrier) -> Mapping[str, float]:
        values = await super().run(session, carrier)
        route = await session.route(carrier)
        if route.capture is not None:
            await session.drop(carrier)
            note_missing(session, self.name, carrier, route.capture)
        return values


def note_missing(session: Session, row: str, carrier: Carrier, capture: Path) -> None:
    """Say it if frames are missing in a capture; it is deleted then."""
    with Capture(capture) as opened:
        missing = sum(gap.frames for gap in opened.gaps())
        ended = all(each.ended_ns for each in opened.sessions())
    capture.unlink()
    if missing or not ended:
        session.note(row, carrier, f"{missing:,} frames are not recorded" if missing else "it was not ended")


@dataclass
class PingPong(Speed):
    """One message there and back, then the next."""

    @property
    def rows(self) -> Sequence[Row]:
        return [
            Row(self.name, f"{self.title}, median", MICROSECONDS),
            Row(f"{self.name}-p99", "the same: 99 of 100 are faster", MICROSECONDS),
            *self._processor_row,
        ]

    def _values(self, outcome: Outcome) -> dict[str, float]:
        return {
            self.name: outcome.round_trip * 1e6,
            f"{self.name}-p99": outcome.slow_round_trip * 1e6,
        }


async def _calibrate(attempt: Callable[[int], Awaitable[Outcome]], scale: Scale, start: int) -> int:
    """How many messages take about as long as is meant."""
    count = start
    while True:
        outcome = await attempt(count)
        if outcome.unfinished:
            return max(1, outcome.messages // 4)
        fitting = int(count * scale.seconds / outcome.seconds)
        if outcome.seconds > scale.seconds / 5 or fitting <= count:
            return max(1, fitting)
        count = min(fitting, count * 20)
