"""The forked `wirewright` of these tests does what the installed one does."""

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest

from support.forked_programs import WIREWRIGHT
from support.leftovers import assert_free
from support.processes import BIN, running
from support.time_limits import STEP_SECONDS

pytestmark = pytest.mark.once("it concerns the tests alone")


@pytest.mark.parametrize("arguments", ["--version", "send", "nonsense", "show missing.db"])
def test_it_prints_the_same_and_ends_the_same(arguments: str, tmp_path: Path) -> None:
    def run(program: Path) -> tuple[int, str, str]:
        command: list[str | Path] = [program, *arguments.split()]
        ran = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, timeout=STEP_SECONDS, check=False
        )
        return ran.returncode, ran.stdout, ran.stderr

    assert run(WIREWRIGHT) == run(BIN / "wirewright")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)])
async def test_its_signals_are_handed_on(confdir: Path, number: signal.Signals, code: int) -> None:
    async with running(WIREWRIGHT, "run", "-p", "0", "--set", f"confdir={confdir}") as run:
        port = int((await run.line(r"listening on \S*:(\d+)"))[1])
        await run.line("Stop")
        run.process.send_signal(number)
        await run.rest()  # the streams are closed with the program
        assert await asyncio.wait_for(run.process.wait(), STEP_SECONDS) == code
    assert_free(port)
