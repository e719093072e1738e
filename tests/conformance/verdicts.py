"""What the suite says of a case, and how that compares between two runs."""

from collections.abc import Mapping
from dataclasses import dataclass

from conformance.cases import UNSTABLE

_GOOD = {"OK": 0, "INFORMATIONAL": 0}
_RANKS = _GOOD | {"NON-STRICT": 1, "UNIMPLEMENTED": 2, "FAILED": 3}
_CLOSE_RANKS = _GOOD | {"WRONG CODE": 1, "UNCLEAN": 1, "FAILED BY CLIENT": 1, "FAILED": 2}
_WORST = 9


@dataclass(frozen=True)
class Verdict:
    """Of one case in one run."""

    behavior: str
    """The suite's word on the messages: OK, NON-STRICT, INFORMATIONAL, UNIMPLEMENTED or FAILED."""

    behavior_close: str
    """Its word on the closing: OK, INFORMATIONAL, WRONG CODE, UNCLEAN, FAILED BY CLIENT or FAILED."""

    close_code: int | None
    """In the close frame that the suite was sent; None for no code, and for no frame."""

    def is_worse_than(self, other: "Verdict") -> bool:
        """Whether one of the two words is a worse one; a close code alone is never worse."""
        return _rank(_RANKS, self.behavior) > _rank(_RANKS, other.behavior) or (
            _rank(_CLOSE_RANKS, self.behavior_close) > _rank(_CLOSE_RANKS, other.behavior_close)
        )

    def __str__(self) -> str:
        words = (
            self.behavior if self.behavior_close == "OK" else f"{self.behavior}, close {self.behavior_close}"
        )
        return f"{words}, {self.close_code or 'no code'}"


NO_RESULT = Verdict("NO RESULT", "NO RESULT", None)
"""Of a case that did not end in time."""

Verdicts = Mapping[str, Verdict]
"""By case."""


def differing(direct: Verdicts, other: Verdicts) -> list[str]:
    """The cases that are judged otherwise, or whose close code is another one."""
    return [case for case in direct if case not in UNSTABLE and direct[case] != other[case]]


def worse(direct: Verdicts, other: Verdicts) -> list[str]:
    """The cases that are judged worse."""
    return [case for case in differing(direct, other) if other[case].is_worse_than(direct[case])]


def _rank(ranks: Mapping[str, int], word: str) -> int:
    return ranks.get(word, _WORST)
