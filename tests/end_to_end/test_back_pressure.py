"""An end that sends faster than a route's handler takes its messages has to wait, and nobody else has."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from support.event_log import eventually
from support.routes import NOWHERE, app
from support.servers import serving
from wirewright import Proxy, WebSocketRoute
from wirewright.mitm.patches import back_pressure

PART = 1024 * 1024
COUNT = 64
"""Messages of one MiB: far more than the buffers of the kernel and of the proxy hold."""

PLAIN: dict[str, Any] = {"compression": None, "max_size": None}
"""Compressed, these messages would fit into the buffers."""

pytestmark = [pytest.mark.wire("mitmproxy's own layer buffers what it holds"), pytest.mark.layers]


def part(number: int) -> bytes:
    return number.to_bytes(4, "big") * (PART // 4)


async def test_flood_of_a_server_waits_for_the_handler_and_nothing_is_lost(proxy: Proxy) -> None:
    sent: list[int] = []
    goes_on = asyncio.Event()

    async def flood(connection: ServerConnection) -> None:
        async for message in connection:
            if message == "flood":
                for number in range(COUNT):
                    await connection.send(part(number))
                    sent.append(number)
            else:
                await connection.send(message)

    def handler(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        async def take(message: str | bytes) -> None:
            await goes_on.wait()
            route.send(message)

        server.on_message(take)

    async with serving(flood) as url:
        proxy.route_web_socket("**/held", handler)
        async with app(proxy, f"{url}/held", **PLAIN) as held, app(proxy, f"{url}/other") as other:
            await held.send("flood")
            await eventually(lambda: bool(back_pressure._pauses))
            await other.send("still there")
            assert await other.recv() == "still there"
            assert len(sent) < COUNT
            goes_on.set()
            for number in range(COUNT):
                assert await held.recv() == part(number)
    assert not back_pressure._pauses


async def test_flood_of_an_app_waits_for_a_mock_and_nothing_is_lost(proxy: Proxy) -> None:
    goes_on = asyncio.Event()
    taken: list[str | bytes] = []

    async def take(message: str | bytes) -> None:
        await goes_on.wait()
        taken.append(message)

    proxy.route_web_socket("**/mock", lambda route: route.on_message(take))
    async with app(proxy, f"ws://{NOWHERE}/mock", **PLAIN) as client:

        async def flood() -> None:
            for number in range(COUNT):
                await client.send(part(number))

        flooding = asyncio.ensure_future(flood())
        await eventually(lambda: bool(back_pressure._pauses))
        assert not flooding.done()
        goes_on.set()
        await flooding
        await eventually(lambda: len(taken) == COUNT)
        assert taken == [part(number) for number in range(COUNT)]
    assert not back_pressure._pauses


async def test_app_that_leaves_ends_a_socket_whose_server_is_not_read(proxy: Proxy) -> None:
    never = asyncio.Event()
    flooded = asyncio.Event()

    async def flood(connection: ServerConnection) -> None:
        try:
            while True:
                await connection.send(part(0))
        finally:
            flooded.set()

    def handler(route: WebSocketRoute) -> None:
        async def take(message: str | bytes) -> None:
            await never.wait()

        route.connect_to_server().on_message(take)

    async with serving(flood) as url:
        proxy.route_web_socket("**", handler)
        async with proxy.expect_websocket() as opened, app(proxy, url, **PLAIN) as client:
            ws = await opened.value
            await eventually(lambda: bool(back_pressure._pauses))
            async with ws.expect_event("close"):
                client.transport.abort()
        await flooded.wait()
    assert not back_pressure._pauses
