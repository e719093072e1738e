"""A proxy that is killed in the middle of everything leaves a capture that is whole.

$WIREWRIGHT_KILLS is how often; twice if it is not set.
"""

import asyncio
import os
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from support.event_log import eventually
from support.processes import INSTALLED_MITMDUMP, mitmdump
from support.servers import serving
from wirewright.capture import open as open_capture
from wirewright.values import Payload

KILLS = int(os.environ.get("WIREWRIGHT_KILLS", "2"))


def message(number: int) -> str:
    return f"{number} {'é' * (number % 200)}"


async def flood(connection: ServerConnection) -> None:
    number = 0
    with suppress(ConnectionClosed):
        while True:
            await connection.send(message(number))
            number += 1


@asynccontextmanager
async def flooded(port: int) -> AsyncIterator[list[int]]:
    """An app that gets as many messages as it can; those that came, by their numbers."""
    came: list[int] = []
    proxy = f"http://127.0.0.1:{port}"

    async def listen() -> None:
        with suppress(ConnectionClosed):
            async with websockets.connect(url, proxy=proxy, compression=None) as connection:
                while await connection.recv():
                    came.append(len(came))

    async with serving(flood) as url:
        listening = asyncio.ensure_future(listen())
        yield came
        await listening


def recorded_in(path: Path) -> list[Payload]:
    """The messages that are in a capture."""
    with open_capture(path) as capture:
        return [frame.payload for frame in capture.frames() if frame.is_message]


@pytest.mark.once("no dependency has a part in it")
@pytest.mark.parametrize("kill", range(KILLS))
async def test_capture_of_a_killed_proxy_is_whole(confdir: Path, tmp_path: Path, kill: int) -> None:
    path = tmp_path / "session.db"
    after = random.Random(kill).uniform(0.0, 1.2)
    options = ("--set", f"ws_capture={path}", "--set", "connection_strategy=lazy")
    async with (
        mitmdump(*options, confdir=confdir, program=INSTALLED_MITMDUMP) as (run, port),
        flooded(port) as came,
    ):
        await eventually(lambda: len(came) > 0)
        due = len(came)
        await eventually(lambda: len(recorded_in(path)) >= due)  # though the flood goes on
        await asyncio.sleep(after)  # the moment is what is tried
        run.process.kill()
        await run.process.wait()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    recorded = recorded_in(path)
    with open_capture(path) as capture:
        assert capture.gaps() == []
        assert capture.sessions()[0].ended_ns is None
    assert recorded == [message(number) for number in range(len(recorded))]
    assert due <= len(recorded)
