"""Processes that the benchmark starts, speaks with and ends."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SPARE = 30.0
"""Seconds that an end may take beyond the limit that it was given, before it counts as stuck."""
SERVER_NAME = "localhost"
"""By a name and not by its address: some proxies make certificates for names only."""
LONGEST_LINE = 16 * 1024 * 1024


class Failure(Exception):
    """A carrier or an end that did not do what it should; its text goes into the report."""


class Child:
    """A process whose output is read line by line, both streams as one."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    @classmethod
    async def start(cls, *command: str | Path, environment: Mapping[str, str] | None = None) -> "Child":
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            limit=LONGEST_LINE,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def line(self, start: str, limit: float = SPARE) -> str:
        """What follows `start` on the next line that begins so."""
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit):
                while raw := await self._process.stdout.readline():
                    self.lines.append(raw.decode(errors="replace").rstrip())
                    if self.lines[-1].startswith(start):
                        return self.lines[-1].removeprefix(start)
        except TimeoutError:
            raise Failure(f"it said nothing for {limit:.0f} s") from None
        raise Failure("it ended: " + (self.lines[-1] if self.lines else "it said nothing"))

    async def ask(self, request: Mapping[str, Any], limit: float) -> dict[str, Any]:
        """Give it a request in JSON, and wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads("{" + await self.line("{", limit))
        return answer

    async def stop(self, limit: float = 10.0) -> None:
        """End it as a service manager would, or by force; `lines` then has all that it said."""
        if self.alive:
            self._process.terminate()
        try:
            async with asyncio.timeout(limit):
                rest, _ = await self._process.communicate()
        except TimeoutError:
            self._process.kill()
            rest, _ = await self._process.communicate()
        self.lines += rest.decode(errors="replace").splitlines()

    def kill(self) -> None:
        if self.alive:
            self._process.kill()


class Ends:
    """The server and the client of all measurements."""

    def __init__(self, server: Child, ports: Mapping[str, int]) -> None:
        self._server = server
        self._ports = ports
        self._client: Child | None = None

    @classmethod
    async def start(cls, certificate: Path) -> "Ends":
        server = await _start_end("server", certificate)
        return cls(server, json.loads("{" + await server.line("{")))

    def port(self, scheme: str) -> int:
        return self._ports[scheme]

    def url(self, scheme: str) -> str:
        return f"{scheme}://{SERVER_NAME}:{self._ports[scheme]}/live"

    async def client(self, request: str, limit: float, **arguments: Any) -> dict[str, Any]:
        """Have the client do something within so many seconds. Raises Failure where it cannot."""
        if self._client is None or not self._client.alive:
            self._client = await _start_end("client")
        try:
            answer = await self._client.ask({"request": request, "limit": limit, **arguments}, limit + SPARE)
        except Failure:
            await self._client.stop(limit=0.1)
            raise
        if error := answer.get("error"):
            raise Failure(error)
        return answer

    async def sent(self) -> int:
        """How many messages the server has sent on its newest socket."""
        return int((await self._server.ask({}, SPARE))["sent"])

    async def stop(self) -> None:
        for child in (self._client, self._server):
            if child is not None:
                await child.stop()


async def _start_end(role: str, *arguments: str | Path) -> Child:
    return await Child.start(sys.executable, "-m", "bench.endpoints", role, *arguments)
