"""Routes that meddle with compressed messages, whose windows hold what came before (RFC 7692, 7.1.1)."""

import asyncio
import zlib

import pytest
import websockets
from hypothesis import HealthCheck, example, given, settings
from mitmproxy import ctx, http
from websockets.asyncio.server import ServerConnection

from support.clients import Message
from support.event_log import Recording
from support.frames import Peer
from support.raw_peers import raw_socket
from support.route_plans import Plan, expected, plans, received, size
from support.routes import app
from support.servers import serving
from wirewright import Proxy, WebSocketRoute
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode

pytestmark = pytest.mark.wire("mitmproxy's layer cuts large messages up, and takes several seconds for these")

Connection = websockets.ClientConnection | ServerConnection


async def say(connection: Connection, messages: list[Message]) -> None:
    for number, message in enumerate(messages):
        if number % 7 == 3:  # in fragments
            half = len(message) // 2
            await connection.send([message[:half], message[half:]])
        else:
            await connection.send(message)


async def hear(connection: Connection, count: int, enough: asyncio.Event) -> list[Message]:
    """All that comes until the socket is closed; `enough` is set after so many."""
    messages: list[Message] = []
    if not count:
        enough.set()
    async for message in connection:
        messages.append(message)
        if len(messages) >= count:
            enough.set()
    return messages


@pytest.mark.once("random messages try our own codec")
@given(plans)
@example(Plan(0, 10_000, handles_app=True, handles_server=True))
@example(Plan(1, 3_000, handles_app=True, handles_server=False))
@example(Plan(2, 3_000, handles_app=False, handles_server=True))
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_both_ends_get_just_what_the_route_meant(proxy: Proxy, plan: Plan) -> None:
    seen: list[Recording] = []
    proxy.once("websocket", lambda ws: seen.append(Recording(ws)))
    for_app, for_server = expected(plan.app, plan.server), expected(plan.server, plan.app)
    heard: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
    app_has, server_has = asyncio.Event(), asyncio.Event()

    async def serve(connection: ServerConnection) -> None:
        saying = asyncio.ensure_future(say(connection, [step.message for step in plan.server]))
        heard.set_result(await hear(connection, size(for_server), server_has))
        await saying

    proxy.unroute_web_socket("**")
    proxy.route_web_socket("**", plan.handle)
    async with serving(serve) as url, app(proxy, url, max_size=None) as connection:
        assert connection.response is not None
        agreed = connection.response.headers["Sec-WebSocket-Extensions"]
        assert "permessage-deflate" in agreed
        assert "no_context_takeover" not in agreed
        hearing = asyncio.ensure_future(hear(connection, size(for_app), app_has))
        await say(connection, [step.message for step in plan.app])
        await app_has.wait()
        await server_has.wait()
        await connection.close()
        assert received(await hearing) == for_app
        assert received(await heard) == for_server
    await seen[0].closed.wait()
    assert [payload for event, payload in seen[0].frames if event == "framesent"] == heard.result()


@pytest.mark.parametrize("chosen", [(True, False), (False, True), (True, True)], ids=str)
async def test_message_goes_on_compressed_where_its_direction_is_held(
    proxy: Proxy, chosen: tuple[bool, bool]
) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        for is_chosen, source, destination in zip(chosen, (ws, server), (server, ws), strict=True):
            if is_chosen:
                source.on_message(destination.send)

    proxy.unroute_web_socket("**")
    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port, extensions="permessage-deflate") as socket:
        for source, destination in socket.legs():
            peer = Peer(compression=Compression())
            for text in ("short", "", "long " * 1000):
                await source.write(source.encode(Opcode.TEXT, peer.deflate(text.encode()), rsv1=True))
                frame = await destination.frame()
                assert frame.rsv1
                inflated = zlib.decompressobj(wbits=-15).decompress(frame.payload + b"\0\0\xff\xff")
                assert inflated.decode() == text


class Looking:
    """An addon that might change messages, and so has them held."""

    def websocket_message(self, flow: http.HTTPFlow) -> None: ...


async def test_addon_that_looks_at_messages_leaves_each_as_compressed_as_it_came(proxy: Proxy) -> None:
    proxy.unroute_web_socket("**")
    ctx.master.addons.add(Looking())
    async with raw_socket(proxy.port, extensions="permessage-deflate") as socket:
        for source, destination in socket.legs():
            packed = Peer(compression=Compression()).deflate(b"short")
            await source.write(
                source.encode(Opcode.TEXT, packed, rsv1=True), source.encode(Opcode.TEXT, b"plain " * 1000)
            )
            assert [(await destination.frame()).rsv1 for _ in range(2)] == [True, False]


async def test_message_of_ours_into_a_direction_that_passes_is_not_compressed(proxy: Proxy) -> None:
    sides: list[WebSocketRoute] = []

    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(server.send)
        sides.extend([ws, server])

    proxy.unroute_web_socket("**")
    proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port, extensions="permessage-deflate") as socket:
        sides[0].send("to the app")
        sides[1].send("to the server")
        app_got, server_got = await socket.app.frame(), await socket.server.frame()
        assert (app_got.rsv1, app_got.payload) == (False, b"to the app")
        assert server_got.rsv1


async def test_route_that_asks_for_no_compression_has_none(proxy: Proxy) -> None:
    proxy.unroute_web_socket("**")
    headers = {"Sec-WebSocket-Extensions": None}
    proxy.route_web_socket("**", lambda ws: ws.connect_to_server(headers=headers))
    async with serving() as url, app(proxy, url) as connection:
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers
        await connection.send("as it is")
        assert await connection.recv() == "as it is"
