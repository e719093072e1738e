"""Routes: which handler is called, and servers that it mocks. Real apps behind a real proxy."""

import asyncio
import gc
import re
import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import websockets

from support.clients import Connect, Message, Wish
from support.event_log import Recordings
from support.ports import many_files
from support.raw_peers import raw_socket
from support.routes import NOWHERE, app, closed
from support.servers import serving
from wirewright import Proxy, WebSocket, WebSocketRoute
from wirewright.wire.frames import Opcode

COUNT = 1_000

pytestmark = [pytest.mark.wire("a route needs our layer"), pytest.mark.remote, pytest.mark.layers]


# Which handler


async def test_the_newest_matching_handler_is_the_one_that_is_called(proxy: Proxy) -> None:
    called = []

    def handler(name: str) -> Callable[[WebSocketRoute], None]:
        return lambda _: called.append(name)

    proxy.route_web_socket("**/a", handler("glob"))
    proxy.route_web_socket(re.compile("/(a|b)$"), handler("regex"))
    proxy.route_web_socket(lambda url: url.endswith("/a"), handler("callable"))
    for path in ("a", "b"):
        async with app(proxy, f"ws://{NOWHERE}/{path}"):
            pass
    proxy.unroute_web_socket(re.compile("/(a|b)$"))
    async with app(proxy, f"ws://{NOWHERE}/a"):
        pass
    assert called == ["callable", "regex", "callable"]


async def test_unmatched_socket_is_not_touched(proxy: Proxy, recordings: Recordings) -> None:
    proxy.route_web_socket("**/other", lambda ws: ws.close())
    async with raw_socket(proxy.port) as socket:
        for source, destination in socket.legs():
            frames = source.encode(Opcode.TEXT, b"a", fin=False) + source.encode(Opcode.CONTINUATION, b"b")
            await source.write(frames)
            assert await destination.read(len(frames)) == frames
    seen = await recordings.first()
    assert [payload for _, payload in (await seen.until(2))[:2]] == ["ab", "ab"]


async def test_open_socket_is_not_routed_and_routed_socket_stays_so(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, url) as before:
        await before.send("one")
        assert await before.recv() == "one"
        proxy.route_web_socket("**", lambda ws: ws.on_message(lambda message: ws.send(f"mock {message!s}")))
        async with app(proxy, url) as after:
            proxy.unroute_web_socket("**")
            for connection, answer in ((before, "two"), (after, "mock two")):
                await connection.send("two")
                assert await connection.recv() == answer


async def test_handler_is_called_for_so_many_sockets_as_were_asked_for(proxy: Proxy) -> None:
    called: list[str] = []
    proxy.route_web_socket("**", lambda ws: called.append("always"))
    proxy.route_web_socket("**", lambda ws: called.append("twice"), times=2)
    for _ in range(3):
        async with app(proxy, f"ws://{NOWHERE}/"):
            pass
    assert called == ["twice", "twice", "always"]


async def test_handlers_are_taken_back_one_by_one(proxy: Proxy) -> None:
    called: list[str] = []

    def one(ws: WebSocketRoute) -> None:
        called.append("one")

    def two(ws: WebSocketRoute) -> None:
        called.append("two")

    for handler in (one, two):
        proxy.route_web_socket("**/x", handler)
    proxy.unroute_web_socket("**/x", two)
    proxy.unroute_web_socket("**/*", one)
    async with app(proxy, f"ws://{NOWHERE}/x"):
        pass
    assert called == ["one"]


# Mocks


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_server_that_does_not_exist_is_mocked(
    proxy: Proxy, connect: Connect, recordings: Recordings, scheme: str
) -> None:
    def handler(ws: WebSocketRoute) -> None:
        ws.send("welcome")
        ws.on_message(lambda message: ws.send(message * 2))

    proxy.route_web_socket(f"{scheme}://{NOWHERE}/**", handler)
    async with connect(proxy, f"{scheme}://{NOWHERE}/live", Wish(compress=True)) as client:
        assert await client.receive() == "welcome"
        for message in ("text é", b"\x00\xff"):
            await client.send(message)
            assert await client.receive() == message * 2
        await client.close(3000, "bye")
    seen = await recordings.first()
    await seen.closed.wait()
    assert seen.events == [
        ("framereceived", "welcome"),
        ("framesent", "text é"),
        ("framereceived", "text é" * 2),
        ("framesent", b"\x00\xff"),
        ("framereceived", b"\x00\xff" * 2),
        ("close", None),
    ]
    assert (seen.ws.status, seen.ws.close_code, seen.ws.closed_by) == (101, 3000, "client")


async def test_mock_takes_the_first_subprotocol_and_no_extension(proxy: Proxy) -> None:
    asked: list[list[str]] = []
    proxy.route_web_socket("**", lambda ws: asked.append(ws.protocols))
    async with app(proxy, f"ws://{NOWHERE}/", subprotocols=["chat.v2", "chat.v1"]) as connection:
        assert connection.subprotocol == "chat.v2"
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        assert connection.subprotocol is None
    assert asked == [["chat.v2", "chat.v1"], []]


async def test_mock_swallows_what_nobody_handles_and_answers_pings(
    proxy: Proxy, recordings: Recordings
) -> None:
    proxy.route_web_socket("**", lambda ws: None)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        await connection.send("hello")
        await (await connection.ping())
    seen = await recordings.first()
    assert (await seen.until(1))[:1] == [("framesent", "hello")]


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        ((3008, "oops é"), (3008, "oops é")),
        ((1002,), (1002, "")),
        ((), (1005, "")),
        ((None, "x"), (1000, "x")),
    ],
)
async def test_mock_closes_the_app(
    proxy: Proxy, recordings: Recordings, arguments: tuple[Any, ...], ending: tuple[int, str]
) -> None:
    async def handler(ws: WebSocketRoute) -> None:
        ws.send("last words")
        await ws.close(*arguments)
        ws.send("dropped")

    proxy.route_web_socket("**", handler)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        assert await connection.recv() == "last words"
        assert await closed(connection) == ending
    await (await recordings.first()).closed.wait()
    assert (await recordings.first()).frames == [("framereceived", "last words")]
    assert (await recordings.first()).ws.closed_by == "proxy"


async def test_close_is_awaited_until_it_is_sent_and_not_until_it_is_answered(proxy: Proxy) -> None:
    """The answer comes in the direction that this very handler holds."""
    awaited: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        async def close() -> None:
            await ws.close(3000, "bye")
            awaited.append(ws)

        ws.on_message(close)

    proxy.route_web_socket("**", handler)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        await connection.send("go")
        assert await closed(connection) == (3000, "bye")
    assert len(awaited) == 1


async def test_a_thousand_mocks_are_open_at_once_and_each_answers(proxy: Proxy, way: str) -> None:
    count = COUNT if way == "tcp" else COUNT // 10  # TCP tries all that the other ways have
    proxy.route_web_socket("**", lambda ws: ws.on_message(lambda message: ws.send(f"{ws.url} {message!s}")))
    with many_files(5 * COUNT):
        async with AsyncExitStack() as stack:
            connections = [
                await stack.enter_async_context(app(proxy, f"ws://{NOWHERE}/{number}", compression=None))
                for number in range(count)
            ]
            assert len(proxy.web_sockets) == count
            for connection in connections:
                await connection.send("hello")
            for number, connection in enumerate(connections):
                assert await connection.recv() == f"ws://{NOWHERE}/{number} hello"


@pytest.mark.in_process("a flow is mitmproxy's own object")
async def test_mocks_that_are_gone_leave_no_task_and_no_flow(proxy: Proxy) -> None:
    opened, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)
    flows: list[weakref.ref[Any]] = []

    @proxy.on("websocket")
    def note(ws: WebSocket) -> None:
        flows.append(weakref.ref(ws.flow))
        ws.on("close", lambda _: ended.release())

    async def handler(ws: WebSocketRoute) -> None:
        async def answer(message: Message) -> None:
            await asyncio.sleep(0)
            ws.send(message)

        ws.conditions(latency=1)
        ws.on_message(answer)
        opened.release()

    proxy.route_web_socket("**", handler)
    tasks = asyncio.all_tasks()
    for _ in range(100):
        async with app(proxy, f"ws://{NOWHERE}/") as connection:
            await connection.send("hello")
            assert await connection.recv() == "hello"
        await ended.acquire()
    left = asyncio.all_tasks() - tasks
    if left:
        await asyncio.wait(left)  # the connections' own last steps
    del connection
    gc.collect()
    assert [flow() for flow in flows if flow()] == []
    assert proxy.web_sockets == []


async def test_handshake_waits_for_the_handler(proxy: Proxy) -> None:
    decide = asyncio.Event()
    asked = asyncio.Event()

    async def handler(ws: WebSocketRoute) -> None:
        asked.set()
        await decide.wait()
        ws.send("decided")

    proxy.route_web_socket("**", handler)
    opening = asyncio.ensure_future(
        websockets.connect(f"ws://{NOWHERE}/", proxy=f"http://127.0.0.1:{proxy.port}").__aenter__()
    )
    await asked.wait()
    assert not opening.done()
    decide.set()
    connection = await opening
    assert await connection.recv() == "decided"
    await connection.close()


async def test_route_speaks_whenever_it_likes(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    proxy.route_web_socket("**", routes.append)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        routes[0].send("from the loop")
        await asyncio.to_thread(routes[0].send, "from a thread")
        routes[0].send(b"\x00")
        assert [await connection.recv() for _ in range(3)] == ["from the loop", "from a thread", b"\x00"]
    routes[0].send("too late")
    routes[0].close(3000)


async def test_handlers_without_parameters_answer(proxy: Proxy) -> None:
    called: list[str] = []
    proxy.route_web_socket(lambda: True, lambda: called.append("handler"))
    async with app(proxy, f"ws://{NOWHERE}/"):
        pass
    assert called == ["handler"]
