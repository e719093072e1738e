"""Routes on the hooks lane: what works there is in the tests of routes; here is what is other, or refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import ctx
from mitmproxy.hooks import UpdateHook
from mitmproxy.http import HTTPFlow
from websockets.exceptions import InvalidStatus

from support.clients import Message
from support.event_log import Recordings
from support.raw_peers import raw_socket
from support.routes import NOWHERE, app
from wirewright import Error, Proxy, WebSocketRoute, launch
from wirewright.wire.frames import Opcode


@pytest.fixture
async def hooks_proxy(confdir: Path) -> AsyncIterator[Proxy]:
    async with launch(port=0, confdir=confdir, options={"ws_lane": "hooks"}) as proxy:
        yield proxy


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda ws: ws.on_close(print), "on_close()"),
        (lambda ws: ws.connect_to_server().on_close(print), "on_close()"),
        (lambda ws: ws.conditions(latency=1), "conditions()"),
        (lambda ws: None, "a mocked server"),
    ],
)
async def test_what_cannot_work_is_refused_with_the_reason(
    hooks_proxy: Proxy, ask: Callable[[Any], None], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[Error] = []

    def handler(ws: WebSocketRoute) -> None:
        try:
            ask(ws)
        except Error as error:
            raised.append(error)
            raise

    recordings = Recordings(hooks_proxy)
    hooks_proxy.route_web_socket("**", handler)
    with pytest.raises(InvalidStatus) as refused:
        await app(hooks_proxy, f"ws://{NOWHERE}/").__aenter__()
    assert refused.value.response.status_code == 502
    reason = f"{what} needs Wirewright's own layer, and ws_lane is hooks, and must be auto"
    assert [error.message for error in raised] == ([] if "mock" in what else [reason])
    assert reason in caplog.text
    assert recordings.only.ws.route_errors == 1


@pytest.mark.parametrize(
    ("arguments", "ending"), [((3000, "from the route"), (3000, "from the route")), ((), (1005, ""))]
)
async def test_both_sides_are_closed_at_once(
    hooks_proxy: Proxy, arguments: tuple[Any, ...], ending: tuple[int, str]
) -> None:
    hooks_proxy.route_web_socket("**", lambda ws: ws.connect_to_server().close(*arguments))
    async with raw_socket(hooks_proxy.port) as socket:
        for end in (socket.app, socket.server):
            assert await end.ending() == ending


@pytest.mark.parametrize("late", [True, False])
async def test_text_becomes_binary_and_one_message_several(hooks_proxy: Proxy, late: bool) -> None:
    def handler(ws: WebSocketRoute) -> None:
        def change(message: Message) -> None:
            assert isinstance(message, str)
            for each in (message.encode(), f"{message}!", ""):
                server.send(each)
            ws.send(f"about {message}")

        async def change_later(message: Message) -> None:
            await asyncio.sleep(0)
            change(message)

        server = ws.connect_to_server()
        ws.on_message(change_later if late else change)

    recordings = Recordings(hooks_proxy)
    hooks_proxy.route_web_socket("**", handler)
    async with raw_socket(hooks_proxy.port) as socket:
        await socket.app.send("one")
        await socket.app.send("two")
        expected = [b"one", "one!", "", b"two", "two!", ""]
        assert [await socket.server.message() for _ in expected] == expected
        assert [await socket.app.message() for _ in range(2)] == ["about one", "about two"]
    assert {event for event, _ in recordings.only.frames} == {"framesent"}


def forwarding(proxy: Proxy) -> list[WebSocketRoute]:
    """The routes of the sockets that are opened now: they connect, and do nothing by themselves."""
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        routes.append(ws)

    proxy.route_web_socket("**", handler)
    return routes


async def test_what_is_sent_does_not_get_into_a_message_that_has_come_by_half(hooks_proxy: Proxy) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        def double(message: Message) -> None:
            for each in (f"{message!s} 1", f"{message!s} 2"):
                server.send(each)

        ws.on_message(double)

    hooks_proxy.route_web_socket("**", handler)
    async with raw_socket(hooks_proxy.port) as socket:
        first, second = (socket.app.encode(Opcode.TEXT, text) for text in (b"one", b"t" * 100))
        await socket.app.write(first + second[:50])
        assert await socket.server.message() == "one 1"
        await socket.app.write(second[50:])
        expected = ["one 2", "t" * 100 + " 1", "t" * 100 + " 2"]
        assert [await socket.server.message() for _ in expected] == expected


async def test_characters_stay_whole(hooks_proxy: Proxy) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(lambda message: server.send(f"{message!s}!"))

    text = "a" + "é" * 3000
    hooks_proxy.route_web_socket("**", handler)
    async with raw_socket(hooks_proxy.port) as socket:
        await socket.app.send(text)
        assert await socket.server.message() == f"{text}!"


class Dropping:
    name = "dropping"

    def websocket_message(self, flow: HTTPFlow) -> None:
        assert flow.websocket is not None
        if flow.websocket.messages[-1].content == b"drop":
            flow.websocket.messages[-1].drop()


async def test_message_that_an_addon_has_dropped_is_dropped(hooks_proxy: Proxy) -> None:
    dropping = Dropping()
    ctx.master.addons.add(dropping)
    ctx.master.addons.chain.insert(0, ctx.master.addons.chain.pop())
    hooks_proxy.route_web_socket("**", lambda ws: ws.on_message(ws.connect_to_server().send))
    async with raw_socket(hooks_proxy.port) as socket:
        await socket.app.send("drop")
        await socket.app.send("keep")
        assert await socket.server.message() == "keep"


async def test_frame_is_reported_once_the_handler_has_decided(hooks_proxy: Proxy) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        async def think(message: Message) -> None:
            asked.set()
            await go_on.wait()
            server.send(message)

        ws.on_message(think)

    recordings = Recordings(hooks_proxy)
    hooks_proxy.route_web_socket("**", handler)
    async with raw_socket(hooks_proxy.port) as socket:
        await socket.app.send("hello")
        await asked.wait()
        await ctx.master.addons.trigger_event(UpdateHook([recordings.only.ws.flow]))
        go_on.set()
        assert await socket.server.message() == "hello"
        await socket.server.send("over")
        assert await socket.app.message() == "over"
    assert recordings.only.frames == [("framesent", "hello"), ("framereceived", "over")]


async def test_what_the_route_sends_the_app_is_told_from_what_others_do(hooks_proxy: Proxy) -> None:
    routes = forwarding(hooks_proxy)
    recordings = Recordings(hooks_proxy)
    async with raw_socket(hooks_proxy.port) as socket:
        recordings.only.ws.send_to_client("b")
        routes[0].send("a")
        await asyncio.to_thread(routes[0].send, "c")
        routes[0].send("b")
        assert [await socket.app.message() for _ in range(4)] == ["b", "a", "c", "b"]
    assert recordings.only.frames == [("framereceived", "b")]


async def test_socket_that_has_ended_takes_no_orders(hooks_proxy: Proxy) -> None:
    routes = forwarding(hooks_proxy)
    recordings = Recordings(hooks_proxy)
    async with raw_socket(hooks_proxy.port):
        pass
    await recordings.only.closed.wait()
    routes[0].send("late")
    routes[0].close()
    routes[0].abort()
    assert recordings.only.events == [("close", None)]


async def test_one_side_cannot_be_closed_and_no_network_be_simulated(hooks_proxy: Proxy) -> None:
    reason = "needs Wirewright's own layer, and ws_lane is hooks, and must be auto"
    async with raw_socket(hooks_proxy.port) as socket:
        (ws,) = hooks_proxy.web_sockets
        await ws.wait_for_open()
        for to in ("client", "server"):
            with pytest.raises(Error, match=rf"^close\(to='{to}'\) {reason}$"):
                ws.close(1011, to=to)
        with pytest.raises(Error, match=rf"^conditions\(\) {reason}$"):
            ws.conditions("3g")
        await socket.app.send("goes on")
        assert await socket.server.message() == "goes on"
