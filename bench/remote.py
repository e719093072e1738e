"""How late, and how much, a client in another process hears: python -m bench.remote"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import websockets
from websockets.asyncio.server import ServerConnection

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.processes import Child, Failure
from bench.proxies import ADDON, BIN, HOST, SCRIPTS
from bench.table import markdown, number

SECONDS = 5.0
LATENCY_RATE, DELIVERY_RATE, DELIVERY_GOAL = 1_000, 25_000, 20_000
"""Messages a second."""
SUBSCRIBERS = {"counting": "", "counting-sync": ", to a listener of the sync API"}
SIZE = 100
"""Bytes of a message."""
TICK = 0.001


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.remote", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    arguments = parser.parse_args()
    later: list[float] = []
    delivered: dict[str, list[float]] = {subscriber: [] for subscriber in SUBSCRIBERS}
    missed = dict.fromkeys(SUBSCRIBERS, 0)
    for _ in range(arguments.rounds):
        inside, outside = await latency()
        later.append(statistics.median(b - a for a, b in zip(inside, outside, strict=True)) / 1e6)
        for subscriber in SUBSCRIBERS:
            count, lost, seconds = await delivery(subscriber)
            delivered[subscriber].append(count / seconds)
            missed[subscriber] += lost
    rows = [
        [
            f"a message at {LATENCY_RATE:,} a second: how much later than a listener of the proxy's own",
            "at most 2 ms",
            f"{statistics.median(later):.2f} ms",
        ],
        *(
            [
                f"messages of {SIZE} bytes at {DELIVERY_RATE:,} a second{whose}: delivered a second",
                f"at least {DELIVERY_GOAL:,}",
                f"{number(statistics.median(delivered[subscriber]))}, {missed[subscriber]:,} missed",
            ]
            for subscriber, whose in SUBSCRIBERS.items()
        ),
    ]
    text = "\n\n".join(
        [
            f"{circumstances('python -m bench.remote')} · medians of {arguments.rounds} rounds",
            markdown(["a client in another process, over TCP", "goal", "measured"], rows),
        ]
    )
    print(text)
    write_section(arguments.output, "remote", text)


async def latency() -> tuple[list[int], list[int]]:
    """Nanoseconds from the server's sending, as the proxy's own listener and as a client has them."""
    said = await _run("latency", LATENCY_RATE)
    inside, outside = (
        list(map(int, _last(lines, "DELAYS").split())) for lines in (said["proxy"], said["client"])
    )
    if len(inside) != len(outside):
        raise Failure(f"of {len(inside):,} messages {len(outside):,} came")
    return inside, outside


async def delivery(subscriber: str) -> tuple[int, int, float]:
    """Messages that a client was told of, those that it missed, and the seconds that they took to be sent."""
    said = await _run(subscriber, DELIVERY_RATE)
    counted, missed = map(int, _last(said["client"], "COUNTED").split())
    return counted, missed, float(said["seconds"][0])


def _last(lines: list[str], word: str) -> str:
    return next(line for line in reversed(lines) if line.startswith(word)).removeprefix(word)


async def _run(subscriber: str, rate: int) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {"XDG_RUNTIME_DIR": folder}
        options = ["--set", f"confdir={folder}", "--set", "ws_remote=127.0.0.1:0"]
        scripts: list[str | Path] = ["-s", ADDON, "-s", SCRIPTS / "delays.py", "-s", SCRIPTS / "say_port.py"]
        if subscriber != "latency":
            del scripts[2:4]
        command: list[str | Path] = [
            BIN / "mitmdump",
            "-q",
            "--listen-host",
            HOST,
            "-p",
            "0",
            *options,
            *scripts,
        ]
        proxy = await Child.start(*command, environment=environment)
        port = await proxy.line("PORT ")
        client = await Child.start(
            sys.executable, "-m", "bench.subscriber", subscriber, environment=environment
        )
        await client.line("READY ")
        seconds = await _flood(f"http://{HOST}:{port}", rate)
        await asyncio.sleep(0.5)  # what is under way arrives
        await client.stop()
        await proxy.stop()
        return {"proxy": proxy.lines, "client": client.lines, "seconds": [str(seconds)]}


async def _flood(proxy: str, rate: int) -> float:
    """Have a server send messages through the proxy at a rate; how long it took."""
    took: list[float] = []

    async def send(connection: ServerConnection) -> None:
        started, sent = time.monotonic(), 0
        while (passed := time.monotonic() - started) < SECONDS:
            while sent < passed * rate:
                await connection.send(f"{time.monotonic_ns():020}{'x' * (SIZE - 20)}")
                sent += 1
            await asyncio.sleep(TICK)
        took.append(time.monotonic() - started)

    async with websockets.serve(send, HOST, 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with websockets.connect(f"ws://{HOST}:{port}", proxy=proxy, compression=None) as app:
            async for _ in app:
                pass
    return took[0]


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])
    asyncio.run(main())
