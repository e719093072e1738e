"""Faults at any time, without a route that was set before: closes of one side, conditions, cuts, resets."""

import asyncio
import select
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from support.clients import Connect, Wish
from support.event_log import Recordings, eventually
from support.frames import Peer
from support.raw_peers import RawEnd, RawSocket, asking, raw_socket
from support.routes import NOWHERE, app, closed
from support.servers import serving, serving_raw
from support.time_limits import STEP_MILLISECONDS
from wirewright import Error, Proxy, WebSocket, WebSocketRoute, expect
from wirewright.mitm.flow_socket import proxyserver
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode

pytestmark = pytest.mark.remote

wire_alone = pytest.mark.wire("mitmproxy's own layer closes both sides at once, and delays nothing")
CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999)


@pytest.fixture
async def socket(proxy: Proxy, recordings: Recordings) -> AsyncIterator[RawSocket]:
    """An open socket that nobody routes."""
    async with raw_socket(proxy.port) as opened:
        yield opened


@pytest.fixture
async def ws(socket: RawSocket, recordings: Recordings) -> WebSocket:
    """The same, as the proxy's user has it."""
    ws = (await recordings.first()).ws
    await ws.wait_for_open()
    return ws


def ending(ws: WebSocket) -> tuple[int | None, str | None, str | None]:
    return ws.close_code, ws.close_reason, ws.closed_by


async def answer_close(end: RawEnd) -> tuple[int, str]:
    """The close frame of an end, which it answers with a code of its own."""
    code, reason = await end.ending()
    await end.send_close(4000, "answer")
    return code, reason


# Closing


@pytest.mark.parametrize("code", CODES)
async def test_every_code_of_a_close_frame_reaches_both_sides(
    socket: RawSocket, ws: WebSocket, code: int
) -> None:
    await ws.close(code, "fault")
    assert await answer_close(socket.app) == await answer_close(socket.server) == (code, "fault")
    await expect(ws).to_be_closed(code=code, reason="fault")
    assert ws.closed_by == "proxy"


@wire_alone
@pytest.mark.parametrize("to", ["client", "server"])
async def test_one_side_is_closed_and_then_the_other_with_the_same_code(
    socket: RawSocket, ws: WebSocket, to: Any
) -> None:
    first, second = (socket.app, socket.server) if to == "client" else (socket.server, socket.app)
    await ws.close(1011, "restart", to=to)
    assert await first.ending() == (1011, "restart")
    await first.send("last words")
    assert await second.message() == "last words"
    await first.send_close(4000, "answer")
    assert await answer_close(second) == (1011, "restart")
    assert [await first.rest(), await second.rest()] == [b"", b""]
    await expect(ws).to_be_closed(code=1011, reason="restart")
    assert ws.closed_by == "proxy"


@wire_alone
async def test_side_that_does_not_answer_delays_the_other_for_a_moment(
    socket: RawSocket, ws: WebSocket
) -> None:
    await ws.close(1012, to="client")
    assert await socket.server.ending() == (1012, "")
    assert await socket.app.ending() == (1012, "")
    assert await socket.app.rest() == b""


@wire_alone
async def test_each_side_may_be_closed_with_a_code_of_its_own(socket: RawSocket, ws: WebSocket) -> None:
    await ws.close(1011, "restart", to="client")
    await ws.close(1001, to="server")
    assert await answer_close(socket.app) == (1011, "restart")
    assert await answer_close(socket.server) == (1001, "")
    await expect(ws).to_be_closed(code=1011)


@wire_alone
async def test_side_is_closed_in_the_middle_of_a_message(socket: RawSocket, ws: WebSocket) -> None:
    begun = socket.server.encode(Opcode.TEXT, b"be", fin=False)
    await socket.server.write(begun)
    assert (await socket.app.frame()).payload == b"be"
    await ws.close(1011, to="client")
    assert await answer_close(socket.app) == (1011, "")
    assert await answer_close(socket.server) == (1011, "")


@wire_alone
async def test_side_is_closed_behind_what_a_handler_still_holds(proxy: Proxy, recordings: Recordings) -> None:
    may_answer = asyncio.Event()

    def handler(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        async def hold(message: str | bytes) -> None:
            await may_answer.wait()
            server.send(message)

        route.on_message(hold)

    await proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        ws = (await recordings.first()).ws
        await socket.app.send("held")
        await eventually(lambda: ws.opened_at is not None)
        await ws.close(1011, to="client")
        assert await answer_close(socket.app) == (1011, "")
        may_answer.set()
        assert await socket.server.message() == "held"
        assert await answer_close(socket.server) == (1011, "")


@wire_alone
async def test_on_close_keeps_the_other_side_open(proxy: Proxy, recordings: Recordings) -> None:
    def handler(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_close(lambda code, reason: route.send(f"the server said {code}"))

    await proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        ws = (await recordings.first()).ws
        await ws.wait_for_open()
        await ws.close(1001, to="server")
        assert await answer_close(socket.server) == (1001, "")
        assert await socket.app.message() == "the server said 4000"
        assert not ws.is_closed()


@wire_alone
async def test_mock_is_closed_towards_the_app_and_has_no_server(proxy: Proxy, recordings: Recordings) -> None:
    await proxy.route_web_socket("**", lambda route: route.send("welcome"))
    async with app(proxy, f"ws://{NOWHERE}/") as client:
        assert await client.recv() == "welcome"
        ws = (await recordings.first()).ws
        await eventually(lambda: ws.opened_at is not None)
        with pytest.raises(Error, match=r"needs a server, and this socket has none: it is mocked$"):
            await ws.close(1011, to="server")
        await ws.close(1011, "restart", to="client")
        assert await closed(client) == (1011, "restart")


# Conditions


@wire_alone
@pytest.mark.parametrize("extensions", ["", "permessage-deflate"])
async def test_socket_that_nobody_routes_is_offline_and_goes_on(
    proxy: Proxy, recordings: Recordings, extensions: str
) -> None:
    compression = Compression(takeover=True) if extensions else None
    async with raw_socket(proxy.port, extensions=extensions) as socket:
        ws = (await recordings.first()).ws
        await ws.wait_for_open()
        peers = Peer(client=True, compression=compression), Peer(compression=compression)
        legs = list(zip(socket.legs(), peers, strict=True))
        readers = [peer.reader() for peer in peers]

        async def pass_on(number: int, text: str) -> None:
            """A message that refers to the earlier ones of its direction, if it is compressed."""
            (source, _), peer = legs[number]
            await source.write(peer.compressed(text) if compression else peer.text(text))

        async def arrived(number: int) -> object:
            (_, destination), _ = legs[number]
            before = len(destination.received)
            await destination.frame()
            (message,) = readers[number].feed(destination.received[before:])
            return getattr(message, "payload", message)

        for number in (0, 1):
            await pass_on(number, "before and again")
            assert await arrived(number) == "before and again"
        await ws.conditions("offline")
        for number in (0, 1):
            await pass_on(number, "before and again, stuck")
        await ws.conditions(duplicate=1)  # it has not arrived: now it arrives twice
        for number in (0, 0, 1, 1):
            assert await arrived(number) == "before and again, stuck"
        await ws.conditions()
        for number in (0, 1):
            await pass_on(number, "before and again, after")
            assert await arrived(number) == "before and again, after"
        assert not ws.is_closed()


@wire_alone
async def test_message_that_has_begun_is_finished_before_the_network_changes(
    socket: RawSocket, ws: WebSocket
) -> None:
    for source, destination in socket.legs():
        await source.write(source.encode(Opcode.TEXT, b"be", fin=False))
        assert (await destination.frame()).payload == b"be"
    await ws.conditions(stall_after=0)
    for source, destination in socket.legs():
        await source.write(source.encode(Opcode.CONTINUATION, b"gun"))
        assert (await destination.frame()).payload == b"gun"
        await source.send("stuck")
        await source.write(source.encode(Opcode.PING, b"?"))
    await ws.conditions()
    for _, destination in socket.legs():
        assert (await destination.frame()).payload == b"stuck"
        assert (await destination.frame()).opcode == Opcode.PING


@wire_alone
async def test_network_is_chosen_at_the_handshake_and_released_after_the_end(
    proxy: Proxy, recordings: Recordings
) -> None:
    proxy.on("websocket", lambda ws: ws.conditions("offline", direction="received"))
    async with raw_socket(proxy.port) as socket:
        seen = await recordings.first()
        await seen.ws.wait_for_open()
        await seen.ws.conditions("offline", direction="received")
        await socket.server.send("last words")
        await socket.server.send_close(3000, "gave up")
        socket.server.hang_up()
        await seen.closed.wait()
        assert seen.ws.close_code == 3000
        await seen.ws.conditions()
        assert await socket.app.message() == "last words"
        assert await socket.app.ending() == (3000, "gave up")
        assert await socket.app.rest() == b""


@wire_alone
async def test_plan_takes_the_network_away_and_gives_it_back(socket: RawSocket, ws: WebSocket) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await ws.conditions(plan=[(0, "offline"), (0.3, {"latency": 1})], direction="sent")
    await socket.app.send("stuck")
    await socket.server.send("in time")
    assert await socket.app.message() == "in time"
    assert await socket.server.message() == "stuck"
    assert loop.time() - began >= 0.3


@wire_alone
async def test_route_and_its_socket_share_one_network(proxy: Proxy, recordings: Recordings) -> None:
    routes: list[WebSocketRoute] = []

    def handler(route: WebSocketRoute) -> None:
        route.connect_to_server()
        route.conditions(plan=[(0, "offline"), (60, "3g")])
        routes.append(route)

    await proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        await socket.app.send("stuck")
        ws = (await recordings.first()).ws
        await ws.wait_for_open()
        await ws.conditions()
        assert await socket.server.message() == "stuck"
        routes[0].conditions(duplicate=1, direction="sent")
        await ws.conditions(direction="received")  # an answer: the proxy knows of the one before
        await socket.app.send("twice")
        assert [await socket.server.message() for _ in range(2)] == ["twice", "twice"]


@wire_alone
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_mock_is_put_under_conditions_from_outside(
    proxy: Proxy, connect: Connect, recordings: Recordings, scheme: str
) -> None:
    await proxy.route_web_socket("**", lambda route: route.on_message(route.send))
    async with connect(proxy, f"{scheme}://{NOWHERE}/", Wish()) as client:
        await client.send("once")
        assert await client.receive() == "once"
        ws = (await recordings.first()).ws
        await ws.conditions(duplicate=1, direction="received")
        await client.send("twice")
        assert [await client.receive(), await client.receive()] == ["twice", "twice"]


# Cutting


async def is_reset(end: RawEnd) -> bool:
    """True if the connection of an end has ended by RST, False by FIN."""
    try:
        while await end._reader.read(65536):
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_both_sides_are_cut_by_a_fin_or_by_a_reset(socket: RawSocket, ws: WebSocket, how: Any) -> None:
    await ws.abort(how)
    assert [await is_reset(socket.app), await is_reset(socket.server)] == [how == "rst"] * 2
    await expect(ws).to_be_closed(code=1006, reason="abort() was called")
    assert ending(ws) == (1006, "abort() was called", "proxy")


@pytest.mark.wire("mitmproxy's own layer takes seconds to put the message together")
@pytest.mark.in_process("it looks at the proxy's buffers")
async def test_reset_does_not_wait_for_an_app_that_does_not_read(socket: RawSocket, ws: WebSocket) -> None:
    socket.app.writer.transport.pause_reading()  # type: ignore[attr-defined]
    socket.server.writer.write(socket.server.encode(Opcode.BINARY, bytes(32_000_000)))
    (handler,) = proxyserver().connections.values()
    to_app: Any = handler.transports[handler.client].writer
    await eventually(lambda: to_app.transport.get_write_buffer_size() > 0)
    poll = select.poll()
    poll.register(socket.app.writer.get_extra_info("socket").fileno(), 0)
    await ws.abort("rst")
    ((_, events),) = await asyncio.to_thread(poll.poll, STEP_MILLISECONDS)
    assert events & select.POLLERR
    assert await is_reset(socket.server)
    await expect(ws).to_be_closed(code=1006)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_app_of_any_kind_is_reset(
    proxy: Proxy, connect: Connect, recordings: Recordings, certificates: Any, scheme: str
) -> None:
    tls = certificates.server_context if scheme == "wss" else None
    async with serving(tls=tls) as url, connect(proxy, url, Wish()) as client:
        await client.send("a")
        assert await client.receive() == "a"
        await (await recordings.first()).ws.abort("rst")
        assert (await client.closed())[0] == 1006


async def test_route_resets_an_open_socket(proxy: Proxy, recordings: Recordings) -> None:
    routes: list[WebSocketRoute] = []

    def handler(route: WebSocketRoute) -> None:
        route.connect_to_server()
        routes.append(route)

    await proxy.route_web_socket("**", handler)
    async with raw_socket(proxy.port) as socket:
        await (await recordings.first()).ws.wait_for_open()
        routes[0].abort("rst")
        assert [await is_reset(socket.app), await is_reset(socket.server)] == [True, True]


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_route_resets_a_handshake(proxy: Proxy, recordings: Recordings, how: Any) -> None:
    await proxy.route_web_socket("**", lambda route: route.abort(how))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(asking(f"http://{NOWHERE}/", NOWHERE))
        assert await is_reset(RawEnd(reader, writer, masks=True, headers="")) is (how == "rst")
    finally:
        writer.close()
    seen = await recordings.first()
    await seen.closed.wait()
    assert seen.events[0][0] == "socketerror"
    assert seen.ws.close_reason == "aborted by a route"


async def test_reset_needs_a_connection_of_the_operating_system(
    proxy: Proxy, socket: RawSocket, ws: WebSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio.StreamWriter, "get_extra_info", lambda *_: None)  # as mitmproxy_rs.Stream
    with pytest.raises(Error, match=r"^how='rst' is not possible: the app's traffic is captured"):
        await ws.abort("rst")
    monkeypatch.undo()
    await socket.app.send("goes on")
    assert await socket.server.message() == "goes on"


# Reconnecting


async def test_app_that_reconnects_is_found(proxy: Proxy) -> None:
    async with serving() as url:
        async with app(proxy, f"{url}/live") as client:
            await client.send("a")
            await client.recv()
            (ws,) = proxy.web_sockets
            await ws.abort("rst")
            assert (await closed(client))[0] == 1006
        async with app(proxy, f"{url}/other"), app(proxy, f"{url}/live") as again:
            reopened = await expect(proxy).to_reconnect("**/live")
            await again.send("b")
            assert (await reopened.next_frame(direction="received")).payload == "b"
            assert reopened is not ws


async def test_failed_reconnection_is_told(proxy: Proxy) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with serving() as url, app(proxy, f"{url}/live") as client:
        await client.send("a")
        await client.recv()
        await proxy.web_sockets[0].close(1012, "restart")
        assert await closed(client) == (1012, "restart")
    async with serving_raw(refuse) as url:
        with pytest.raises(InvalidStatus):
            async with app(proxy, f"{url}/live"):
                pass
        with pytest.raises(AssertionError) as caught:
            await expect(proxy).to_reconnect("**/live", within=100)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("within 100ms, but no socket that it has requested since is open")
    assert lines[1].endswith("/live, closed 1012 'restart' by proxy")
    assert lines[3].endswith("Unexpected response code: 503)")
