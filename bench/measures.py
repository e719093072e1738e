"""What is measured: each measure fills one row of the table, or a few."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import memory
from bench.carriers import (
    BARE,
    BARE_CHANGING,
    HOOK_CHANGING,
    LISTENER,
    MOCKED,
    RECORDING,
    ROUTE_CHANGING,
    UNMATCHED,
    Carrier,
    Route,
)
from bench.children import Failure
from bench.sending import Order
from bench.session import Guard, Outcome, Scale, Session
from wirewright.capture import Capture

MESSAGES, MEGABYTES, MICROSECONDS = "messages/s", "MB/s", "µs"
MEBIBYTES, KIBIBYTES, MILLISECONDS, LOST, SOCKETS = "MiB", "KiB", "ms", "messages", "sockets"
KB, MB = 1_000, 1_000_000
KIB, MIB = 1 << 10, 1 << 20

STALLED_SIZE = 50 * KB
"""Bytes of each message to a reader that has stopped."""
INTERVAL, STILL = 0.1, 20
"""Seconds between two looks at what the server has sent; how many alike mean that it can send no more."""

MANY = 1_000
"""Sockets that are open at once and answer."""
AT_A_TIME = 50
"""How many are opened and closed together where many are, one after another."""

SMALL_TEXT = Order("flood", 0, 100)

BESIDE_EACH_OTHER = ("direct", "bare", "listener", "no-listener", "ceiling", "mockttp")
PROXIES = BESIDE_EACH_OTHER[1:]
CHANGING = (BARE_CHANGING.name, HOOK_CHANGING.name, ROUTE_CHANGING.name)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    unit: str
    relative: bool = True
    """Whether it is shown as a ratio to the carrier that the others are compared with."""


@dataclass
class Measure(ABC):
    """Something that is measured with several carriers side by side."""

    name: str
    title: str
    carriers: Sequence[str] = BESIDE_EACH_OTHER
    base: str = BARE.name
    """The carrier that the others are compared with: those with the same one share a table."""

    @property
    @abstractmethod
    def rows(self) -> Sequence[Row]: ...

    @property
    def needs_memory(self) -> bool:
        """Whether it looks at the memory of processes."""
        return False

    @abstractmethod
    async def run(self, session: Session, carrier: Carrier) -> Mapping[str, float]:
        """One measurement; the value of each row. Raises Failure."""


@dataclass
class Speed(Measure):
    """Messages through one socket or several, as many as take the time that is meant for it."""

    order: Order = SMALL_TEXT
    sockets: int = 1
    scheme: str = "wss"
    must_change: bool = False
    _counts: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> Sequence[Row]:
        unit = MEGABYTES if self.order.size >= MB else MESSAGES
        return [Row(self.name, self.title, unit)]

    async def run(self, session: Session, carrier: Carrier) -> Mapping[str, float]:
        outcome = await self._measure(session, carrier)
        if outcome.unfinished:
            await session.drop(carrier)
            session.note(self.name, carrier, outcome.unfinished)
        return {self.name: self._value(outcome)}

    async def _measure(self, session: Session, carrier: Carrier) -> Outcome:
        route = await session.route(carrier)
        async with session.sockets(route, self.scheme, self.sockets):

            async def attempt(count: int) -> Outcome:
                return await session.carry(route, self._order(count), self.sockets)

            if carrier.name not in self._counts:
                self._counts[carrier.name] = await _calibrate(attempt, session.scale, self._start)
            outcome = await attempt(self._counts[carrier.name])
        if not outcome.messages or (outcome.unfinished and self.order.do == "sink"):
            await session.drop(carrier)
            raise Failure(outcome.unfinished or "nothing came")
        if self.must_change and not outcome.changed:
            raise Failure("the messages came unchanged")
        return outcome

    @property
    def _start(self) -> int:
        """With how many messages to find out how many it takes."""
        return max(1, min(100, 2 * MB // self.order.size))

    def _order(self, count: int) -> Order:
        return Order(self.order.do, count, self.order.size, self.order.binary)

    def _value(self, outcome: Outcome) -> float:
        amount = outcome.size / MB if self.order.size >= MB else outcome.messages
        return amount / outcome.seconds


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
    """One message there and back, then the next: the median of the round trips."""

    @property
    def rows(self) -> Sequence[Row]:
        return [Row(self.name, self.title, MICROSECONDS)]

    def _value(self, outcome: Outcome) -> float:
        return outcome.round_trip * 1e6


class Growth:
    """How much more memory a process has than when this was made."""

    def __init__(self, pid: int, guard: Guard) -> None:
        self._pid = pid
        self._guard = guard
        self.begin()

    def begin(self) -> None:
        """Count from now."""
        self._before = memory.resident(self._pid)
        memory.forget_peak(self._pid)

    @property
    def now(self) -> int:
        """Bytes."""
        self._guard.check()
        return memory.resident(self._pid) - self._before

    @property
    def at_most(self) -> int:
        """Bytes at the moment when it was most."""
        self._guard.check()
        return memory.peak(self._pid) - self._before


@dataclass
class Memory(Measure):
    """A measure of the memory of a process that was just started."""

    carriers: Sequence[str] = PROXIES

    @property
    def needs_memory(self) -> bool:
        return True

    @property
    def rows(self) -> Sequence[Row]:
        return [Row(self.name, self.title, MEBIBYTES, relative=False)]

    async def run(self, session: Session, carrier: Carrier) -> Mapping[str, float]:
        async with session.fresh(carrier) as (route, guard):
            return await self.grow(session, carrier, route, Growth(route.pid, guard))

    @abstractmethod
    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        """Have it carry something; how much more memory that took."""


@dataclass
class MemoryOfMany(Memory):
    """What is left in memory after many messages on one socket that stays open."""

    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        async with session.sockets(route):
            outcome = await session.carry(route, Order("flood", session.scale.many, 100))
            if outcome.unfinished:
                session.note(self.name, carrier, f"after {outcome.messages:,} messages, {outcome.unfinished}")
            return {self.name: growth.now / MIB}


@dataclass
class MemoryOfRecording(Memory):
    """The most memory at any time while many messages are recorded."""

    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        async with session.sockets(route):
            outcome = await session.carry(route, Order("flood", session.scale.recorded, 100))
            most = growth.at_most / MIB
        if outcome.unfinished:
            session.note(self.name, carrier, f"after {outcome.messages:,} messages, {outcome.unfinished}")
        return {self.name: most}


@dataclass
class MemoryOfOne(Memory):
    """The most memory at any time while one large message passes."""

    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        async with session.sockets(route):
            order = Order("flood", 1, session.scale.large, binary=True)
            # It may be larger than what listeners are told of.
            outcome = await session.carry(route, order, is_told=False)
            if outcome.unfinished:
                session.note(self.name, carrier, outcome.unfinished)
            return {self.name: growth.at_most / MIB}


@dataclass
class StalledReader(Memory):
    """The most memory while a reader stops, and goes on when no more is sent to it."""

    @property
    def rows(self) -> Sequence[Row]:
        return [*super().rows, Row(self._lost, "the same: messages lost", LOST, relative=False)]

    @property
    def _lost(self) -> str:
        return self.name + "-lost"

    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        order = Order(
            "flood", session.scale.stalled // STALLED_SIZE, STALLED_SIZE, binary=True, numbered=True
        )
        async with session.sockets(route):
            await session.stall(order)
            await _sent_all_it_can(session, order.count)
            outcome = await session.resume()
            at_most = growth.at_most
        lost = order.count - outcome.messages + outcome.misplaced
        if outcome.unfinished:
            session.note(self._lost, carrier, outcome.unfinished)
        return {self.name: at_most / MIB, self._lost: lost}


@dataclass
class IdleSockets(Memory):
    """What open sockets cost that carry nothing."""

    @property
    def rows(self) -> Sequence[Row]:
        return [
            Row(f"{self.name}-memory", f"{self.title}: memory a socket", KIBIBYTES),
            Row(f"{self.name}-opening", f"{self.title}: time to open one", MILLISECONDS),
        ]

    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        count = session.scale.sockets
        async with session.sockets(route, count=count) as seconds:
            values = (growth.now / KIB / count, seconds / count * 1000)
        return dict(zip((row.name for row in self.rows), values, strict=True))


@dataclass
class Mocks(Memory):
    """What sockets leave behind that were opened and closed, once the first thousand was."""

    async def grow(
        self, session: Session, carrier: Carrier, route: Route, growth: Growth
    ) -> Mapping[str, float]:
        await _come_and_go(session, route, 1_000)
        growth.begin()
        await _come_and_go(session, route, session.scale.mocks - 1_000)
        return {self.name: growth.now / MIB}


async def _come_and_go(session: Session, route: Route, count: int) -> None:
    """So many sockets are opened, answer and are closed, a few at the same time."""
    for _ in range(count // AT_A_TIME):
        async with session.sockets(route, "ws", count=AT_A_TIME):
            outcome = await session.carry(route, Order("echo", 1, 100), AT_A_TIME, is_told=False)
            if outcome.unfinished:
                raise Failure(outcome.unfinished)


@dataclass
class ManyAtOnce(Measure):
    """Sockets that are open at the same time, and each is asked for an answer."""

    @property
    def rows(self) -> Sequence[Row]:
        return [Row(self.name, self.title, SOCKETS, relative=False)]

    async def run(self, session: Session, carrier: Carrier) -> Mapping[str, float]:
        async with session.fresh(carrier) as (route, _), session.sockets(route, count=MANY):
            outcome = await session.carry(route, Order("echo", 1, 100), MANY, is_told=False)
        if outcome.unfinished:
            session.note(self.name, carrier, outcome.unfinished)
        return {self.name: outcome.messages}


async def _sent_all_it_can(session: Session, count: int) -> None:
    """Wait until the server has sent all, or could send nothing for a while."""
    before, still = -1, 0
    while before < count and still < STILL:
        now = await session.sent()
        still = still + 1 if now == before else 0
        before = now
        await asyncio.sleep(INTERVAL)


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


def measures(scale: Scale) -> list[Measure]:
    """All of them, in the order of the table."""
    return [
        Speed("flood", "server to app, 100-byte text"),
        Speed("flood-ws", "the same over plain `ws://`", scheme="ws"),
        Speed("flood-up", "app to server, 100-byte text", order=Order("sink", 0, 100)),
        Speed("flood-8", "server to app, 100-byte text, 8 sockets at once", sockets=8),
        Speed("flood-16k", "server to app, 16 KB text", order=Order("flood", 0, 16 * KB)),
        Speed("flood-1m", "server to app, 1 MB binary", order=Order("flood", 0, MB, binary=True)),
        Speed("flood-64m", "server to app, 64 MB binary", order=Order("flood", 0, 64 * MB, binary=True)),
        PingPong("ping-pong", "100 bytes there and back, median round trip", order=Order("echo", 0, 100)),
        Speed(
            "changing",
            "server to app, 100-byte text, each message changed",
            carriers=CHANGING,
            base=BARE_CHANGING.name,
            must_change=True,
        ),
        MemoryOfMany("memory-many", f"memory after {scale.many:,} messages on one socket"),
        MemoryOfOne("memory-large", f"memory while one message of {scale.large // MB:,} MB passes"),
        StalledReader(
            "stalled", f"memory while {scale.stalled // MB:,} MB are sent to a reader that has stopped"
        ),
        IdleSockets("idle", f"{scale.sockets:,} idle sockets"),
        Speed(
            "flood-routes",
            "server to app, 100-byte text",
            carriers=(LISTENER.name, UNMATCHED.name),
            base=LISTENER.name,
        ),
        PingPong(
            "ping-pong-mock",
            "100 bytes there and back, median round trip",
            carriers=(LISTENER.name, MOCKED.name),
            base=LISTENER.name,
            order=Order("echo", 0, 100),
        ),
        ManyAtOnce(
            "mocks-at-once",
            f"answers of {MANY:,} sockets that are open at the same time",
            carriers=(LISTENER.name, MOCKED.name),
            base=LISTENER.name,
        ),
        Recorded(
            "flood-recorded",
            "server to app, 100-byte text, recorded",
            carriers=(BARE.name, LISTENER.name, RECORDING.name),
        ),
        MemoryOfRecording(
            "memory-recorded",
            f"most memory while {scale.recorded:,} messages are recorded",
            carriers=(RECORDING.name,),
        ),
        Mocks(
            "memory-mocks",
            f"memory after {scale.mocks:,} sockets that were opened and closed, from the first 1,000 on",
            carriers=(LISTENER.name, MOCKED.name),
            base=LISTENER.name,
        ),
    ]
