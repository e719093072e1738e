"""What a measure is: it fills one row of a table, or a few."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.bench_run import Session
from bench.carriers import BARE
from bench.proxies import Carrier

KB, MB = 1_000, 1_000_000

LOST = "messages"
BESIDE_EACH_OTHER = ("direct", "bare", "listener", "layers", "no-listener", "ceiling", "mockttp")
AND_RELAYS = (*BESIDE_EACH_OTHER, "haproxy", "picows")
"""And programs that pass bytes or frames on and look at nothing."""
PROXIES = BESIDE_EACH_OTHER[1:]


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
        """One measurement: the value of each row that is for this carrier. Raises Failure."""
