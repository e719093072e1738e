"""Contexts of a proxy with two ports and proxy users, and of apps at two addresses."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.server import ServerConnection

from support.certificates import Certificates, trusting
from support.devices import OPTIONS, Device, modes, ports
from support.servers import serving
from support.time_limits import STEP_SECONDS
from wirewright import Error, Proxy, WebSocket, WebSocketRoute, expect, launch
from wirewright.capture import open as open_capture

pytestmark = pytest.mark.remote


@pytest.fixture
async def launched(confdir: Path, certificates: Certificates, lane: str) -> AsyncIterator[Proxy]:
    """A proxy with two ports, at which apps log in."""
    trusted = {"ssl_verify_upstream_trusted_ca": str(certificates.ca_file)}
    options = {"ws_lane": lane, **trusted, **OPTIONS}
    async with launch(port=0, mode=modes(), confdir=confdir, options=options) as running:
        yield running


@pytest.fixture
def devices(launched: Proxy) -> list[Device]:
    """Each differs from the first in one respect."""
    first, second = ports()
    return [Device(first), Device(first, "bob"), Device(second), Device(first, address="127.0.0.2")]


async def open_all(
    stack: AsyncExitStack, url: str, devices: list[Device]
) -> list[websockets.ClientConnection]:
    """A socket of each device, whose path is the number of the device."""
    return [
        await stack.enter_async_context(each.socket(f"{url}/{number}")) for number, each in enumerate(devices)
    ]


def numbers(sockets: list[WebSocket]) -> list[int]:
    """The devices that sockets are of."""
    return [int(socket.url.rpartition("/")[2]) for socket in sockets]


async def say(connection: websockets.ClientConnection, message: str) -> object:
    """Send a message, and return the next one that comes."""
    await connection.send(message)
    async with asyncio.timeout(STEP_SECONDS):
        return await connection.recv()


async def test_sockets_tell_devices_apart(proxy: Proxy, devices: list[Device]) -> None:
    async with serving() as url, AsyncExitStack() as stack:
        for device in devices:
            async with proxy.expect_websocket() as opened:
                await stack.enter_async_context(device.socket(url))
            ws = await opened.value
            assert ws.client_address is not None
            seen = (ws.proxy_port, ws.proxy_user, ws.client_address[0])
            assert seen == (device.port, device.user, device.address)


async def test_context_sees_the_sockets_that_have_all_its_conditions(
    proxy: Proxy, devices: list[Device]
) -> None:
    first = devices[0]
    contexts = {
        proxy.context(user="bob"): [1],
        proxy.context(port=devices[2].port): [2],
        proxy.context(client="127.0.0.2"): [3],
        proxy.context(user="ann"): [0, 2, 3],
        proxy.context(user="ann", port=first.port, client="127.0.0.1"): [0],
        proxy.context(user="ann").context(client="127.0.0.1"): [0, 2],
        proxy.context(user="carol"): [],
    }
    seen: dict[Proxy, list[WebSocket]] = {context: [] for context in contexts}
    for context, sockets in seen.items():
        context.on("websocket", sockets.append)
    async with serving() as url, AsyncExitStack() as stack:
        async with proxy.expect_websocket("**/3", opened=True):
            connections = await open_all(stack, url, devices)
        for context, meant in contexts.items():
            assert numbers(context.web_sockets) == numbers(seen[context]) == meant, context
        late = proxy.context(user="bob")
        assert numbers(late.web_sockets) == [1]
        (ws,) = late.web_sockets
        async with ws.expect_event("framereceived") as frame:
            await connections[1].send("hello")
        assert await frame.value == "hello"


async def test_context_has_the_port_of_its_apps(proxy: Proxy, devices: list[Device]) -> None:
    assert proxy.port == proxy.context(user="ann").port == devices[0].port
    context = proxy.context(port=devices[2].port)
    assert context.port == context.context(user="ann").port == devices[2].port
    assert context.ca_certificate == proxy.ca_certificate


@pytest.mark.wire("mitmproxy's own layer cannot mock a server")
async def test_routes_of_a_context_are_for_its_sockets_and_come_first(
    proxy: Proxy, devices: list[Device]
) -> None:
    def answering(text: str) -> object:
        def handler(route: WebSocketRoute) -> None:
            route.on_message(lambda message: route.send(text))

        return handler

    bob = proxy.context(user="bob")
    inner = bob.context(client="127.0.0.1")
    mock = await inner.mock_web_socket("**/inner")
    mock.on().reply("inner")
    await bob.route_web_socket("**", answering("bob"))  # type: ignore[arg-type]
    await proxy.route_web_socket("**", answering("all"))  # type: ignore[arg-type]
    ann, bob_s = devices[:2]
    async with (
        ann.socket("ws://nowhere.invalid/inner") as one,
        bob_s.socket("ws://nowhere.invalid/inner") as two,
    ):
        assert await say(one, "?") == "all"
        assert await say(two, "?") == "inner"
        await inner.close()
        assert await say(two, "?") == "inner"  # open sockets keep their routes
    async with bob_s.socket("ws://nowhere.invalid/inner") as three:
        assert await say(three, "?") == "bob"
    await proxy.unroute_web_socket("**")
    async with bob_s.socket("ws://nowhere.invalid/inner") as four:
        assert await say(four, "?") == "bob"
    await bob.unroute_web_socket("**")
    async with serving() as url, bob_s.socket(url) as five:
        assert await say(five, "echo") == "echo"


async def changing(route: WebSocketRoute) -> None:
    server = route.connect_to_server()
    route.on_message(lambda message: server.send(f"changed {message!s}"))


async def test_rule_that_is_a_function_is_asked_for_the_sockets_of_its_context(
    proxy: Proxy, devices: list[Device]
) -> None:
    asked: list[str] = []

    def rule(url: str) -> bool:
        asked.append(url)
        return True

    async with proxy.context(user="bob") as bob, serving() as url:
        await bob.route_web_socket(rule, changing, times=1)
        async with devices[0].socket(f"{url}/0") as one, devices[1].socket(f"{url}/1") as two:
            assert await say(one, "a") == "a"
            assert await say(two, "a") == "changed a"
        async with devices[1].socket(f"{url}/1") as three:
            assert await say(three, "a") == "a"
    assert asked == [f"{url}/1"]


def recorded(path: Path) -> dict[str, list[object]]:
    """By the ends of the sockets' URLs, the messages from apps in a capture."""
    with open_capture(path) as capture:
        return {
            socket.url.rpartition("/")[2]: [
                frame.payload
                for frame in capture.frames(socket=socket.id)
                if frame.is_message and frame.direction == "sent"
            ]
            for socket in capture.sockets()
        }


async def test_contexts_and_the_proxy_record_at_the_same_time(
    proxy: Proxy, devices: list[Device], tmp_path: Path
) -> None:
    paths = {name: tmp_path / f"{name}.db" for name in ("all", "ann", "bob", "again")}
    ann, bob = proxy.context(user="ann"), proxy.context(user="bob")
    async with serving() as url, AsyncExitStack() as stack:
        connections = await open_all(stack, url, devices[:2])
        await ann.start_capture(paths["ann"])
        await proxy.start_capture(paths["all"])
        await bob.start_capture(paths["bob"], url="**/1*")
        await bob.annotate("a step of bob's")
        with pytest.raises(Error, match=r"a capture runs already: .*ann\.db"):
            await ann.start_capture(tmp_path / "other.db")
        for connection in connections:
            await say(connection, "one")
        await stack.enter_async_context(devices[1].socket(f"{url}/late"))
        await proxy.stop_capture()
        await ann.stop_capture()
        await ann.stop_capture()  # nothing happens
        with pytest.raises(Error, match="no capture runs"):
            await ann.annotate("too late")
        await ann.start_capture(paths["again"])
        for connection in connections:
            await say(connection, "two")
        await ann.close()
        await bob.close()
        for connection in connections:
            await say(connection, "three")
    assert recorded(paths["ann"]) == {"0": ["one"]}
    assert recorded(paths["all"]) == {"0": ["one"], "1": ["one"], "late": []}
    assert recorded(paths["bob"]) == {"1": ["one", "two"]}
    assert recorded(paths["again"]) == {"0": ["two"]}
    with open_capture(paths["bob"]) as capture:
        assert [each.text for each in capture.annotations()] == ["a step of bob's"]
        assert capture.sessions()[0].ended_ns is not None


async def test_one_file_is_written_by_one_context_at_a_time(proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    await proxy.context(user="ann").start_capture(path)
    with pytest.raises(Error, match="it is being written by another recorder"):
        await proxy.context(user="bob").start_capture(path)


@pytest.mark.wire("mitmproxy's own layer cannot mock a server")
async def test_recorded_server_is_played_to_the_sockets_of_a_context(
    proxy: Proxy, devices: list[Device], tmp_path: Path
) -> None:
    async def count(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"recorded {message!s}")

    path = tmp_path / "session.db"
    bob = proxy.context(user="bob")
    async with serving(count) as url:
        await bob.start_capture(path)
        async with devices[1].socket(f"{url}/live") as connection:
            assert await say(connection, "1") == "recorded 1"
        await bob.stop_capture()
    replay = bob.route_from_capture(path, url="**/live")
    await replay.started
    async with serving() as url:
        async with devices[0].socket(f"{url}/live") as connection:
            assert await say(connection, "1") == "1"
        async with devices[1].socket(f"{url}/live") as connection:
            assert await say(connection, "1") == "recorded 1"
        await bob.unroute_web_socket(replay.matches)
        async with devices[1].socket(f"{url}/live") as connection:
            assert await say(connection, "1") == "1"


async def test_end_of_the_proxy_ends_captures_of_contexts(confdir: Path, tmp_path: Path, lane: str) -> None:
    path = tmp_path / "session.db"
    async with launch(port=0, confdir=confdir, options={"ws_lane": lane, **OPTIONS}) as proxy:
        ann = proxy.context(user="ann")
        ann.start_capture(path)
        waiting = ann.wait_for_websocket()
        async with serving() as url, Device(proxy.port).socket(url) as connection:
            await say(connection, "one")
    assert (await waiting).is_closed()
    with open_capture(path) as capture:
        assert capture.sessions()[0].ended_ns is not None
        assert len(list(capture.frames())) >= 2
    with pytest.raises(Error, match=r"^Context closed$"):
        ann.on("websocket", print)


async def test_wait_on_a_context_ends_with_the_proxy(confdir: Path, lane: str) -> None:
    async with launch(port=0, confdir=confdir, options={"ws_lane": lane}) as proxy:
        waiting = proxy.context(user="ann").wait_for_websocket()
    with pytest.raises(Error, match=r"^Proxy closed$"):
        await waiting


@pytest.mark.parametrize(("password", "user"), [("secret", "ann"), ("wrong", None)])
async def test_user_of_a_request_without_a_connect_is_known_if_the_login_is_right(
    confdir: Path, lane: str, password: str, user: str | None
) -> None:
    options = {"ws_lane": lane, "proxyauth": "ann:secret"}
    async with launch(port=0, confdir=confdir, options=options) as proxy, serving() as url:
        credentials = base64.b64encode(f"ann:{password}".encode()).decode()
        host = url.removeprefix("ws://")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        async with proxy.expect_websocket() as opened:
            writer.write(
                f"GET http://{host}/live HTTP/1.1\r\nHost: {host}\r\n"
                f"Proxy-Authorization: Basic {credentials}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
        ws = await opened.value
        status = (await reader.readline()).split()[1]
        assert (ws.proxy_user, status) == (user, b"101" if user else b"407")
        writer.close()


OFFLINE = {"by a user": {"user": "bob"}, "by an address": {"client": "127.0.0.2"}}


@pytest.mark.parametrize("conditions", OFFLINE.values(), ids=OFFLINE)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_outage_of_a_context_cuts_its_apps_alone(
    proxy: Proxy,
    devices: list[Device],
    certificates: Certificates,
    scheme: str,
    conditions: dict[str, str],
) -> None:
    context = proxy.context(**conditions)  # type: ignore[arg-type]
    meant = 1 if "user" in conditions else 3
    tls = certificates.server_context if scheme == "wss" else None
    trusted = {"ssl": trusting(proxy.ca_certificate)} if tls else {}
    async with serving(tls=tls) as url, AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(each.socket(f"{url}/{number}", **trusted))
            for number, each in enumerate(devices)
        ]
        await context.offline()
        async with asyncio.timeout(STEP_SECONDS):
            await opened[meant].wait_closed()
        assert opened[meant].close_code == 1006
        with pytest.raises((websockets.InvalidHandshake, OSError, EOFError)):
            async with devices[meant].socket(f"{url}/{meant}", **trusted):
                pass
        for number, connection in enumerate(opened):
            if number != meant:
                assert await say(connection, "still here") == "still here"
        async with devices[0].socket(f"{url}/0", **trusted) as another:
            assert await say(another, "still here") == "still here"
        await context.online()
        async with devices[meant].socket(f"{url}/{meant}", **trusted) as back:
            assert await say(back, "back") == "back"
            again = await expect(context).to_reconnect(within=1000 * STEP_SECONDS)
            assert numbers([again]) == [meant]
        with pytest.raises(AssertionError, match="no such socket has ended"):
            await expect(proxy.context(port=devices[2].port)).to_reconnect(within=1)


async def test_end_of_a_context_ends_its_outage(proxy: Proxy, devices: list[Device]) -> None:
    context = proxy.context(user="bob")
    await context.offline()
    await proxy.context(user="carol").offline()
    await context.close()
    async with serving() as url, devices[1].socket(url) as connection:
        assert await say(connection, "back") == "back"
