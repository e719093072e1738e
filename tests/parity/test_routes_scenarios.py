"""What Playwright's documentation and its own tests say of routes, for a page and for apps that are none.

https://playwright.dev/python/docs/api/class-websocketroute
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import playwright.async_api as playwright
import pytest
import pytest_asyncio
from websockets import Subprotocol
from websockets.asyncio.server import ServerConnection, serve

from support.browser import CHROMIUM, connect_page, proxied_by
from support.clients import Client, Message, Wish, connect_aiohttp, connect_websockets
from support.servers import serving_raw
from wirewright import Error, Proxy, WebSocketRoute, launch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="ROUTES ARE NOT TESTED: no `chromium` on the PATH"),
]


@dataclass
class Stage:
    """A proxy, a page behind it, and a server whose connections a test has in its hands."""

    proxy: Proxy
    page: playwright.Page
    url: str
    _connections: "asyncio.Queue[ServerConnection]" = field(default_factory=asyncio.Queue)

    async def take(self, connection: ServerConnection) -> None:
        self._connections.put_nowait(connection)
        await connection.wait_closed()

    async def connected(self) -> ServerConnection:
        """The next connection that the server has got."""
        return await self._connections.get()


def best_known(_: ServerConnection, asked: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((protocol for protocol in asked if protocol.startswith("chat.")), None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_stage(browser: playwright.Browser, confdir: Path) -> AsyncIterator[Stage]:
    async with launch(port=0, confdir=confdir) as proxy:
        page = await browser.new_page(proxy=proxied_by(proxy))
        stage = Stage(proxy, page, "")
        async with serve(stage.take, "127.0.0.1", 0, select_subprotocol=best_known) as server:
            stage.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            yield stage


@pytest.fixture
def stage(whole_stage: Stage) -> Stage:
    for url in ("**", re.compile("zzz"), "**/mock", re.compile("/ws$"), whole_stage.url):
        whole_stage.proxy.unroute_web_socket(url)
    while not whole_stage._connections.empty():
        whole_stage._connections.get_nowait()
    return whole_stage


App = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["chromium", "websockets", "aiohttp"])
def app(stage: Stage, request: pytest.FixtureRequest) -> App:
    """Opens an app's socket with the server, at a path."""

    @asynccontextmanager
    async def opened(path: str = "/ws", *subprotocols: str, url: str = "") -> AsyncIterator[Client]:
        url, wish = url or stage.url + path, Wish(subprotocols, compress=True)
        if request.param == "chromium":
            async with connect_page(stage.page, url, wish) as page:
                yield page
        else:
            connect = connect_websockets if request.param == "websockets" else connect_aiohttp
            async with connect(stage.proxy, url, wish) as client:
                yield client

    return opened


def pass_through(ws: WebSocketRoute) -> None:
    server = ws.connect_to_server()
    ws.on_message(server.send)
    server.on_message(ws.send)


@pytest.fixture(params=["no route", "no match", "pass-through", "forwarding"])
def untouched(stage: Stage, request: pytest.FixtureRequest) -> None:
    """An app that sees its server, whatever the reason."""
    if request.param == "no match":
        stage.proxy.route_web_socket(re.compile("zzz"), lambda ws: None)
    elif request.param == "pass-through":
        stage.proxy.route_web_socket("**", pass_through)
    elif request.param == "forwarding":
        stage.proxy.route_web_socket("**", lambda ws: ws.connect_to_server())


# An app that sees its server


@pytest.mark.usefixtures("untouched")
async def test_messages_go_both_ways_and_the_server_closes(stage: Stage, app: App) -> None:
    async with app() as client:
        server = await stage.connected()
        for message in ("text é", b"\x00\xff", ""):
            await server.send(message)
            assert await client.receive() == message
            await client.send(message)
            assert await server.recv() == message
        closing = asyncio.ensure_future(server.close(1008, "oops"))
        assert await client.closed() == (1008, "oops")
        await closing


@pytest.mark.usefixtures("untouched")
async def test_app_closes(stage: Stage, app: App) -> None:
    async with app() as client:
        server = await stage.connected()
        await client.close(3002, "oops")
        await server.wait_closed()
        assert (server.close_code, server.close_reason) == (3002, "oops")


@pytest.mark.usefixtures("untouched")
async def test_subprotocol_is_the_one_that_the_server_has_chosen(stage: Stage, app: App) -> None:
    async with app("/ws", "chat.v1", "unknown") as client:
        assert client.subprotocol == "chat.v1"


@pytest.mark.usefixtures("untouched")
async def test_server_that_ends_the_connection_before_an_answer_is_an_error(stage: Stage, app: App) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with serving_raw(hang_up) as url:
        with pytest.raises(Exception, match=r"closed 1006|502"):
            await app(url=f"{url}/ws").__aenter__()


@pytest.mark.usefixtures("untouched")
async def test_server_that_speaks_no_websocket_loses_the_app(stage: Stage, app: App) -> None:
    async with app() as client:
        server = await stage.connected()
        server.transport.write(b"garbage")
        assert await client.closed() == (1006, "")


# An app whose socket a route has


async def test_route_closes_both_sides(stage: Stage, app: App) -> None:
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        routes.append(ws)

    stage.proxy.route_web_socket("**", handler)
    async with app() as client:
        server = await stage.connected()
        routes[0].send("hello")
        assert await client.receive() == "hello"
        routes[0].close(code=3009, reason="oops")
        assert await client.closed() == (3009, "oops")
        await server.wait_closed()
        assert (server.close_code, server.close_reason) == (3009, "oops")


async def test_each_route_has_the_sockets_that_match_it(stage: Stage, app: App) -> None:
    stage.proxy.route_web_socket(re.compile("/ws$"), lambda ws: ws.connect_to_server())
    stage.proxy.route_web_socket(
        "**/mock", lambda ws: ws.on_message(lambda message: ws.send("mock-response"))
    )
    async with app("/ws") as client:
        server = await stage.connected()
        await client.send("request")
        assert await server.recv() == "request"
        await server.send("response")
        assert await client.receive() == "response"
    async with app("/something/something/mock") as client:
        await client.send("request")
        assert await client.receive() == "mock-response"


async def test_messages_of_both_sides_are_answered_blocked_and_changed(stage: Stage, app: App) -> None:
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        def from_app(message: Message) -> None:
            if message == "to-respond":
                ws.send("response")
            elif message != "to-block":
                server.send("modified" if message == "to-modify" else message)

        def from_server(message: Message) -> None:
            if message != "to-block":
                ws.send("modified" if message == "to-modify" else message)

        ws.on_message(from_app)
        server.on_message(from_server)
        server.send("fake")
        routes.append(ws)

    stage.proxy.route_web_socket("**", handler)
    async with app() as client:
        server = await stage.connected()
        assert await server.recv() == "fake"
        for message in ("to-modify", "to-block", "pass-server"):
            await server.send(message)
        assert [await client.receive() for _ in range(2)] == ["modified", "pass-server"]
        for message in ("to-respond", "to-modify", "to-block", "pass-client"):
            await client.send(message)
        assert [await server.recv() for _ in range(2)] == ["modified", "pass-client"]
        assert await client.receive() == "response"
        routes[0].send("another")
        assert await client.receive() == "another"
        await client.send("pass-client-2")
        assert await server.recv() == "pass-client-2"
        await client.close(3009, "problem")
        await server.wait_closed()
        assert (server.close_code, server.close_reason) == (3009, "problem")


async def test_messages_of_the_app_are_changed_and_no_others(stage: Stage, app: App) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(lambda message: server.send("request2" if message == "request" else message))

    stage.proxy.route_web_socket("**", handler)
    async with app() as client:
        server = await stage.connected()
        await client.send("request")
        assert await server.recv() == "request2"
        await server.send("request")
        assert await client.receive() == "request"


async def test_mock_answers_some_messages_speaks_by_itself_and_closes(stage: Stage, app: App) -> None:
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.on_message(lambda message: ws.send("response") if message == "to-respond" else None)
        routes.append(ws)

    stage.proxy.route_web_socket("**", handler)
    async with app() as client:
        for message in ("to-respond", "to-block", "to-respond"):
            await client.send(message)
        assert [await client.receive() for _ in range(2)] == ["response", "response"]
        routes[0].send("another")
        routes[0].close(code=3008, reason="oops")
        assert await client.receive() == "another"
        assert await client.closed() == (3008, "oops")


async def test_mock_speaks_json(stage: Stage, app: App) -> None:
    def answer(ws: WebSocketRoute, message: Message) -> None:
        if json.loads(message)["request"] == "question":
            ws.send(json.dumps({"response": "answer"}))

    stage.proxy.route_web_socket("**", lambda ws: ws.on_message(lambda message: answer(ws, message)))
    async with app() as client:
        await client.send('{"request": "nothing"}')
        await client.send('{"request": "question"}')
        assert json.loads(await client.receive()) == {"response": "answer"}


async def test_app_that_leaves_is_told_to_a_route_that_asks_late(stage: Stage, app: App) -> None:
    routes: list[WebSocketRoute] = []
    left: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        routes.append(ws)

    stage.proxy.route_web_socket("**", handler)
    async with app() as client:
        routes[0].send("hello")
        assert await client.receive() == "hello"
        routes[0].on_close(lambda code, reason: left.set_result(code))
        await client.leave()
        assert await left in (1001, 1006)
        routes[0].send("hello")  # to nobody


async def test_newest_route_wins_and_its_newest_handler(stage: Stage, app: App) -> None:
    def mocking(*answers: str) -> Callable[[WebSocketRoute], None]:
        def handler(ws: WebSocketRoute) -> None:
            for answer in answers:
                ws.on_message(lambda message, answer=answer: ws.send(answer))

        return handler

    stage.proxy.route_web_socket("**", mocking("oldest-1", "oldest-2"))
    stage.proxy.route_web_socket("**/mock", mocking("older"))
    stage.proxy.route_web_socket("**/mock", mocking("newest"))
    for path, answer in (("/mock", "newest"), ("/ws", "oldest-2")):
        async with app(path) as client:
            await client.send("request")
            assert await client.receive() == answer


async def test_handler_that_does_nothing_opens_a_socket_that_swallows(stage: Stage, app: App) -> None:
    routes: list[WebSocketRoute] = []
    stage.proxy.route_web_socket("**", routes.append)
    async with app() as client:
        await client.send("hi")
        await client.send("hi2")
        routes[0].send("the first message")
        assert await client.receive() == "the first message"


async def test_connecting_twice_is_an_error(stage: Stage, app: App) -> None:
    raised: list[str] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        try:
            ws.connect_to_server()
        except Error as error:
            raised.append(error.message)

    stage.proxy.route_web_socket("**", handler)
    async with app() as client:
        server = await stage.connected()
        await client.send("still here")
        assert await server.recv() == "still here"
    assert raised == ["Already connected to the server"]


async def test_url_without_a_path_matches_one_without_a_path(stage: Stage, app: App) -> None:
    stage.proxy.route_web_socket(stage.url, lambda ws: ws.on_message(lambda message: ws.send("response")))
    async with app("") as client:
        await client.send("query")
        assert await client.receive() == "response"


@pytest.mark.parametrize("protocols", [[], ["chat.v1"], ["chat.v2", "chat.v1"]])
async def test_both_sides_of_a_route_know_what_the_app_asked_for(
    stage: Stage, app: App, protocols: list[str]
) -> None:
    sides: list[WebSocketRoute] = []
    stage.proxy.route_web_socket("**", lambda ws: sides.extend([ws, ws.connect_to_server()]))
    async with app("/ws", *protocols):
        pass
    assert [(side.url, side.protocols) for side in sides] == [(f"{stage.url}/ws", protocols)] * 2


async def test_each_side_closes_when_the_other_does_unless_a_handler_decides(stage: Stage, app: App) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        server.on_close(lambda code, reason: ws.close(code=3000 + code - 3100, reason=f"{reason}!"))

    stage.proxy.route_web_socket("**/mock", handler)
    async with app("/mock") as client:
        closing = asyncio.ensure_future((await stage.connected()).close(3109, "enough"))
        assert await client.closed() == (3009, "enough!")
        await closing
