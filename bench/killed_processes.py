"""How soon it is noticed that a client, or the proxy, was killed: python -m bench.killed_processes"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from bench.doc_tables import DOCUMENT, circumstances, write_section
from bench.processes import Child, Failure
from bench.proxies import BIN, HOST
from bench.table import markdown

WAITS = 50
GOAL = 1_000.0
"""Milliseconds."""


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.killed_processes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=DOCUMENT, help="the document to write into")
    arguments = parser.parse_args()
    passed, cut, raised = [], [], []
    for _ in range(arguments.rounds):
        async with proxy() as (running, address, environment):
            at_route = await kill_at_route(address, environment)
            passed.append(at_route[0])
            cut.append(at_route[1])
            raised.append(await kill_proxy(running, environment))
    rows = [
        [what, f"at most {GOAL:,.0f} ms", f"{max(measured):.1f} ms"]
        for what, measured in (
            ("a client is killed while it handles a message: that is passed on after", passed),
            ("the same, and there is no server: the app's socket is cut after", cut),
            (f"the proxy is killed: the last of {WAITS} waits has raised after", raised),
        )
    ]
    text = "\n\n".join(
        [
            f"{circumstances('python -m bench.killed_processes')} · the worst of {arguments.rounds} rounds",
            markdown(["`kill -9`", "goal", "measured"], rows),
        ]
    )
    print(text)
    write_section(arguments.output, "kills", text)


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[Child, str, dict[str, str]]]:
    """A proxy that serves its API, its address, and what its clients must have in their environment."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {"XDG_RUNTIME_DIR": folder}
        options = ["--set", f"confdir={folder}", "--remote", f"{HOST}:0"]
        running = await Child.start(
            BIN / "wirewright", "run", "--listen-host", HOST, "-p", "0", *options, environment=environment
        )
        port = (await running.line("Wirewright is listening on ")).rpartition(":")[2].rstrip(".")
        await running.line("  Stop")
        try:
            yield running, f"http://{HOST}:{port}", environment
        finally:
            await running.stop()


async def subscriber(what: str, environment: dict[str, str]) -> Child:
    client = await Child.start(sys.executable, "-m", "bench.subscriber", what, environment=environment)
    await client.line("READY")
    return client


async def kill_at_route(address: str, environment: dict[str, str]) -> tuple[float, float]:
    """Milliseconds until a held message is passed on, and until a mocked socket is cut."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, HOST, 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = await Child.start(
            sys.executable, "-m", "bench.subscriber", "holding", environment=environment
        )
        await client.line("READY")
        async with (
            websockets.connect(f"ws://{HOST}:{port}", proxy=address) as passed,
            websockets.connect("ws://mocked.invalid", proxy=address) as mocked,
        ):
            for app in (passed, mocked):
                await app.send("held")
                await client.line("HELD")
            os.kill(client.pid, signal.SIGKILL)
            killed = time.monotonic()
            took = await asyncio.gather(_until_message(passed), _until_end(mocked))
        await client.stop()
    return (took[0] - killed) * 1e3, (took[1] - killed) * 1e3


async def _until_message(app: websockets.ClientConnection) -> float:
    await asyncio.wait_for(app.recv(), GOAL / 100)
    return time.monotonic()


async def _until_end(app: websockets.ClientConnection) -> float:
    try:
        await asyncio.wait_for(app.recv(), GOAL / 100)
    except ConnectionClosed:
        return time.monotonic()
    raise Failure("a mocked socket said something")


async def kill_proxy(running: Child, environment: dict[str, str]) -> float:
    """Milliseconds until the last wait of a client has raised."""
    client = await subscriber("waiting", environment)
    os.kill(running.pid, signal.SIGKILL)
    killed = time.monotonic_ns()
    raised = int(await client.line("RAISED "))
    await client.stop()
    return (raised - killed) / 1e6


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])
    asyncio.run(main())
