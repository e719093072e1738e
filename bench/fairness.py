"""How long an app waits while another app's WebSocket is flooded: python -m bench.fairness

A server floods its app through the proxy, or is flooded by it. Meanwhile another app measures its round trips
to a server that echoes.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import websockets
from websockets.asyncio.server import ServerConnection

from bench.carriers import BARE
from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.processes import Child
from bench.proxies import ADDON, HOST, SCRIPTS, Mitmdump, Route, Workplace
from bench.table import markdown

GOAL = 100.0
"""Milliseconds."""
LIMIT = 20.0
"""Seconds after which a round trip is given up."""
PIECE = 256 * 1024
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
EMPTY_FINAL_BLOCK = b"\x03\x00"

NO_LISTENER = Mitmdump("no-listener", "Wirewright", (ADDON,))
RECORDING = Mitmdump("recording", "Wirewright, recording", (ADDON,), captures=True)
HOLDING = Mitmdump("holding", "Wirewright, a route holds", (ADDON, SCRIPTS / "routing.py"))
CARRIERS = (BARE, NO_LISTENER, RECORDING, HOLDING)


@dataclass(frozen=True)
class Flood:
    """What is sent again and again."""

    title: str
    frames: bytes
    upwards: bool = False
    """True if the app sends it, False if the server does."""


def _compressed(content: bytes, level: int = 9) -> bytes:
    deflater = zlib.compressobj(level, wbits=-15)
    return (deflater.compress(content) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2)
        if size < 65536
        else b"\x7f" + size.to_bytes(8)
    )
    return bytes([first]) + length + payload


def floods() -> Mapping[str, Flood]:
    fragment = b"\x00\x01a"
    return {
        "pings": Flood("empty pings", b"\x89\x00" * (PIECE // 2)),
        "pings-up": Flood("empty pings of the app", b"\x89\x80\0\0\0\0" * (PIECE // 6), upwards=True),
        "messages": Flood("empty messages", b"\x82\x00" * (PIECE // 2)),
        "turns": Flood("empty messages and pings in turn", b"\x82\x00\x89\x00" * (PIECE // 4)),
        "fragments": Flood(
            "messages in fragments of one byte", (b"\x02\x01a" + fragment * 9998 + b"\x80\x01a") * 8
        ),
        "inflated": Flood(
            "compressed messages of 60 kB, 60 MB inflated", _frame(0xC2, _compressed(bytes(60_000_000))) * 4
        ),
        "small": Flood("compressed messages of a byte", _frame(0xC2, _compressed(b"a")) * (PIECE // 5)),
        "final": Flood(
            "a compressed message of empty final blocks",
            _frame(0x42, EMPTY_FINAL_BLOCK * (PIECE // 2))
            + _frame(0x00, EMPTY_FINAL_BLOCK * (PIECE // 2)) * 8,
        ),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.fairness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = floods()
    parser.add_argument("--only", nargs="+", choices=known, default=list(known), metavar="FLOOD")
    parser.add_argument(
        "--carriers",
        nargs="+",
        choices=[each.name for each in CARRIERS],
        default=[each.name for each in CARRIERS],
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each flood takes")
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    parser.add_argument("--end", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.end:
        await flood_ends(known[arguments.end])
        return
    carriers = [each for each in CARRIERS if each.name in arguments.carriers]
    rows = []
    for name in arguments.only:
        cells = [await measured(carrier, name, arguments.seconds) for carrier in carriers]
        rows.append([known[name].title, *cells])
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    text = "\n\n".join(
        [
            f"{circumstances('python -m bench.fairness')} · round trips of another app",
            markdown(["flood", *(f"{each.title}: median, worst" for each in carriers)], rows),
        ]
    )
    print(text)
    write_section(arguments.output, "fairness", text)


async def measured(carrier: Mitmdump, flood: str, seconds: float) -> str:
    """The median and the worst round trip while a carrier is flooded."""
    with tempfile.TemporaryDirectory() as folder:
        route = await carrier.start(Workplace.prepare(Path(folder)))
        ends = await Child.start(sys.executable, "-m", "bench.fairness", "--end", flood)
        try:
            port = await ends.line("PORT ")
            return await _measured(route, port, ends, seconds)
        finally:
            await ends.stop(limit=0.1)
            assert route.process is not None
            await route.process.stop(limit=1.0)


async def _measured(route: Route, port: str, ends: Child, seconds: float) -> str:
    async with websockets.serve(echo, HOST, 0, compression=None) as server:
        own = next(iter(server.sockets)).getsockname()[1]
        async with websockets.connect(
            f"ws://{HOST}:{own}", proxy=route.proxy, compression=None, ping_interval=None, close_timeout=0.1
        ) as app:
            for _ in range(20):
                await _round_trip(app)
            await ends.ask({"proxy": route.proxy, "port": port}, LIMIT)
            until = time.monotonic() + seconds
            trips = []
            try:
                while time.monotonic() < until:
                    trips.append(await asyncio.wait_for(_round_trip(app), LIMIT))
                    await asyncio.sleep(0.002)
            except TimeoutError:
                return f"more than {LIMIT:.0f} s"
            finally:
                app.transport.abort()
            passed = await ends.ask({}, LIMIT)
    end = ", then its socket was closed" if passed["ended"] else ""
    return f"{statistics.median(trips):.1f} ms, {max(trips):,.0f} ms ({passed['bytes'] / 1e6:.1f} MB{end})"


async def echo(connection: ServerConnection) -> None:
    with suppress(websockets.ConnectionClosed):
        async for message in connection:
            await connection.send(message)


async def _round_trip(app: websockets.ClientConnection) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    await app.send("there and back")
    await app.recv()
    return (time.perf_counter() - started) * 1e3


# The ends of the flooded socket


async def flood_ends(flood: Flood) -> None:
    """Serve, say the port, and open the flooded socket when a line with the proxy's address comes.

    The next line asks how much has passed.
    """
    drain = Drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: "
            + ACCEPT.encode()
            + b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )
        await (drain.run(reader) if flood.upwards else _pour(writer, flood.frames))

    server = await asyncio.start_server(serve, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    print("PORT", port, flush=True)
    asked = await asyncio.to_thread(sys.stdin.readline)
    proxy = urlsplit(asked.split('"')[3])
    reader, writer = await asyncio.open_connection(proxy.hostname, proxy.port)
    writer.write(f"CONNECT {HOST}:{port} HTTP/1.1\r\nHost: {HOST}:{port}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(
        f"GET /flood HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    print("{}", flush=True)
    flooding = asyncio.ensure_future(_pour(writer, flood.frames) if flood.upwards else drain.run(reader))
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps({"bytes": drain.size, "ended": drain.ended}), flush=True)
    await flooding


async def _pour(writer: asyncio.StreamWriter, frames: bytes) -> None:
    with suppress(ConnectionError):
        while True:
            writer.write(frames)
            await writer.drain()


class Drain:
    """The end that is flooded. It counts bytes."""

    def __init__(self) -> None:
        self.size = 0
        self.ended = False

    async def run(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                self.size += len(data)
        self.ended = True


if __name__ == "__main__":
    asyncio.run(main())
