"""Hostile apps and servers at both sides of a proxy that records, routes and serves a remote client."""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzzing import handshakes, streams
from fuzzing.findings import Finding, Findings
from fuzzing.probe import LIMIT_SECONDS, RoundTrips
from fuzzing.proxy import ProxyProcess, proxy
from support.processes import ROOT
from wirewright import WebSocket
from wirewright.async_api import connect
from wirewright.capture import CaptureError
from wirewright.capture import open as open_capture

ROUTES = Path(__file__).with_name("routes.py")
PATHS = ("pass", "held", "held-async", "slow", "mocked", "endless")
AT_ONCE = 3
"""Hostile sockets."""
CASE_SECONDS = 20.0
"""A case that is not over by then is cut off."""
MAX_MEMORY = 1536 * streams.MIB
"""Bytes of the proxy, its largest resident size."""
DEFLATE = "permessage-deflate"


@dataclass(frozen=True)
class Case:
    """One hostile socket."""

    number: int
    path: str
    is_app_hostile: bool
    stream: streams.Stream
    request: handshakes.Heads
    deflate: bool
    seed: int

    def __str__(self) -> str:
        who = "app" if self.is_app_hostile else "server"
        deflate = ", deflate" if self.deflate else ""
        name = getattr(self.stream, "__name__", "")
        request = "" if self.request is handshakes.good else f", handshake {self.request.__name__}"
        return f"case {self.number} (seed {self.seed}): {name} of the {who}, /{self.path}{deflate}{request}"


def plan(number: int, seed: int) -> Case:
    """The case of a number: the same for the same seed."""
    own = hash((seed, number)) & 0xFFFFFFFF
    random = Random(own)
    return Case(
        number,
        random.choice(PATHS),
        random.random() < 0.5,
        random.choice(streams.STREAMS),
        random.choice(handshakes.REQUESTS),
        random.random() < 0.5,
        own,
    )


class Attacker:
    """Both ends of the hostile sockets."""

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Attacker"]:
        """Its server, on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield self

    async def attack(self, case: Case, port: int) -> None:
        """Open the socket of a case, say everything, and leave."""
        self._cases[str(case.number)] = case
        random = Random(case.seed + 1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            authority = f"127.0.0.1:{self.port}"
            writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            extensions = DEFLATE if case.deflate else ""
            target = f"/{case.path}?case={case.number}"
            writer.write(case.request(random, target, authority, extensions))
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 101"):
                is_compressed = DEFLATE.encode() in head
                await self._talk(case, random, reader, writer, is_app=True, deflate=is_compressed)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            async with asyncio.timeout(CASE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                if (found := re.search(rb"case=(\d+)", head)) is None:
                    return
                case = self._cases[found[1].decode()]
                random = Random(case.seed + 2)
                extensions = DEFLATE if DEFLATE.encode() in head else ""
                writer.write(handshakes.answer(random, extensions))
                await self._talk(case, random, reader, writer, is_app=False, deflate=bool(extensions))
        writer.close()

    async def _talk(
        self,
        case: Case,
        random: Random,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        is_app: bool,
        deflate: bool,
    ) -> None:
        stream = case.stream if is_app is case.is_app_hostile else streams.talk
        peer = streams.peer(random, client=is_app, deflate=deflate)
        data = await asyncio.to_thread(stream, random, peer)
        reading = asyncio.ensure_future(_read_all(reader))
        try:
            for start in range(0, len(data), 64 * streams.KIB):
                writer.write(data[start : start + 64 * streams.KIB])
                await writer.drain()
            if random.random() < 0.5:
                writer.write(peer.frame(8, (1000).to_bytes(2, "big")))
            # Half of the ends wait for the other one.
            await asyncio.wait([reading], timeout=random.choice([0.05, 3.0]))
        finally:
            reading.cancel()


async def _read_all(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(1 << 16):
            pass


class TrafficFuzzer:
    """Attacks one proxy while another client measures its round trips."""

    def __init__(self, folder: Path, findings: Findings, seed: int) -> None:
        self._folder, self._findings, self._seed = folder, findings, seed
        self.cases = 0
        self.memory = 0
        self.round_trips: RoundTrips | None = None
        self._told: dict[int, str] = {}
        """When each case began, in ms since the epoch, and which it was."""

    async def run(self, seconds: float) -> None:
        """Attack until the time is up, and stop the proxy by Ctrl-C."""
        capture = self._folder / "session.db"
        remote = f"unix:{self._folder / 'ww.sock'}"
        async with (
            proxy(self._folder, "idle") as idle,
            proxy(
                self._folder, "attacked", "-s", ROUTES, "--capture", capture, "--remote", remote
            ) as attacked,
        ):
            async with Attacker().listening() as attacker, connect() as client:
                client.on("websocket", _follow)
                probe = await _start_probe(attacked, idle)
                await self._attack(attacker, attacked, time.monotonic() + seconds)
                self.round_trips = await _end_probe(probe)
            await attacked.stop()
        self._judge(attacked, capture)

    async def _attack(self, attacker: Attacker, attacked: ProxyProcess, until: float) -> None:
        async def one_after_another() -> None:
            while time.monotonic() < until and attacked.status is None:
                self.cases += 1
                case = plan(self.cases, self._seed)
                self._told[int(time.time() * 1000)] = str(case)
                with suppress(OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
                    async with asyncio.timeout(CASE_SECONDS):
                        await attacker.attack(case, attacked.port)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(one_after_another())

    def _judge(self, attacked: ProxyProcess, capture: Path) -> None:
        """Hold what happened against the promises."""
        text = attacked.output()
        self.memory = attacked.memory
        if "Traceback (most recent call last)" in text or "has crashed" in text:
            at = text.find("Traceback (most recent call last)")
            self._add("the proxy printed a traceback", text[max(0, at - 500) : at + 3000])
        if attacked.ignored_ctrl_c:
            self._add("Ctrl-C did not end the proxy", text[-3000:])
        elif attacked.status not in (0, 130):
            self._add(f"the proxy ended with {attacked.status}", text[-3000:])
        if controls := set(re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)):
            self._add(f"the timeline printed {', '.join(map(ascii, sorted(controls)))}", "")
        if self.memory > MAX_MEMORY:
            self._add(f"the proxy took {self.memory / streams.MIB:,.0f} MiB", "")
        trips = self.round_trips
        if trips is None:
            self._add("the probe's connection through the proxy was lost", "")
        elif trips.late:
            began = [self._case_at(at) for at in trips.late[:10]]
            limit = f"{1000 * LIMIT_SECONDS:.0f} ms"
            self._add(f"{len(trips.late)} round trips took longer than {limit}", "\n".join(began))
        self._judge_capture(capture)

    def _judge_capture(self, capture: Path) -> None:
        try:
            with open_capture(capture) as opened:
                sockets = list(opened.sockets())
        except CaptureError as error:
            self._add("the capture cannot be read", str(error), capture)
            return
        if unclosed := [socket for socket in sockets if socket.closed_ns is None]:
            broken = f"{len(unclosed)} of {len(sockets)} sockets have no end in the capture"
            self._add(broken, str(unclosed[0]), capture)

    def _case_at(self, at: float) -> str:
        """The cases that were under way at a moment."""
        begun = [told for moment, told in sorted(self._told.items()) if moment <= at * 1000]
        return " | ".join(begun[-AT_ONCE:])

    def _add(self, broken: str, details: str, *files: Path) -> None:
        kept = [self._folder / "attacked.log", *files]
        self._findings.add(Finding(f"traffic, seed {self._seed}", broken, details), kept)


def _follow(ws: WebSocket) -> None:
    """A remote client that hears every frame."""
    ws.on("framesent", lambda payload: None)
    ws.on("framereceived", lambda payload: None)


async def _start_probe(attacked: ProxyProcess, idle: ProxyProcess) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "fuzzing.probe", str(attacked.port), str(idle.port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
    )


async def _end_probe(probe: asyncio.subprocess.Process) -> RoundTrips | None:
    output, _ = await probe.communicate()  # the end of its input ends it
    return RoundTrips(**json.loads(output)) if probe.returncode == 0 else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzzing.traffic", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, required=True, metavar="FOLDER")
    arguments = parser.parse_args()
    findings = Findings(arguments.findings)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder  # where the remote client looks for the proxy
        fuzzer = TrafficFuzzer(Path(folder), findings, arguments.seed)
        asyncio.run(fuzzer.run(arguments.seconds))
    trips = fuzzer.round_trips
    told = f"median {trips.median:.1f}, worst {trips.worst:.0f} ms" if trips else "lost"
    print(
        f"traffic: {fuzzer.cases:,} sockets, {fuzzer.memory / streams.MIB:,.0f} MiB at most, "
        f"another client's round trip: {told}; {len(findings.all)} findings",
        flush=True,
    )
    return 1 if findings.all else 0


if __name__ == "__main__":
    sys.exit(main())
