"""The memory of a proxy whose handler lets a flood wait: python -m bench.back_pressure

A server sends messages of 16 KB as fast as it can, and a handler lets them wait. Meanwhile another app
measures its round trips to a server that echoes. Then the handler goes on, and the app counts what arrives.
"""

import argparse
import asyncio
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import websockets
from websockets.asyncio.server import ServerConnection

from bench import process_figures
from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.memory_measures import INTERVAL, MIB
from bench.processes import Child
from bench.proxies import ADDON, HOST, SCRIPTS, Mitmdump, Workplace
from bench.table import markdown

SIZE = 16_000
MEMORY_GOAL = 32
"""Mebibytes by which a proxy may grow."""
ROUND_TRIP_GOAL = 100
"""Milliseconds."""
BARE_SECONDS = 2.0
"""mitmdump, which buffers without limit, is not flooded for longer."""
ROUND_TRIP_LIMIT = 20.0
"""Seconds after which a round trip is given up."""
HEADER = struct.Struct("!BBHQ")
"""Of a server's binary message in one frame (RFC 6455, 5.2), and the number with which its payload begins."""


@dataclass
class Outcome:
    """Of one flood."""

    seconds: float
    sent: int
    """Messages."""
    lost: int
    growth: int
    """Bytes, at most."""
    round_trips: list[float]
    """Milliseconds."""

    @property
    def cells(self) -> list[str]:
        trips = self.round_trips
        return [
            f"{self.seconds:.0f} s",
            f"{self.sent * SIZE / MIB:,.0f} MiB",
            f"{self.growth / MIB:,.0f} MiB",
            f"{statistics.median(trips):.1f} ms, {max(trips):,.0f} ms",
            f"{self.lost:,}",
        ]


async def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.back_pressure",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the handler lets messages wait")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    parser.add_argument("--flood", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.flood:
        await flood(arguments.flood)
        return
    rows = []
    bare = min(arguments.seconds, BARE_SECONDS)
    for title, scripts, seconds in (("mitmdump", (), bare), ("Wirewright", (ADDON,), arguments.seconds)):
        environment = {"HOLD_SECONDS": str(seconds)}
        carrier = Mitmdump(title, title, (*scripts, SCRIPTS / "waiting.py"), environment=environment)
        rows.append([title, *(await measured(carrier, seconds)).cells])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    goals = ["goal", "", "", f"at most {MEMORY_GOAL} MiB", f"at most {ROUND_TRIP_GOAL} ms", "0"]
    titles = [
        "",
        "messages wait for",
        "sent until the end",
        "memory grows by",
        "round trip: median, worst",
        "lost",
    ]
    table = markdown(titles, [*rows, goals])
    text = f"{circumstances('python -m bench.back_pressure')}\n\n{table}"
    print(text)
    write_section(arguments.output, "backpressure", text)


async def measured(carrier: Mitmdump, seconds: float) -> Outcome:
    """What a flood of so many seconds does to a carrier."""
    with tempfile.TemporaryDirectory() as folder:
        route = await carrier.start(Workplace.prepare(Path(folder)))
        server = await Child.start(sys.executable, "-m", "bench.back_pressure", "--flood", str(seconds))
        try:
            url = f"ws://{HOST}:{await server.line('PORT ')}/held"
            assert route.proxy is not None
            async with echoing(route.proxy) as other:
                before = process_figures.resident(route.pid)
                async with connected(url, route.proxy) as app:
                    receiving = asyncio.ensure_future(received(app))
                    watching = asyncio.ensure_future(growth_until(receiving, route.pid, before))
                    trips = await round_trips(other, receiving)
                    sent, lost = await receiving
                    return Outcome(seconds, sent, lost, await watching, trips)
        finally:
            await server.stop(limit=0.1)
            await route.stop()


@asynccontextmanager
async def connected(url: str, proxy: str) -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(
        url, proxy=proxy, compression=None, ping_interval=None, close_timeout=1.0, max_size=None
    ) as app:
        yield app


@asynccontextmanager
async def echoing(proxy: str) -> AsyncIterator[websockets.ClientConnection]:
    """An app whose server echoes."""

    async def echo(connection: ServerConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with websockets.serve(echo, HOST, 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with connected(f"ws://{HOST}:{port}/", proxy) as app:
            yield app


async def received(app: websockets.ClientConnection) -> tuple[int, int]:
    """How many messages were sent, and how many of these were lost or came out of order."""
    expected = lost = 0
    async for message in app:
        if isinstance(message, str):  # the number of all messages
            return int(message), lost + int(message) - expected
        (number,) = struct.unpack_from("!Q", message)
        lost += abs(number - expected)
        expected = number + 1
    return expected, -1


async def growth_until(receiving: "asyncio.Future[tuple[int, int]]", pid: int, before: int) -> int:
    """By how many bytes a process grows at most."""
    most = 0
    while not receiving.done():
        most = max(most, process_figures.resident(pid) - before)
        await asyncio.sleep(INTERVAL)
    return most


async def round_trips(
    app: websockets.ClientConnection, receiving: "asyncio.Future[tuple[int, int]]"
) -> list[float]:
    """Milliseconds of one after another."""
    trips = []
    while not receiving.done():
        started = time.perf_counter()
        await app.send("there and back")
        async with asyncio.timeout(ROUND_TRIP_LIMIT):
            await app.recv()
        trips.append((time.perf_counter() - started) * 1e3)
        await asyncio.sleep(0.005)
    return trips


async def flood(seconds: float) -> None:
    """Serve one socket: numbered messages for so many seconds, and then a text with their number."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept(key) + b"\r\n\r\n"
        )
        rest, number, until = bytes(SIZE - 8), 0, time.monotonic() + seconds
        while time.monotonic() < until:
            writer.write(HEADER.pack(0x82, 126, SIZE, number) + rest)
            number += 1
            with suppress(TimeoutError):
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + until - time.monotonic()):
                    await writer.drain()
        count = str(number).encode()
        writer.write(bytes([0x81, len(count)]) + count)
        await writer.drain()
        await reader.read()
        over.set()

    server = await asyncio.start_server(serve, HOST, 0)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await over.wait()


def accept(key: bytes) -> bytes:
    """The answer to a handshake's key (RFC 6455, 4.2.2)."""
    return websockets.utils.accept_key(key.decode()).encode()


if __name__ == "__main__":
    asyncio.run(main())
