"""Measures of memory, and of many sockets."""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import process_figures
from bench.bench_run import Guard, Session
from bench.measure import KB, LOST, PROXIES, Measure, Row
from bench.processes import Failure
from bench.proxies import Carrier, Route
from bench.sender import Order

MEBIBYTES, KIBIBYTES, MILLISECONDS, SOCKETS = "MiB", "KiB", "ms", "sockets"
KIB, MIB = 1 << 10, 1 << 20

STALLED_SIZE = 50 * KB
"""Bytes of each message to a reader that has stopped."""
INTERVAL, STILL = 0.1, 20
"""Seconds between two looks at what the server has sent; how many alike mean that it can send no more."""
MANY = 1_000
"""Sockets that are open at once and answer."""
AT_A_TIME = 50
"""How many are opened and closed together where many are, one after another."""


class Growth:
    """How much more memory a process has than when this was made."""

    def __init__(self, pid: int, guard: Guard) -> None:
        self._pid = pid
        self._guard = guard
        self.begin()

    def begin(self) -> None:
        """Count from now."""
        self._before = process_figures.resident(self._pid)
        process_figures.forget_peak(self._pid)

    @property
    def now(self) -> int:
        """Bytes."""
        self._guard.check()
        return process_figures.resident(self._pid) - self._before

    @property
    def at_most(self) -> int:
        """Bytes at the moment when it was most."""
        self._guard.check()
        return process_figures.peak(self._pid) - self._before


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
