"""What a run has measured, round by round, and the medians and ratios of it."""

import statistics
from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Results:
    """The values of each row and carrier, one a round; None where a measurement failed."""

    values: dict[tuple[str, str], list[float | None]] = field(default_factory=lambda: defaultdict(list))
    notes: dict[tuple[str, str], str] = field(default_factory=dict)
    """What must be said to a row and a carrier."""

    def add(self, row: str, carrier: str, value: float | None) -> None:
        self.values[row, carrier].append(value)

    def median(self, row: str, carrier: str) -> float | None:
        there = [value for value in self.values.get((row, carrier), []) if value is not None]
        return statistics.median(there) if there else None

    def ratio(self, of: tuple[str, str], to: tuple[str, str]) -> float | None:
        """The median of what the ratio was in each round: a machine's mood is much the same within one."""
        ratios = [
            one / other
            for one, other in zip(self.values.get(of, []), self.values.get(to, []), strict=False)
            if one is not None and other
        ]
        return statistics.median(ratios) if ratios else None
