"""One run of the benchmark: its ends, the carriers that run, and what a measure may ask of them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

from bench import process_figures
from bench.processes import Child, Ends, Failure
from bench.proxies import Carrier, Route, Workplace
from bench.sender import Order

LAST = 20
"""How many lines of what a carrier complained of are shown."""


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    rounds: int
    seconds: float
    """How long one measurement of speed is meant to take."""
    limit: float
    """Seconds after which one measurement is broken off."""
    many: int
    """Messages on one socket, for the memory that they cost."""
    large: int
    """Bytes of the one large message."""
    stalled: int
    """Bytes that are sent to a reader that has stopped."""
    sockets: int
    """How many are open and idle."""
    recorded: int
    """Messages on one socket that are recorded."""
    mocks: int
    """How many are opened and closed."""


FULL = Scale(5, 1.5, 60.0, 1_000_000, 100_000_000, 1_000_000_000, 2_000, 5_000_000, 10_000)
QUICK = Scale(1, 0.3, 15.0, 20_000, 20_000_000, 100_000_000, 100, 100_000, 2_000)


@dataclass(frozen=True)
class Outcome:
    """What became of an order."""

    seconds: float
    messages: int
    size: int
    misplaced: int
    round_trip: float
    """Seconds, the median."""
    slow_round_trip: float
    """Seconds: 99 of 100 are faster (p99)."""
    changed: bool
    unfinished: str
    """Why it ended before all was carried; nothing if it did not."""


class Guard:
    """Ends a process that takes more memory than this machine can spare."""

    def __init__(self, child: Child, most: int) -> None:
        self._child = child
        self._most = most
        self._tripped = False

    async def watch(self) -> None:
        while self._child.alive:
            if process_figures.resident(self._child.pid) > self._most:
                self._tripped = True
                self._child.kill()
                return
            await asyncio.sleep(0.05)  # the interval at which memory is looked at

    def check(self) -> None:
        """Raise Failure if it had to."""
        if self._tripped:
            raise Failure(f"broken off at {self._most / 2**30:.1f} GiB of memory")
        if not self._child.alive:
            raise Failure("it ended")


class Session:
    """The ends, and the carriers that have been started."""

    def __init__(self, place: Workplace, ends: Ends, scale: Scale) -> None:
        self.scale = scale
        self.notes: dict[tuple[str, str], str] = {}
        """What must be said to the value in a row, for a carrier."""
        self._place = place
        self._ends = ends
        self._routes: dict[str, tuple[Carrier, Route]] = {}
        self._passed: dict[int, int | None] = {}
        """How many messages each has carried; None where that is not known."""

    def note(self, row: str, carrier: Carrier, text: str) -> None:
        self.notes[row, carrier.name] = text

    async def route(self, carrier: Carrier) -> Route:
        """Through a carrier that runs until the session ends, and is started if it does not yet."""
        if carrier.name not in self._routes:
            self._routes[carrier.name] = carrier, await carrier.start(self._place)
        return self._routes[carrier.name][1]

    async def drop(self, carrier: Carrier) -> None:
        """End a carrier that may be in disorder; the next measurement gets a new one."""
        if started := self._routes.pop(carrier.name, None):
            await self._stop(*started)

    @asynccontextmanager
    async def fresh(self, carrier: Carrier) -> AsyncIterator[tuple[Route, Guard]]:
        """Through a carrier that has carried no more than what makes it load all of its code."""
        route = await carrier.start(self._place)
        assert route.process is not None
        guard = Guard(route.process, process_figures.of_machine() // 3)
        watching = asyncio.ensure_future(guard.watch())
        try:
            for scheme in ("wss", "ws"):
                async with self.sockets(route, scheme):
                    await self.carry(route, Order("flood", 200, 100))
            yield route, guard
        finally:
            watching.cancel()
            await self._stop(carrier, route)

    @asynccontextmanager
    async def sockets(self, route: Route, scheme: str = "wss", count: int = 1) -> AsyncIterator[float]:
        """So many open sockets; the value is how many seconds it took to open them."""
        opened = await self._ends.client(
            "open",
            self.scale.limit,
            url=route.server or self._ends.url(scheme),
            proxy=route.proxy,
            ca=str(route.ca),
            sockets=count,
        )
        try:
            yield opened["seconds"]
        finally:
            await self._ends.client("close", 5.0)

    async def carry(self, route: Route, order: Order, sockets: int = 1, *, is_told: bool = True) -> Outcome:
        """Have each open socket carry an order; `is_told`: the listeners must hear of every message."""
        outcome = _outcome(await self._ends.client("carry", self.scale.limit, order=asdict(order)))
        self._count(route, order, sockets, known=is_told and not outcome.unfinished)
        return outcome

    async def stall(self, order: Order) -> None:
        """Give an order whose messages the client does not read for now."""
        await self._ends.client("stall", self.scale.limit, order=asdict(order))

    async def sent(self) -> int:
        """How many messages the server could send until now."""
        return await self._ends.sent()

    async def resume(self) -> Outcome:
        """Read them."""
        return _outcome(await self._ends.client("resume", self.scale.limit))

    async def end(self) -> None:
        for carrier, _ in list(self._routes.values()):
            await self.drop(carrier)

    async def _stop(self, carrier: Carrier, route: Route) -> None:
        counted, passed = await route.stop(), self._passed.pop(id(route), None)
        for complaint in route.complaints[-LAST:]:
            say(f"{carrier.name} said: {complaint}")
        if counted is not None and passed is not None and counted < passed:
            self.note("", carrier, f"its listeners were told of {counted:,} of {passed:,} messages")

    def _count(self, route: Route, order: Order, sockets: int, *, known: bool) -> None:
        before = self._passed.get(id(route), 0)
        extra = {"flood": 0, "sink": 1, "echo": order.count}[order.do]
        passed = None if before is None or not known else before + sockets * (1 + order.count + extra)
        self._passed[id(route)] = passed


def say(text: str) -> None:
    """Progress goes beside the result."""
    print(text, file=sys.stderr, flush=True)


def _outcome(answer: dict[str, Any]) -> Outcome:
    return Outcome(**answer)
