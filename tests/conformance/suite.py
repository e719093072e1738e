"""The Autobahn test suite itself: its Python 2.7 environment, and its fuzzing server and client."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from conformance.verdicts import Verdict
from support.processes import ROOT, Running, running

PROVIDER = ROOT / ".ci" / "autobahn-python"
FUZZER = Path(__file__).with_name("fuzzer.py2")
NO_PYTHON = 3
"""The provider's exit code on a machine without Python 2.7."""


class NoPython27(Exception):
    """The suite cannot run here. The text says what to do."""


async def find_python() -> Path:
    """The Python 2.7 that has the suite; the first time it is set up, which takes up to a minute."""
    status, printed, complaint = await _output_of(PROVIDER)
    if status == NO_PYTHON:
        raise NoPython27(complaint.strip())
    if status:
        raise RuntimeError(f"{PROVIDER} failed:\n{complaint}")
    return Path(printed.strip())


async def suite_version(python: Path) -> str:
    _, printed, _ = await _output_of(
        python, "-c", "import autobahntestsuite; print autobahntestsuite.version"
    )
    return printed.strip()


class Fuzzer:
    """A running fuzzing server or client of the suite."""

    def __init__(self, run: Running) -> None:
        self._run = run

    async def next(self) -> tuple[str, Verdict]:
        """The next case that is over. Fails if the fuzzer ends before there is one."""
        said = await self.report()
        return said["id"], Verdict(said["behavior"], said["behaviorClose"], said["remoteCloseCode"])

    async def report(self) -> dict[str, Any]:
        """The next thing that it reports."""
        found = await self._run.line(r"^\{.*\}$")
        report: dict[str, Any] = json.loads(found[0])
        return report


@asynccontextmanager
async def fuzzing_server(python: Path) -> AsyncIterator[tuple[Fuzzer, int]]:
    """The suite as a server; it, and its port."""
    async with _fuzzing(python, "server") as fuzzer:
        yield fuzzer, (await fuzzer.report())["port"]


@asynccontextmanager
async def fuzzing_client(python: Path, url: str, cases: Sequence[str]) -> AsyncIterator[Fuzzer]:
    """The suite as a client that runs these cases, in the suite's own order."""
    async with _fuzzing(python, "client", url, ",".join(cases)) as fuzzer:
        yield fuzzer


@asynccontextmanager
async def _fuzzing(python: Path, *arguments: str) -> AsyncIterator[Fuzzer]:
    # -E: what PYTHONPATH says is meant for another Python.
    async with running(python, "-E", "-u", FUZZER, *arguments) as run:
        yield Fuzzer(run)


async def _output_of(*command: str | Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, complaint = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode(), complaint.decode()
