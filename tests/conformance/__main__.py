"""Run the Autobahn suite, write docs/conformance.md, and fail if the proxy makes a difference."""

import argparse
import asyncio
import os
import platform
import sys
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path

from conformance.cases import ALL, SAMPLE
from conformance.compare import Comparison, compare
from conformance.endpoints import LIBRARIES, Library
from conformance.proxy import Way
from conformance.report import summarize, write_page
from conformance.runs import Role
from conformance.suite import NoPython27, find_python, suite_version
from support.processes import ROOT

PAGE = ROOT / "docs" / "conformance.md"
LIMIT = 90 * 60
"""Seconds for all of it."""


async def judge(python: Path, cases: Sequence[str], jobs: int) -> list[Comparison]:
    """Every library in each role."""
    places = asyncio.Semaphore(jobs)

    async def judge_one(library: Library, role: Role) -> Comparison:
        comparison = await compare(python, library, role, cases, places)
        for way in Way:
            print(f"{comparison.name}, {way.value}: {summarize(comparison.verdicts[way])}", flush=True)
        if comparison.breaches:
            print(comparison.describe(comparison.breaches), flush=True)
        return comparison

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(judge_one(library, role)) for library in LIBRARIES for role in Role]
    return [task.result() for task in tasks]


async def main(arguments: argparse.Namespace) -> int:
    wanted = SAMPLE if arguments.sample else ALL
    cases = tuple(case for case in wanted if fnmatch(case, arguments.cases))
    try:
        python = await find_python()
    except NoPython27 as missing:
        print(missing, file=sys.stderr)
        return 2
    async with asyncio.timeout(LIMIT):
        comparisons = await judge(python, cases, arguments.jobs)
    if cases == ALL:
        versions = {
            "Python": platform.python_version(),
            "Autobahn test suite": await suite_version(python),
            **{name: version(name) for name in ("mitmproxy", *(library.name for library in LIBRARIES))},
        }
        PAGE.write_text(write_page(comparisons, versions, date.today().isoformat()))
        print(f"Written: {PAGE.relative_to(ROOT)}")
    return 1 if any(comparison.breaches for comparison in comparisons) else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="60 cases instead of all, and no page")
    parser.add_argument(
        "--cases", default="*", metavar="PATTERN", help="such as `6.4.*`: these only, and no page"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many runs at a time")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(parse_arguments())))
    except KeyboardInterrupt:
        sys.exit(130)
