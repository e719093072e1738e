"""Whether the memory of a proxy grows under an even load: python -m bench.soak --minutes 15

The proxy is `wirewright run` with its timeline, a capture that rotates, a route of its own, and a client in
another process that follows all sockets and routes some of them. The sockets live for some seconds, exchange
a few messages a second, and end in each way that there is; as many are open at each moment.
"""

import argparse
import asyncio
import json
import os
import random
import ssl
import statistics
import sys
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
import websockets
from websockets.asyncio.server import ServerConnection

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.processes import Child, Failure
from bench.proxies import BIN, HOST, SCRIPTS
from bench.table import markdown
from wirewright import Proxy, WebSocket, WebSocketRoute
from wirewright.async_api import connect

MIB, KIB = 1 << 20, 1 << 10
PATHS = ("/plain", "/held", "/remote")
"""Untouched, routed by the proxy's own script, routed by the client in another process."""
ENDS = ("client", "server", "cut")
LIFE = (5.0, 65.0)
"""Seconds that a socket is open."""
SIZES = (10, 2_000)
"""Bytes of a message."""
WARM_UP = 0.2
"""The part of the time that is left out: caches fill, and the sockets' ages become even."""
BLOCKS = 12
"""The samples are averaged in so many blocks: single ones that follow each other are alike."""
CONFIDENCE = 0.95
RESIDENT_GOAL = 150 * MIB
AT_REST = 20.0
"""Seconds after the end of the last socket until the resident size counts."""
LATEST = 60.0
"""Seconds that a sample, a handshake or the last answer may take on a loaded machine."""


@dataclass
class Slope:
    """How fast a value grows."""

    each_hour: float
    """Bytes."""
    error: float
    """Half the width of its confidence interval."""

    @property
    def differs_from_0(self) -> bool:
        return abs(self.each_hour) > self.error

    def __str__(self) -> str:
        return f"{self.each_hour / MIB:+.2f} ± {self.error / MIB:.2f} MiB an hour"


def fit(samples: Sequence[dict[str, Any]], name: str) -> Slope:
    """The slope of a value over time, by least squares, for an even number of sockets.

    As many sockets are asked for at each moment, but a few more or fewer are open. So the value is taken as
    linear in the time and in the number of sockets (the theorem of Frisch, Waugh and Lovell).
    """
    sockets = averaged(samples, "sockets")
    times, values = (unexplained(averaged(samples, each), sockets) for each in ("at", name))
    slope = statistics.linear_regression(times, values, proportional=True).slope
    freedom = BLOCKS - 3
    rest = sum((value - slope * time) ** 2 for time, value in zip(times, values, strict=True))
    error = (rest / freedom / sum(time**2 for time in times)) ** 0.5
    return Slope(slope * 3600, quantile(freedom) * error * 3600)


def unexplained(values: Sequence[float], cause: Sequence[float]) -> list[float]:
    """The part of values that is not linear in their cause."""
    line = statistics.linear_regression(cause, values)
    return [value - line.slope * x - line.intercept for x, value in zip(cause, values, strict=True)]


def quantile(freedom: int) -> float:
    """Student's t for the two-sided confidence, by its expansion from the normal distribution."""
    z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def averaged(samples: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The means of a value in blocks of samples."""
    size = len(samples) / BLOCKS
    blocks = [samples[round(number * size) : round((number + 1) * size)] for number in range(BLOCKS)]
    return [statistics.fmean(each[name] for each in block) for block in blocks]


@dataclass
class Load:
    """Sockets that come and go, and the server at their other end."""

    proxy: str
    urls: Sequence[str]
    tls: ssl.SSLContext
    rate: float
    """Messages of each socket in a second."""
    sockets: int = 0
    messages: int = 0
    wrong: int = 0
    """Answers that were not the expected ones."""
    failures: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def keep_open(self, number: int) -> None:
        """One socket after another."""
        dice = random.Random(number)
        await asyncio.sleep(dice.uniform(0, LIFE[1]))
        while not self.is_over:
            try:
                await self._one(dice)
            except (OSError, EOFError, TimeoutError, websockets.WebSocketException) as error:
                self.failures[f"{type(error).__name__}: {error}"] += 1
                await asyncio.sleep(1)

    async def _one(self, dice: random.Random) -> None:
        url = dice.choice(self.urls) + dice.choice(PATHS)
        options: dict[str, Any] = {"open_timeout": LATEST, "ping_interval": None}
        if url.startswith("wss"):
            options["ssl"] = self.tls
        until = asyncio.get_running_loop().time() + dice.uniform(*LIFE)
        async with websockets.connect(url, proxy=self.proxy, **options) as socket:
            self.sockets += 1
            expected: deque[str | bytes] = deque()
            reading = asyncio.ensure_future(self._read(socket, expected))
            try:
                while not self.is_over and asyncio.get_running_loop().time() < until:
                    message = _message(dice)
                    expected.append(message)
                    await socket.send(message)
                    await asyncio.sleep(dice.expovariate(self.rate))
                await self._end(socket, dice.choice(ENDS), expected)
            finally:
                reading.cancel()

    async def _read(self, socket: websockets.ClientConnection, expected: deque[str | bytes]) -> None:
        with suppress(websockets.ConnectionClosed):
            async for message in socket:
                self.messages += 1
                self.wrong += not expected or expected.popleft() != message

    async def _end(self, socket: websockets.ClientConnection, end: str, expected: deque[str | bytes]) -> None:
        async with asyncio.timeout(LATEST):
            while expected:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            if end == "server":
                await socket.send("close")
                await socket.wait_closed()
        if end == "cut":
            socket.transport.abort()


def _message(dice: random.Random) -> str | bytes:
    text = json.dumps({"token": dice.randbytes(8).hex(), "text": "x" * dice.randint(*SIZES)})
    return text if dice.random() < 0.8 else text.encode()


async def echo(socket: ServerConnection) -> None:
    with suppress(websockets.ConnectionClosed):
        async for message in socket:
            if message == "close":
                await socket.close(4000, "as it was asked")
            else:
                await socket.send(message)


@asynccontextmanager
async def services(ca: trustme.CA) -> AsyncIterator[list[str]]:
    """The URLs of two servers, one with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    async with (
        websockets.serve(echo, HOST, 0, open_timeout=LATEST, ping_interval=None) as plain,
        websockets.serve(echo, HOST, 0, open_timeout=LATEST, ping_interval=None, ssl=context) as secure,
    ):
        ports = [next(iter(server.sockets)).getsockname()[1] for server in (plain, secure)]
        yield [f"ws://localhost:{ports[0]}", f"wss://localhost:{ports[1]}"]


@asynccontextmanager
async def following() -> AsyncIterator[Counter[str]]:
    """A client of the remote API: all messages of all sockets, and a route."""
    heard: Counter[str] = Counter()

    def watch(ws: WebSocket) -> None:
        ws.on("framesent", lambda _: heard.update(["sent"]))
        ws.on("framereceived", lambda _: heard.update(["received"]))
        ws.on("close", lambda _: heard.update(["closed"]))
        ws.on("missed", lambda count: heard.update({"missed": count}))

    def hand_on(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(server.send)

    async with connect(route_timeout=1000 * LATEST) as proxy:
        remote: Proxy = proxy
        remote.on("websocket", watch)
        await remote.route_web_socket("**/remote", hand_on)
        yield heard


async def sampled(child: Child) -> dict[str, Any]:
    """The proxy's next sample."""
    sample: dict[str, Any] = json.loads(await child.line("MEMORY ", LATEST))
    child.lines.clear()
    return sample


async def soak(minutes: float, sockets: int, rate: float, folder: Path) -> tuple[list[dict[str, Any]], Load]:
    """Samples of the load, and at last those of the proxy at rest."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "servers-ca.pem"))
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    options = [f"confdir={folder}", f"ssl_verify_upstream_trusted_ca={folder / 'servers-ca.pem'}"]
    command: list[str | Path] = [BIN / "wirewright", "run", "--listen-host", HOST, "-p", "0"]
    command += ["--capture", folder / "soak.db", "--max-size", "100m", "--rotate", "2"]
    command += ["--remote", f"{HOST}:0", "-s", SCRIPTS / "live_memory.py", "-s", SCRIPTS / "say_port.py"]
    command += [word for option in options for word in ("--set", option)]
    child = await Child.start(*command)
    try:
        port = await child.line("PORT ")
        samples = [await sampled(child)]
        tls = ssl.create_default_context(cafile=str(folder / "mitmproxy-ca-cert.pem"))
        async with services(ca) as urls:
            load = Load(f"http://{HOST}:{port}", urls, tls, rate)
            async with following() as heard:
                tasks = [asyncio.ensure_future(load.keep_open(number)) for number in range(sockets)]
                end = samples[0]["at"] + 60 * minutes
                while samples[-1]["at"] < end:
                    samples.append(await sampled(child))
                    _show(samples[-1], load, heard)
                load.is_over = True
                await asyncio.gather(*tasks)
        rest = await sampled(child)
        last_open = rest["at"]
        while rest["at"] < last_open + AT_REST:
            rest = await sampled(child)
            last_open = rest["at"] if rest["sockets"] else last_open
            _show(rest, load, heard)
        return [*samples, rest], load
    finally:
        await child.stop()


def _show(sample: dict[str, Any], load: Load, heard: Counter[str]) -> None:
    print(
        f"{sample['sockets']:5} open  live {sample['live'] / MIB:7.2f} MiB  "
        f"resident {sample['resident'] / MIB:7.2f} MiB  {sample['objects']:,} objects  "
        f"{load.sockets:,} sockets, {load.messages:,} messages, {load.wrong} wrong, "
        f"{sum(load.failures.values())} failed; heard {dict(heard)}",
        file=sys.stderr,
        flush=True,
    )


def report(samples: Sequence[dict[str, Any]], load: Load, minutes: float) -> tuple[str, bool]:
    """The table, and whether the goals are met."""
    *loaded, rest = samples
    even = loaded[int(len(loaded) * WARM_UP) :]
    live, resident = fit(even, "live"), fit(even, "resident")
    rows = [
        ["live objects, slope", "does not differ from 0", str(live)],
        ["live objects, at the beginning and the end", "", _from_to(even, "live")],
        ["resident size, slope", "", str(resident)],
        ["resident size, at the beginning and the end", "", _from_to(even, "resident")],
        ["resident size at rest", f"under {RESIDENT_GOAL // MIB} MiB", f"{rest['resident'] / MIB:.0f} MiB"],
        ["answers that were wrong, sockets that failed", "0", f"{load.wrong}, {load.failures.total()}"],
    ]
    sockets = statistics.fmean(each["sockets"] for each in even)
    in_all = f"{load.sockets:,} in all, {load.messages:,} answers"
    title = f"{minutes:g} minutes, {sockets:.0f} sockets open ({in_all})"
    is_met = not (live.differs_from_0 or rest["resident"] > RESIDENT_GOAL or load.wrong or load.failures)
    return markdown([title, "goal", "measured"], rows), is_met


def _from_to(samples: Sequence[dict[str, Any]], name: str) -> str:
    values = averaged(samples, name)
    return f"{values[0] / MIB:.1f} and {values[-1] / MIB:.1f} MiB"


def grown(samples: Sequence[dict[str, Any]]) -> list[str]:
    """Types whose objects became more, those with the most first: where a slope comes from."""
    even = samples[int(len(samples) * WARM_UP) : -1]
    third = max(len(even) // 3, 1)
    first, last = even[:third], even[-third:]
    names = {name for sample in even for name in sample["types"]}
    more = {name: _mean(last, name) - _mean(first, name) for name in names}
    return [
        f"{count:+10,.0f}  {name}" for name, count in sorted(more.items(), key=lambda each: -each[1])[:12]
    ]


def _mean(samples: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.fmean(sample["types"].get(name, 0) for sample in samples)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--sockets", type=int, default=300, help="how many are open at each moment")
    parser.add_argument("--rate", type=float, default=2.0, help="messages of each socket in a second")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    parser.add_argument("--samples", type=Path, help="a file for all samples, as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples, load = await soak(arguments.minutes, arguments.sockets, arguments.rate, Path(folder))
    if arguments.samples:
        arguments.samples.write_text(json.dumps(samples))
    table, is_met = report(samples, load, arguments.minutes)
    command = f"python -m bench.soak --minutes {arguments.minutes:g} --sockets {arguments.sockets}"
    text = f"{circumstances(command)}\n\n{table}"
    print(text)
    write_section(arguments.output, "soak", text)
    print("objects that became more:", *grown(samples), *map(str, load.failures.most_common(5)), sep="\n")
    if not is_met:
        raise Failure("a goal is not met")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Failure as failure:
        sys.exit(str(failure))
