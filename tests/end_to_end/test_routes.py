"""Routes: Playwright's scenarios, with real apps behind a real proxy."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

import wirewright
from support.clients import CLIENTS, Connect, Message, Wish
from support.raw import raw_socket
from support.recording import Recordings
from support.servers import serving
from wirewright import Error, Proxy, WebSocketRoute, launch
from wirewright.wire.frames import Opcode

NOWHERE = "nowhere.invalid"
"""A host that no name server knows."""

pytestmark = pytest.mark.wire("a route needs our layer")


@pytest.fixture
def recordings(proxy: Proxy) -> Recordings:
    return Recordings(proxy)


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest) -> Connect:
    chosen: Connect = request.param
    return chosen


@contextlib.asynccontextmanager
async def app(proxy: Proxy, url: str, **options: Any) -> AsyncIterator[websockets.ClientConnection]:
    """An app's socket through the proxy."""
    async with websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}", **options) as connection:
        yield connection


async def closed(connection: websockets.ClientConnection) -> tuple[int, str]:
    """How an app's socket has ended, once it has."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await connection.recv()
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


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
    assert [payload for _, payload in recordings.only.frames] == ["ab", "ab"]


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
    seen = recordings.only
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
    assert recordings.only.frames == [("framesent", "hello")]


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
    await recordings.only.closed.wait()
    assert recordings.only.frames == [("framereceived", "last words")]
    assert recordings.only.ws.closed_by == "proxy"


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


# Real servers


@pytest.mark.parametrize("compress", [True, False])
async def test_messages_are_forwarded_until_they_are_handled(
    proxy: Proxy, connect: Connect, recordings: Recordings, compress: bool
) -> None:
    proxy.route_web_socket("**", lambda ws: ws.connect_to_server())
    messages: list[Message] = ["text é", b"\x00\xff", "long " * 1000, ""]
    async with serving() as url, connect(proxy, url, Wish(compress=compress)) as client:
        for message in messages:
            await client.send(message)
            assert await client.receive() == message
    assert [payload for _, payload in recordings.only.frames] == [m for m in messages for _ in range(2)]


@pytest.mark.parametrize("compress", [True, False])
async def test_messages_of_both_sides_are_changed_dropped_and_added(
    proxy: Proxy, connect: Connect, recordings: Recordings, compress: bool
) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        def from_app(message: Message) -> None:
            if message == "both":
                ws.send("from the route")
                server.send("first")
            if message != "drop":
                server.send(f"{message!s}?")

        ws.on_message(from_app)
        server.on_message(lambda message: ws.send(f"{message!s}!"))

    proxy.route_web_socket("**", handler)
    async with serving() as url, connect(proxy, url, Wish(compress=compress)) as client:
        for message in ("drop", "one", "both", "é" * 2000):
            await client.send(message)
        answers = [await client.receive() for _ in range(5)]
    answers.remove("from the route")  # it need not wait for the server's answers
    assert answers == ["one?!", "first!", "both?!", "é" * 2000 + "?!"]
    # The server's side: what it was sent, and what it sent.
    sent = ["one?", "first", "both?", "é" * 2000 + "?"]
    for event in ("framesent", "framereceived"):
        assert [payload for name, payload in recordings.only.frames if name == event] == sent


@pytest.mark.parametrize("held", [True, False])
async def test_what_is_sent_from_outside_is_reported_and_what_the_route_sends_the_app_is_not(
    proxy: Proxy, recordings: Recordings, held: bool
) -> None:
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        if held:
            server.on_message(ws.send)
        routes.append(ws)

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        recordings.only.ws.send_to_client("from outside")
        routes[0].send("from the route")
        assert [await socket.app.message(), await socket.app.message()] == ["from outside", "from the route"]
        assert recordings.only.frames == [("framereceived", "from outside")]
        assert [m.text for m in recordings.only.ws.flow.websocket.messages] == [
            "from outside",
            "from the route",
        ]


async def test_what_is_sent_before_the_socket_is_open_arrives_first_and_in_order(proxy: Proxy) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        for number in range(3):
            server.send(f"server {number}")
            ws.send(f"app {number}")

    proxy.route_web_socket("**", handler)
    async with serving() as url, app(proxy, url) as connection:
        await connection.send("end")
        received = [await connection.recv() for _ in range(7)]
    assert [text for text in received if "app" in str(text)] == ["app 0", "app 1", "app 2"]
    assert [text for text in received if "app" not in str(text)] == [
        "server 0",
        "server 1",
        "server 2",
        "end",
    ]


def answer(ws: WebSocketRoute, text: str, _: Message) -> None:
    ws.send(text)


async def test_later_handler_replaces_the_earlier_one(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    proxy.route_web_socket("**", routes.append)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        (ws,) = routes
        for name in ("one", "two"):
            ws.on_message(partial(answer, ws, name))
            await connection.send("?")
            assert await connection.recv() == name


async def test_async_handlers_run_in_the_order_of_the_messages_and_hold_up_nothing_else(proxy: Proxy) -> None:
    go_on = asyncio.Event()

    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        async def slowly(message: Message) -> None:
            await go_on.wait()
            server.send(message)

        ws.on_message(slowly)

    proxy.route_web_socket("**/slow", handler)
    async with raw_socket(proxy.port, path="/slow") as slow, raw_socket(proxy.port) as other:
        for text in ("one", "two", "three"):
            await slow.app.send(text)
        await slow.app.write(slow.app.encode(Opcode.PING, b"?"))
        assert (await slow.server.frame()).opcode == Opcode.PING
        await slow.server.send("the other direction")
        assert await slow.app.message() == "the other direction"
        await other.app.send("another socket")
        assert await other.server.message() == "another socket"
        go_on.set()
        assert [await slow.server.message() for _ in range(3)] == ["one", "two", "three"]


async def test_headers_of_the_handshake_are_changed(proxy: Proxy, recordings: Recordings) -> None:
    headers = {"Sec-WebSocket-Extensions": None, "Authorization": "Bearer token"}
    proxy.route_web_socket("**", lambda ws: ws.connect_to_server(headers=headers))
    async with serving() as url, app(proxy, url, additional_headers={"Authorization": "none"}) as connection:
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers
    asked = recordings.only.ws.request_headers
    assert asked["authorization"] == "Bearer token"
    assert "sec-websocket-extensions" not in asked


# The end


async def test_close_of_the_app_closes_the_server_and_the_other_way_round(proxy: Proxy) -> None:
    proxy.route_web_socket("**", lambda ws: ws.connect_to_server().on_message(lambda _: None))
    async with raw_socket(proxy.port) as socket:
        await socket.app.send_close(3000, "app")
        assert await socket.server.ending() == (3000, "app")
    async with raw_socket(proxy.port) as socket:
        await socket.server.send_close(3001, "server")
        assert await socket.app.ending() == (3001, "server")


async def test_close_of_the_app_that_is_handled_is_answered_and_goes_no_further(
    proxy: Proxy, recordings: Recordings
) -> None:
    ended: list[tuple[int, str]] = []
    servers: list[Any] = []

    def handler(ws: WebSocketRoute) -> None:
        servers.append(ws.connect_to_server())
        ws.on_close(lambda code, reason: ended.append((code, reason)))

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        await socket.app.send_close(3000, "bye")
        assert await socket.app.ending() == (3000, "bye")
        assert ended == [(3000, "bye")]
        servers[0].send("still here")
        assert await socket.server.message() == "still here"
        servers[0].close(3001, "now you")
        assert await socket.server.ending() == (3001, "now you")
        await socket.server.send_close(3001)
        await recordings.only.closed.wait()
    assert recordings.only.ws.close_code == 3000


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "closed"])
async def test_end_of_the_server_that_is_handled_leaves_the_app_to_the_route(
    proxy: Proxy, lost: bool
) -> None:
    ended: list[tuple[int, str]] = []
    told = asyncio.Event()

    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        def on_close(code: int, reason: str) -> None:
            ended.append((code, reason))
            ws.send("the server has gone")
            told.set()

        server.on_close(on_close)
        ws.on_message(lambda message: ws.send(f"mock {message!s}"))

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        if lost:
            socket.server.hang_up()
        else:
            await socket.server.send_close(3001, "bye")
            assert await socket.server.ending() == (3001, "bye")
            socket.server.hang_up()
        await told.wait()
        assert ended == [(1006, "") if lost else (3001, "bye")]
        assert await socket.app.message() == "the server has gone"
        await socket.app.send("hello")
        assert await socket.app.message() == "mock hello"
        await socket.app.send_close(3000)
        assert await socket.app.ending() == (3000, "")


async def test_server_that_is_lost_is_lost_to_the_app(proxy: Proxy) -> None:
    proxy.route_web_socket("**", lambda ws: ws.connect_to_server().on_message(ws.send))
    async with raw_socket(proxy.port) as socket:
        await socket.server.send("last words")
        socket.server.hang_up()
        assert await socket.app.message() == "last words"
        assert await socket.app.ending() == (1006, "")


@pytest.mark.parametrize("side", ["app", "server"])
async def test_side_that_the_route_closes_closes_the_other_by_its_answer(proxy: Proxy, side: str) -> None:
    routes: dict[str, Any] = {}

    def handler(ws: WebSocketRoute) -> None:
        routes.update(app=ws, server=ws.connect_to_server())

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        closed, other = (socket.app, socket.server) if side == "app" else (socket.server, socket.app)
        routes[side].close(3000, "from the route")
        assert await closed.ending() == (3000, "from the route")
        await closed.send_close(3000, "answered")
        assert await other.ending() == (3000, "answered")


async def test_server_that_refuses_is_told_to_the_route_and_to_the_app(
    proxy: Proxy, recordings: Recordings
) -> None:
    ended: list[tuple[int, str]] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server().on_close(lambda code, reason: ended.append((code, reason)))

    async def refuse(connection: ServerConnection, request: object) -> Any:
        return connection.respond(403, "no\n")

    proxy.route_web_socket("**", handler)
    async with websockets.serve(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(InvalidStatus) as refused:
            await app(proxy, f"ws://127.0.0.1:{port}/").__aenter__()
    assert refused.value.response.status_code == 403
    assert ended == [(1006, "")]
    seen = recordings.only
    assert seen.events == [
        ("socketerror", "Error during WebSocket handshake: Unexpected response code: 403"),
        ("close", None),
    ]
    assert seen.ws.closed_by == "server"


# What a proxy can do and a page cannot


async def test_handshake_is_rejected(proxy: Proxy, recordings: Recordings) -> None:
    proxy.route_web_socket("**", lambda ws: ws.reject(429, {"Retry-After": "7"}, "slow down\n"))
    with pytest.raises(InvalidStatus) as rejected:
        await app(proxy, f"ws://{NOWHERE}/").__aenter__()
    response = rejected.value.response
    assert (response.status_code, response.headers["Retry-After"], response.body) == (
        429,
        "7",
        b"slow down\n",
    )
    seen = recordings.only
    assert seen.events[0] == (
        "socketerror",
        "Error during WebSocket handshake: Unexpected response code: 429",
    )
    assert (seen.ws.status, seen.ws.closed_by) == (429, "proxy")


async def test_connections_are_cut(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        routes.append(ws)

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        routes[0].abort()
        assert [await socket.app.rest(), await socket.server.rest()] == [b"", b""]


async def test_handshake_is_cut(proxy: Proxy) -> None:
    proxy.route_web_socket("**", lambda ws: ws.abort())
    with pytest.raises((EOFError, OSError, websockets.WebSocketException)):
        await app(proxy, f"ws://{NOWHERE}/").__aenter__()


# Mistakes


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
    assert recordings.only.ws.route_errors == 1


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
    assert recordings.only.ws.route_errors == 1
    assert "ValueError: a bad message" in caplog.text


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
    assert [seen.ws.route_errors for seen in recordings.all] == [1, 1]


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


async def test_async_handler_is_told_that_the_server_refused(proxy: Proxy, recordings: Recordings) -> None:
    told = asyncio.Event()

    async def on_close(code: int, reason: str) -> None:
        await asyncio.sleep(0)
        told.set()

    proxy.route_web_socket("**", lambda ws: ws.connect_to_server().on_close(on_close))
    with pytest.raises(InvalidStatus):
        await app(proxy, "ws://127.0.0.1:1/").__aenter__()
    await told.wait()
    assert recordings.only.events[-1] == ("close", None)


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
        await recordings.only.closed.wait()
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


async def test_answered_handshake_is_decided(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    proxy.route_web_socket("**", routes.append)
    async with app(proxy, f"ws://{NOWHERE}/"):
        for decide in (routes[0].connect_to_server, lambda: routes[0].reject(403)):
            with pytest.raises(Error, match="before the route's handler returns"):
                decide()


async def test_lane_that_cannot_route_says_so(confdir: Path) -> None:
    async with launch(port=0, confdir=confdir, options={"ws_lane": "hooks"}) as proxy:
        with pytest.raises(Error, match="ws_lane is hooks, and must be auto"):
            proxy.route_web_socket("**", lambda ws: None)


async def test_route_goes_with_its_proxy(confdir: Path) -> None:
    async with launch(port=0, confdir=confdir) as proxy:
        proxy.route_web_socket("**", lambda ws: ws.reject(403))
    async with launch(port=0, confdir=confdir) as proxy, raw_socket(proxy.port) as socket:
        await socket.app.send("not routed")
        assert await socket.server.message() == "not routed"
