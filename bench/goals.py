"""What the figures are meant to be."""

from dataclasses import dataclass
from typing import Literal

from bench.carriers import CARRIERS
from bench.results import Results

NOISE = 0.05
"""By how much "no slower" and "no more" may be missed: two runs of the same program differ by as much."""


@dataclass(frozen=True)
class Goal:
    """A row's value for a carrier: as it is, or as a ratio to another carrier's or another row's."""

    text: str
    row: str
    carrier: str
    bound: Literal["at least", "at most"]
    limit: float
    to: tuple[str, ...] = ()
    """The carriers that it is a ratio to; of several, to that with which it is worst."""
    to_row: str = ""
    unit: str = "x"

    @property
    def limit_text(self) -> str:
        if not self.to:
            return f"{self.bound} {self.limit:g} {self.unit}"
        others = " or ".join(CARRIERS[name].title for name in self.to)
        return f"{self.bound} {self.limit:g} x" + ("" if self.to_row else f" {others}")

    def measured(self, results: Results) -> float | None:
        if not self.to:
            return results.median(self.row, self.carrier)
        ratios = [
            ratio
            for name in self.to
            if (ratio := results.ratio((self.row, self.carrier), (self.to_row or self.row, name))) is not None
        ]
        return (min if self.bound == "at least" else max)(ratios, default=None)

    def met(self, results: Results) -> bool | None:
        """None where it was not measured, or not to the end."""
        value = self.measured(results)
        if value is None or (self.row, self.carrier) in results.notes:
            return None
        noise = NOISE if self.limit == 1 else 0.0
        if self.bound == "at least":
            return value >= self.limit * (1 - noise)
        return value <= self.limit * (1 + noise)


RELAYS = ("haproxy", "picows")


def _ratios(
    bound: Literal["at least", "at most"], row: str, text: str, carrier: str, **limits: float
) -> list[Goal]:
    """A goal for each carrier that is compared with; `relays` stands for the faster of them."""
    return [
        Goal(text, row, carrier, bound, limit, RELAYS if other == "relays" else (other,))
        for other, limit in limits.items()
    ]


GOALS: tuple[Goal, ...] = (
    *_ratios(
        "at least",
        "flood",
        "server to app, 100 bytes, one listener",
        "listener",
        bare=120,
        mockttp=1.8,
        relays=0.8,
    ),
    *_ratios("at least", "flood-8", "8 sockets at once, one listener", "listener", bare=130, mockttp=2.2),
    *_ratios("at least", "flood-up", "app to server, one listener", "listener", bare=50),
    *_ratios("at least", "flood-16k", "16 KB, one listener", "listener", bare=14, mockttp=1.1, relays=0.8),
    *_ratios("at least", "flood-1m", "1 MB, one listener", "listener", bare=4.5, mockttp=1, relays=0.8),
    Goal(
        "cost of a megabyte at 64 MB to that at 1 MB, one listener",
        "flood-1m",
        "listener",
        "at most",
        1.3,
        to=("listener",),
        to_row="flood-64m",
    ),
    *_ratios(
        "at most", "ping-pong", "round trip, one listener", "listener", bare=0.13, mockttp=1, relays=1.4
    ),
    *_ratios("at most", "ping-pong-p99", "the slowest of 100 round trips", "listener", bare=0.13, mockttp=1),
    *_ratios(
        "at least", "changing", "HOLD: each changed by a route", "route-changing", **{"bare-changing": 35}
    ),
    *_ratios(
        "at least",
        "changing",
        "HOLD: each message changed by the same addon",
        "hook-changing",
        **{"bare-changing": 15},
    ),
    Goal("memory after many messages", "memory-many", "listener", "at most", 10, unit="MiB"),
    Goal("memory, one large message, no listener", "memory-large", "no-listener", "at most", 8, unit="MiB"),
    Goal("memory, a reader that has stopped", "stalled", "listener", "at most", 64, unit="MiB"),
    Goal("messages lost then", "stalled-lost", "listener", "at most", 0, unit="messages"),
    Goal("memory of an idle socket", "idle-memory", "listener", "at most", 0.85, to=("bare",)),
    Goal("time to open a socket", "idle-opening", "listener", "at most", 1, to=("bare",)),
    *_ratios(
        "at least",
        "flood-routes",
        "server to app beside a route that matches nothing",
        "unmatched",
        listener=1,
    ),
    *_ratios(
        "at least",
        "flood-searched",
        "server to app while `next_frame` looks for a frame",
        "searching",
        listener=1,
    ),
    Goal("round trip with a mock", "ping-pong-mock", "mocked", "at most", 1, to=("listener",)),
    Goal("mocks at once that answer", "mocks-at-once", "mocked", "at least", 1_000, unit="sockets"),
    *_ratios(
        "at least",
        "flood-remote",
        "beside a client that follows others",
        "subscribed-other",
        **{"no-listener": 1},
    ),
    *_ratios(
        "at least", "flood-remote", "beside a stalled client", "subscribed-stalled", **{"no-listener": 0.8}
    ),
    *_ratios("at least", "flood-recorded", "server to app, recorded", "recording", bare=75, listener=0.5),
    Goal("memory while many are recorded", "memory-recorded", "recording", "at most", 32, unit="MiB"),
    Goal("memory of mocks that are gone", "memory-mocks", "mocked", "at most", 5, unit="MiB"),
)
