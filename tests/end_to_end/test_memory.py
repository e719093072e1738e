"""Messages that are not complete yet, on many sockets at once, share one budget, and still pass."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from support.event_log import eventually
from support.routes import app
from support.servers import serving
from wirewright import WebSocket, launch
from wirewright.memory import budget

MIB = 1024 * 1024
SIZE = 4 * MIB
COUNT = 20


async def test_many_unfinished_messages_stay_within_the_budget_and_pass(
    confdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[int] = []
    heard: list[int] = []
    begun: list[int] = []
    goes_on = asyncio.Event()
    used: list[int] = []

    async def take(connection: ServerConnection) -> None:
        received.append(len(await connection.recv()))

    async def parts() -> AsyncIterator[bytes]:
        yield bytes(SIZE)  # compressed to a few KiB
        begun.append(budget.used)
        await goes_on.wait()
        yield b"end"

    def watch(ws: WebSocket) -> None:
        ws.on("framesent", lambda payload: heard.append(len(payload)))
        ws.on("framesent", lambda _: used.append(budget.used))

    async with launch(port=0, confdir=confdir, options={"ws_memory": "32m"}) as proxy, serving(take) as url:
        proxy.on("websocket", watch)
        async with AsyncExitStack() as stack:
            apps = [await stack.enter_async_context(app(proxy, url)) for _ in range(COUNT)]
            async with asyncio.TaskGroup() as sending:
                for each in apps:
                    sending.create_task(each.send(parts()))
                await eventually(lambda: len(begun) == COUNT)
                await eventually(lambda: budget.used > 20 * MIB)
                goes_on.set()
            await eventually(lambda: len(received) == COUNT)
    assert received == [SIZE + 3] * COUNT
    assert set(heard) == {SIZE + 3}
    assert 0 < len(heard) < COUNT
    assert max(begun + used) <= 32 * MIB
    assert any("than ws_memory has room for" in record.getMessage() for record in caplog.records)
