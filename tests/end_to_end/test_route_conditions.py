"""Routes that put the network of an app under conditions. Real apps behind a real proxy."""

import asyncio
from typing import Any

import pytest

from support.clients import Connect, Wish
from support.event_log import Recordings
from support.raw_peers import RawEnd, raw_socket
from support.routes import NOWHERE, app, closed
from support.servers import serving
from wirewright import Proxy, WebSocketRoute
from wirewright.wire.frames import Opcode

pytestmark = [pytest.mark.wire("conditions are those of our layer"), pytest.mark.remote]

MINUTE = 60_000
"""Milliseconds: longer than any test takes."""
COUNT = 300


def conditioned(proxy: Proxy, **conditions: Any) -> list[WebSocketRoute]:
    """The routes of the sockets that are opened now, under conditions from their beginning."""
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        ws.conditions(**conditions)
        routes.append(ws)

    proxy.route_web_socket("**", handler)
    return routes


async def texts(end: RawEnd) -> list[str]:
    """What an end has received, up to the close frame."""
    received = []
    while (frame := await end.frame()).opcode != Opcode.CLOSE:
        received.append(frame.payload.decode())
    return received


@pytest.mark.in_process("elsewhere, conditions of an open socket hold a moment after they are set")
async def test_message_that_is_late_holds_up_nothing_but_its_direction(proxy: Proxy) -> None:
    routes = conditioned(proxy, latency=MINUTE, direction="received")
    async with raw_socket(proxy.port) as late, raw_socket(proxy.port) as other:
        await late.server.send("late")
        await late.app.send("in time")
        assert await late.server.message() == "in time"
        routes[1].conditions()
        await other.server.send("another socket")
        assert await other.app.message() == "another socket"
        routes[0].abort()
        assert await late.app.rest() == b""


async def test_message_is_late_and_comes(proxy: Proxy, connect: Connect, recordings: Recordings) -> None:
    conditioned(proxy, latency=20, jitter=10, bytes_per_second=100_000)
    messages = ["a" * size for size in (1, 2_000, 10)]
    async with serving() as url, connect(proxy, url, Wish(compress=True)) as client:
        for message in messages:
            await client.send(message)
        for message in messages:
            assert await client.receive() == message
        await client.close(3000, "bye")
    await (await recordings.first()).closed.wait()
    assert (await recordings.first()).ws.close_code == 3000
    assert [
        payload for event, payload in (await recordings.first()).frames if event == "framesent"
    ] == messages


async def test_same_seed_drops_doubles_and_reorders_the_same(proxy: Proxy) -> None:
    numbers = [str(number) for number in range(COUNT)]
    runs: list[list[list[str]]] = []
    for seed in (7, 7, 8):
        proxy.unroute_web_socket("**")
        conditioned(proxy, drop=0.2, duplicate=0.2, reorder=0.2, seed=seed)
        runs.append([])
        async with raw_socket(proxy.port) as socket:
            for source, destination in socket.legs():
                for number in numbers:
                    await source.send(number)
                await source.send_close()
                runs[-1].append(await texts(destination))
    assert runs[0] == runs[1]
    for direction in (0, 1):
        assert runs[0][direction] != runs[2][direction]
        arrived = runs[0][direction]
        assert set(arrived) < set(numbers)
        assert len(arrived) > len(set(arrived))
        assert sorted(arrived, key=int) != arrived
    assert runs[0][0] != runs[0][1]


async def test_nothing_passes_in_the_lift_and_everything_after_it(proxy: Proxy) -> None:
    routes = conditioned(proxy)
    async with raw_socket(proxy.port) as socket:
        for source, destination in socket.legs():
            await source.send("before")
            assert await destination.message() == "before"
        routes[0].conditions(stall_after=1)
        for source, destination in socket.legs():
            await source.send("the last one")
            assert await destination.message() == "the last one"
        for source, _ in socket.legs():
            await source.write(source.encode(Opcode.PING, b"anybody there?"))
            await source.send("in the lift")
        await asyncio.to_thread(routes[0].conditions)
        for source, destination in socket.legs():
            await source.send("after")
            assert [(await destination.frame()).payload for _ in range(3)] == [
                b"anybody there?",
                b"in the lift",
                b"after",
            ]


async def test_app_in_the_lift_does_not_see_that_the_server_gives_up(
    proxy: Proxy, recordings: Recordings
) -> None:
    routes = conditioned(proxy)
    async with raw_socket(proxy.port) as socket:
        routes[0].conditions(stall_after=0)
        await socket.server.send("last words")
        await socket.server.send_close(3000, "gave up")
        socket.server.hang_up()
        await (await recordings.first()).closed.wait()
        routes[0].conditions()
        assert await socket.app.message() == "last words"
        assert await socket.app.ending() == (3000, "gave up")
        assert await socket.app.rest() == b""


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_mock_is_flaky_too(proxy: Proxy, connect: Connect, scheme: str) -> None:
    def handler(ws: WebSocketRoute) -> None:
        ws.conditions(duplicate=1, direction="received", latency=10)
        ws.send("welcome")
        ws.on_message(lambda message: ws.send(f"re: {message!s}"))

    proxy.route_web_socket("**", handler)
    async with connect(proxy, f"{scheme}://{NOWHERE}/", Wish()) as client:
        await client.send("hello")
        expected = ["welcome", "welcome", "re: hello", "re: hello"]
        assert [await client.receive() for _ in expected] == expected


async def test_mock_that_closes_does_so_behind_its_messages(proxy: Proxy) -> None:
    def handler(ws: WebSocketRoute) -> None:
        ws.conditions(latency=30)
        ws.send("one")
        ws.close(3001, "done")

    proxy.route_web_socket("**", handler)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        assert await connection.recv() == "one"
        assert await closed(connection) == (3001, "done")


async def test_connections_are_cut_whatever_is_under_way(proxy: Proxy) -> None:
    routes = conditioned(proxy, latency=MINUTE)
    async with raw_socket(proxy.port) as socket:
        for source, _ in socket.legs():
            await source.send("never")
        routes[0].abort()
        assert [await socket.app.rest(), await socket.server.rest()] == [b"", b""]


async def test_last_words_arrive_before_the_connection_is_lost(proxy: Proxy) -> None:
    conditioned(proxy, latency=30, stall_after=1)
    async with raw_socket(proxy.port) as socket:
        await socket.app.send("last words")
        socket.app.hang_up()
        assert await socket.server.message() == "last words"
        assert await socket.server.rest() == b""


async def test_close_of_ours_arrives_behind_what_is_under_way(proxy: Proxy, recordings: Recordings) -> None:
    conditioned(proxy, latency=300, direction="received")
    async with raw_socket(proxy.port) as socket:
        await socket.server.send("under way")
        ws = (await recordings.first()).ws
        await ws.wait_for_event("framereceived", history=True)
        ws.close(3000, "bye")
        assert await socket.server.ending() == (3000, "bye")
        await socket.server.send_close(3000, "bye")
        await socket.app.send_close(1000)
        assert await socket.app.message() == "under way"
        assert await socket.app.ending() == (3000, "bye")
