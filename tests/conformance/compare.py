"""One library in one role, over all three ways, and whether the proxy made a difference."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from conformance.endpoints import Library
from conformance.proxy import Way
from conformance.runs import Role, run_cases
from conformance.verdicts import NO_RESULT, Verdict, Verdicts, differing, worse

RERUNS = 2
"""How often the cases that differ are run again: on a busy machine a few time out, on any way."""

FEW = 20
"""More cases than these differ for a reason, and are not run again."""


@dataclass
class Comparison:
    """What the suite says of one library in one role, on each way."""

    library: Library
    role: Role
    verdicts: dict[Way, Verdicts]

    flipped: list[str] = field(default_factory=list)
    """Cases that differed at first, and not when they were run again; their verdicts are the later ones."""

    @property
    def name(self) -> str:
        return f"{self.library.name} {self.role.value}"

    def differing(self, way: Way) -> list[str]:
        """Cases that are judged otherwise than direct, or have another close code."""
        return differing(self.verdicts[Way.DIRECT], self.verdicts[way])

    def worse(self, way: Way) -> list[str]:
        """Cases that are judged worse than direct."""
        return worse(self.verdicts[Way.DIRECT], self.verdicts[way])

    @property
    def breaches(self) -> list[str]:
        """What must not be: cases that differ in PASS, are worse in HOLD, or did not end on any way."""
        stuck = (
            case for verdicts in self.verdicts.values() for case in verdicts if verdicts[case] == NO_RESULT
        )
        cases = {*self.differing(Way.PASS), *self.worse(Way.HOLD), *stuck}
        return [case for case in self.verdicts[Way.DIRECT] if case in cases]

    def describe(self, cases: Iterable[str]) -> str:
        """Cases with their verdict on each way, one a line."""
        ways = {case: "; ".join(f"{way.value}: {self.verdicts[way][case]}" for way in Way) for case in cases}
        return "\n".join(f"    {case}  {verdicts}" for case, verdicts in ways.items())

    def settle(self, again: "Comparison") -> None:
        """Take over the cases that are as they must be in another run."""
        for case in again.verdicts[Way.DIRECT]:
            if case not in again.breaches:
                self.flipped.append(case)
                for way in Way:
                    self.verdicts[way] = {**self.verdicts[way], case: again.verdicts[way][case]}


async def compare(
    python: Path, library: Library, role: Role, cases: Sequence[str], jobs: asyncio.Semaphore
) -> Comparison:
    """Run the cases on each way, at most as many ways at a time as there are `jobs`."""
    comparison = await _run_all_ways(python, library, role, cases, jobs)
    for _ in range(RERUNS):
        suspects = comparison.breaches
        if not 0 < len(suspects) <= FEW:
            break
        comparison.settle(await _run_all_ways(python, library, role, suspects, jobs))
    return comparison


async def _run_all_ways(
    python: Path, library: Library, role: Role, cases: Sequence[str], jobs: asyncio.Semaphore
) -> Comparison:
    async def run(way: Way) -> dict[str, Verdict]:
        async with jobs:
            # Each has a folder of its own, or two that start at once would make one CA together.
            with TemporaryDirectory(prefix="conformance-") as confdir:
                return await run_cases(python, library, role, way, cases, Path(confdir))

    async with asyncio.TaskGroup() as group:
        tasks = {way: group.create_task(run(way)) for way in Way}
    return Comparison(library, role, {way: task.result() for way, task in tasks.items()})
