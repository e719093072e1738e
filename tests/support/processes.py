"""Commands as a user starts them, ended with the test."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.forked_programs import MITMDUMP
from support.time_limits import STEP_SECONDS

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
INSTALLED_MITMDUMP = BIN / "mitmdump"
"""The program itself, and not one that is forked."""
ADDON = ROOT / "addon" / "wirewright" / "addon.py"


class Running:
    """A process whose output is read line by line, both streams as one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, pattern: str) -> re.Match[str]:
        """The next line in which `pattern` is found. Fails with all that was printed if it never comes."""
        assert self.process.stdout is not None
        while raw := await self.process.stdout.readline():
            self.lines.append(raw.decode(errors="replace").rstrip("\n"))
            if found := re.search(pattern, self.lines[-1]):
                return found
        raise AssertionError(f"the process ended without a line like {pattern!r}:\n" + "\n".join(self.lines))

    async def rest(self) -> str:
        """All that it printed, once it has ended by itself."""
        assert self.process.stdout is not None
        async for raw in self.process.stdout:
            self.lines.append(raw.decode(errors="replace").rstrip("\n"))
        await self.process.wait()
        return "\n".join(self.lines)

    async def stop(self) -> None:
        """End it as Ctrl-C would, or by force if that does not work."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(STEP_SECONDS):
                    await self.rest()
            except TimeoutError:
                self.process.kill()
                await self.rest()
                raise AssertionError("Ctrl-C did not end it:\n" + "\n".join(self.lines)) from None


@asynccontextmanager
async def running(*command: str | Path, cwd: Path = ROOT, **environment: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        limit=16 * 1024 * 1024,
    )
    run = Running(process)
    try:
        yield run
    finally:
        await run.stop()


@asynccontextmanager
async def mitmdump(
    *arguments: str | Path, confdir: Path, program: Path = MITMDUMP, **environment: str
) -> AsyncIterator[tuple[Running, int]]:
    """A mitmdump with our addon as a script; it, and the port that it listens on.

    `program` may be INSTALLED_MITMDUMP, which starts more slowly.
    """
    command = (program, "--set", f"confdir={confdir}", "--listen-host", "127.0.0.1", "-p", "0")
    async with running(*command, "-s", ADDON, *arguments, cwd=ROOT, **environment) as run:
        found = await run.line(r"listening at .*?:(\d+)")
        yield run, int(found[1])
