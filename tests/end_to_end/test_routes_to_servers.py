"""Routes of real apps to real servers: what passes, and who ends it."""

import asyncio
from functools import partial
from typing import Any

import pytest
import websockets
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

from support.certificates import Certificates, trusting
from support.clients import Connect, Message, Wish
from support.event_log import Recordings, eventually
from support.ports import free_port
from support.raw_peers import raw_socket
from support.routes import NOWHERE, app
from support.servers import serving
from wirewright import Proxy, WebSocketRoute
from wirewright.wire.frames import Opcode

pytestmark = pytest.mark.remote

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
    seen = await recordings.first()
    await eventually(
        lambda: [payload for _, payload in seen.frames] == [m for m in messages for _ in range(2)]
    )


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
    seen = await recordings.first()
    events = await seen.until(2 * len(sent))
    for event in ("framesent", "framereceived"):
        assert [payload for name, payload in events if name == event] == sent


@pytest.mark.in_process("it looks at mitmproxy's flow")
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
        (await recordings.first()).ws.send_to_client("from outside")
        routes[0].send("from the route")
        assert [await socket.app.message(), await socket.app.message()] == ["from outside", "from the route"]
        assert (await recordings.first()).frames == [("framereceived", "from outside")]
        assert [m.text for m in (await recordings.first()).ws.flow.websocket.messages] == [
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


@pytest.mark.wire("a mock needs our layer")
@pytest.mark.in_process("elsewhere, a handler of an open socket is known a moment after it is set")
async def test_later_handler_replaces_the_earlier_one(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    proxy.route_web_socket("**", routes.append)
    async with app(proxy, f"ws://{NOWHERE}/") as connection:
        (ws,) = routes
        for name in ("one", "two"):
            ws.on_message(partial(answer, ws, name))
            await connection.send("?")
            assert await connection.recv() == name


@pytest.mark.wire("in mitmproxy's layer a hook holds up both directions")
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
    asked = (await recordings.first()).ws.request_headers
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


@pytest.mark.wire("on_close needs our layer")
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
        await eventually(lambda: ended == [(3000, "bye")])
        servers[0].send("still here")
        assert await socket.server.message() == "still here"
        servers[0].close(3001, "now you")
        assert await socket.server.ending() == (3001, "now you")
        await socket.server.send_close(3001)
        await (await recordings.first()).closed.wait()
    assert (await recordings.first()).ws.close_code == 3000


@pytest.mark.wire("on_close needs our layer")
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


@pytest.mark.wire("mitmproxy's layer closes both sides at once")
@pytest.mark.parametrize("side", ["app", "server"])
async def test_side_that_the_route_closes_closes_the_other_too(proxy: Proxy, side: str) -> None:
    routes: dict[str, Any] = {}

    def handler(ws: WebSocketRoute) -> None:
        routes.update(app=ws, server=ws.connect_to_server())

    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        closed, other = (socket.app, socket.server) if side == "app" else (socket.server, socket.app)
        routes[side].close(3000, "from the route")
        assert await closed.ending() == (3000, "from the route")
        await closed.send_close(3000, "answered")
        assert await other.ending() == (3000, "from the route")


@pytest.mark.wire("on_close needs our layer")
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
    await eventually(lambda: ended == [(1006, "")])
    seen = await recordings.first()
    assert await seen.until(2) == [
        ("socketerror", "Error during WebSocket handshake: Unexpected response code: 403"),
        ("close", None),
    ]
    assert seen.ws.closed_by == "server"


# What a proxy can do and a page cannot


@pytest.mark.in_process("it looks at mitmproxy's flow")
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("upstream", ["ws", "wss"])
async def test_handshake_goes_to_another_server(
    proxy: Proxy, certificates: Certificates, recordings: Recordings, scheme: str, upstream: str
) -> None:
    asked: list[tuple[str, str]] = []

    async def tell(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.append((connection.request.path, connection.request.headers["Host"]))
        await connection.send("the other one")
        await connection.wait_closed()

    tls = certificates.server_context if upstream == "wss" else None
    options = {"ssl": trusting(proxy.ca_certificate)} if scheme == "wss" else {}
    async with serving(tell, tls=tls) as url:
        # By its name, as it is the one that its certificate has.
        other = url.replace("127.0.0.1", "localhost")
        proxy.route_web_socket("**", lambda ws: ws.redirect(f"{other}/other?a=1"))
        async with app(proxy, f"{scheme}://{NOWHERE}/live", **options) as connection:
            assert await connection.recv() == "the other one"
    assert asked == [("/other?a=1", other.partition("://")[2])]
    seen = await recordings.first()
    assert seen.ws.url == f"{scheme}://{NOWHERE}/live"
    assert seen.frames == [("framereceived", "the other one")]
    assert seen.ws.flow.server_conn.sni == ("localhost" if upstream == "wss" else None)


async def test_server_that_is_not_there_refuses_what_is_redirected_to_it(
    proxy: Proxy, recordings: Recordings
) -> None:
    proxy.route_web_socket("**", lambda ws: ws.redirect(f"ws://127.0.0.1:{free_port()}/"))
    async with serving() as url:
        with pytest.raises(InvalidStatus) as refused:
            await app(proxy, url).__aenter__()
    assert refused.value.response.status_code == 502
    assert (await (await recordings.first()).until(2))[-1] == ("close", None)


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
    seen = await recordings.first()
    assert (await seen.until(2))[0] == (
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
