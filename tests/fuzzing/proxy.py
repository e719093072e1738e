"""A `wirewright run` of its own, whose output goes to a file."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.processes import BIN, ROOT
from support.time_limits import STEP_SECONDS

STUBBORN_SECONDS = 30.0
"""A proxy that runs on so long after Ctrl-C is killed."""


class ProxyProcess:
    """A proxy in a process, and how it ended."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path, port: int) -> None:
        self._process = process
        self._output = output
        self.port = port
        self.ignored_ctrl_c = False
        self.memory = 0
        """Bytes: its largest resident size, once it was stopped."""

    @property
    def status(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    def output(self) -> str:
        """All that it printed."""
        return self._output.read_text(errors="replace")

    async def stop(self) -> None:
        """End it by Ctrl-C, or by force if that does not work."""
        if self.status is not None:
            return
        self.memory = _largest_memory(self._process.pid)
        self._process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(self._process.wait(), STUBBORN_SECONDS)
        except TimeoutError:
            self.ignored_ctrl_c = True
            self._process.kill()
            await self._process.wait()


def _largest_memory(process: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) * 1024 if found else 0


@asynccontextmanager
async def proxy(folder: Path, name: str, *arguments: str | Path) -> AsyncIterator[ProxyProcess]:
    """A proxy on a free port of loopback, with its configuration and its output in a folder."""
    listen = ("--listen-host", "127.0.0.1", "-p", "0", "--set", f"confdir={folder / 'confdir'}")
    with (output := folder / f"{name}.log").open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            BIN / "wirewright",
            "run",
            *listen,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"},
        )
    running = ProxyProcess(process, output, 0)
    try:
        async with asyncio.timeout(STEP_SECONDS):
            while (found := re.search(r"listening on \S*:(\d+)", running.output())) is None:
                assert running.status is None, running.output()
                await asyncio.sleep(0.05)
        running.port = int(found[1])
        yield running
    finally:
        await running.stop()
