"""Routes whose handlers make mistakes, or are called when nobody expects it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import websockets
from mitmproxy import ctx, http
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

import wirewright
from support.clients import Message
from support.event_log import Recordings, eventually
from support.raw_peers import raw_socket
from support.routes import NOWHERE, app
from support.servers import serving
from wirewright import Error, Proxy, WebSocketRoute, launch

pytestmark = pytest.mark.remote

# Mistakes


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize("late", [True, False])
async def test_handler_that_raises_refuses_the_handshake(
    proxy: Proxy, recordings: Recordings, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(ws: WebSocketRoute) -> None:
        await asyncio.sleep(0)
        raise ValueError("a mistake")

    def at_once(ws: WebSocketRoute) -> None:
        raise ValueError("a mistake")

    proxy.route_web_socket("**", handler if late else at_once)
    with pytest.raises(InvalidStatus) as refused:
        await app(proxy, f"ws://{NOWHERE}/").__aenter__()
    assert refused.value.response.status_code == 502
    assert "ValueError: a mistake" in caplog.text
    seen = await recordings.first()
    await eventually(lambda: seen.ws.route_errors == 1)


@pytest.mark.ws_allow_errors
@pytest.mark.wire("a mock needs our layer")
@pytest.mark.parametrize("late", [True, False])
async def test_message_whose_handler_raises_is_dropped_alone(
    proxy: Proxy, recordings: Recordings, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(ws: WebSocketRoute) -> None:
        def check(message: Message) -> None:
            if message == "bad":
                raise ValueError("a bad message")
            ws.send(message)

        async def check_later(message: Message) -> None:
            await asyncio.sleep(0)
            check(message)

        ws.on_message(check_later if late else check)

    proxy.route_web_socket("**", handler)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        for message in ("one", "bad", "two"):
            await connection.send(message)
        assert [await connection.recv(), await connection.recv()] == ["one", "two"]
    seen = await recordings.first()
    await eventually(lambda: seen.ws.route_errors == 1)
    assert "ValueError: a bad message" in caplog.text


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize(
    "mistake",
    [
        lambda ws: ws.reject(503, {"Retry-After": 5}),
        lambda ws: ws.connect_to_server(headers={"X": 5}),
        lambda ws: ws.send("\ud83d"),
    ],
    ids=["a header that is no text", "a header that is no text, upwards", "a lone surrogate"],
)
async def test_what_cannot_be_carried_out_refuses_the_handshake(
    proxy: Proxy, mistake: Callable[[Any], None]
) -> None:
    proxy.route_web_socket("**", mistake)
    async with serving() as url:
        with pytest.raises(InvalidStatus) as refused:
            await app(proxy, url).__aenter__()
    assert refused.value.response.status_code == 502


async def await_what_is_cancelled(_: object = None) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


@pytest.mark.ws_allow_errors
@pytest.mark.wire("a mock needs our layer")
async def test_handler_that_awaits_what_is_cancelled_holds_up_nothing(
    proxy: Proxy, recordings: Recordings
) -> None:
    def handler(ws: WebSocketRoute) -> None:
        async def answer_later(message: Message) -> None:
            if message == "bad":
                await await_what_is_cancelled()
            ws.send(message)

        ws.on_message(answer_later)

    proxy.route_web_socket("**", handler)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        for message in ("bad", "two"):
            await connection.send(message)
        assert await connection.recv() == "two"
    proxy.route_web_socket("**", await_what_is_cancelled)
    with pytest.raises(InvalidStatus):
        await app(proxy, f"ws://{NOWHERE}/").__aenter__()
    await eventually(lambda: [seen.ws.route_errors for seen in recordings.all] == [1, 1])


async def test_route_is_called_from_anywhere_while_the_server_has_not_answered(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slowly(connection: ServerConnection, request: object) -> None:
        asked.set()
        await answer.wait()

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        routes.append(ws)

    proxy.route_web_socket("**", handler)
    async with websockets.serve(lambda c: c.wait_closed(), "127.0.0.1", 0, process_request=slowly) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        opening = asyncio.ensure_future(app(proxy, url).__aenter__())
        await asked.wait()
        routes[0].send("from the loop")
        await asyncio.to_thread(routes[0].send, "from a thread")
        answer.set()
        connection = await opening
        assert [await connection.recv(), await connection.recv()] == ["from the loop", "from a thread"]
        await connection.close()
        asked.clear()
        answer.clear()
        opening = asyncio.ensure_future(app(proxy, url).__aenter__())
        await asked.wait()
        routes[1].abort()
        with pytest.raises((EOFError, OSError, websockets.WebSocketException)):
            await opening
        answer.set()


@pytest.mark.wire("on_close needs our layer")
async def test_async_handler_is_told_that_the_server_refused(proxy: Proxy, recordings: Recordings) -> None:
    told = asyncio.Event()

    async def on_close(code: int, reason: str) -> None:
        await asyncio.sleep(0)
        told.set()

    proxy.route_web_socket("**", lambda ws: ws.connect_to_server().on_close(on_close))
    with pytest.raises(InvalidStatus):
        await app(proxy, "ws://127.0.0.1:1/").__aenter__()
    await told.wait()
    assert (await (await recordings.first()).until(2))[-1] == ("close", None)


@pytest.mark.wire("in mitmproxy's layer a hook holds up everything")
async def test_app_that_leaves_is_noticed_though_a_handler_never_ends(
    proxy: Proxy, recordings: Recordings
) -> None:
    called = asyncio.Event()

    def handler(ws: WebSocketRoute) -> None:
        async def never(message: Message) -> None:
            called.set()
            await asyncio.Event().wait()

        ws.connect_to_server()
        ws.on_message(never)

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        await socket.app.send("hello")
        await called.wait()
        socket.app.hang_up()
        await (await recordings.first()).closed.wait()
        assert await socket.server.rest() == b""


async def test_mock_needs_no_lazy_proxy_where_the_server_can_be_reached(confdir: Path) -> None:
    options = {"connection_strategy": "eager"}
    async with serving() as url, launch(port=0, confdir=confdir, options=options) as proxy:
        proxy.route_web_socket("**", lambda ws: ws.on_message(lambda message: ws.send(message * 2)))
        async with app(proxy, url) as connection:
            await connection.send("mock")
            assert await connection.recv() == "mockmock"
            await (await connection.ping())
            await connection.close(3000, "bye")
            assert connection.close_code == 3000


async def test_route_for_one_socket_is_for_one_in_each_proxy(confdir: Path) -> None:
    called: list[str] = []
    wirewright.proxy.route_web_socket("**", lambda ws: called.append(ws.url), times=1)
    try:
        for _ in range(2):
            async with launch(port=0, confdir=confdir) as proxy, serving() as url:
                for _ in range(2):
                    async with app(proxy, url):
                        pass
    finally:
        wirewright.proxy.unroute_web_socket("**")
    assert len(called) == 2


@pytest.mark.wire("a mock needs our layer")
async def test_answered_handshake_is_decided(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    proxy.route_web_socket("**", routes.append)
    async with app(proxy, f"ws://{NOWHERE}/"):
        for decide in (routes[0].connect_to_server, lambda: routes[0].reject(403)):
            with pytest.raises(Error, match="before the route's handler returns"):
                decide()


async def test_route_goes_with_its_proxy(confdir: Path) -> None:
    async with launch(port=0, confdir=confdir) as proxy:
        proxy.route_web_socket("**", lambda ws: ws.reject(403))
    async with launch(port=0, confdir=confdir) as proxy, raw_socket(proxy.port) as socket:
        await socket.app.send("not routed")
        assert await socket.server.message() == "not routed"


class Slow:
    """Another addon, which takes its time over each message."""

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        await asyncio.sleep(0)


@pytest.mark.wire("a mock needs our layer")
async def test_what_a_handler_sends_keeps_its_order_behind_a_slow_addon(proxy: Proxy) -> None:
    go_on = asyncio.Event()

    def handler(ws: WebSocketRoute) -> None:
        def answer_in_two_steps(message: Message) -> Awaitable[None]:
            ws.send("at once")
            return answer_later()

        async def answer_later() -> None:
            await go_on.wait()
            ws.send("later")

        ws.on_message(answer_in_two_steps)

    ctx.master.addons.add(Slow())
    proxy.route_web_socket("**", handler)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        await connection.send("?")
        assert await connection.recv() == "at once"
        go_on.set()
        assert await connection.recv() == "later"
