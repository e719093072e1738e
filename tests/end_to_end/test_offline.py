"""`proxy.offline()` and `proxy.online()`: apps lose their network, and get it back."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.exceptions import InvalidHandshake, InvalidMessage

from support.certificates import Certificates, trusting
from support.event_log import Recordings, eventually
from support.raw_peers import RawServer, asking, raw_socket
from support.routes import NOWHERE, app, closed
from support.servers import serving, serving_raw
from wirewright import Proxy, WebSocketRoute, expect, launch
from wirewright.state import app_connections

pytestmark = pytest.mark.remote

DISCONNECTED = "Error in connection establishment: net::ERR_INTERNET_DISCONNECTED"
REFUSED = (InvalidMessage, InvalidHandshake, OSError, EOFError)
"""What the app `websockets` says of a connection that ends before the answer."""


async def exchange(port: int, *requests: bytes) -> bytes:
    """What a new connection to the proxy is sent for its requests until it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"".join(requests))
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_open_sockets_lose_their_connections_and_come_back(
    proxy: Proxy, recordings: Recordings
) -> None:
    async with raw_socket(proxy.port) as socket:
        seen = await recordings.first()
        await seen.ws.wait_for_open()
        await proxy.offline()
        assert [await socket.app.ending(), await socket.server.ending()] == [(1006, "")] * 2
        await seen.closed.wait()
        assert seen.events == [("close", None)]
        assert (seen.ws.close_code, seen.ws.closed_by) == (1006, "proxy")
        assert seen.ws.close_reason == "the proxy is offline"
    await proxy.online()
    async with raw_socket(proxy.port) as socket:
        assert await expect(proxy).to_reconnect("**/live") is not seen.ws
        await socket.app.send("back")
        assert await socket.server.message() == "back"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_each_attempt_is_seen_and_reaches_no_server_and_no_route(
    proxy: Proxy, recordings: Recordings, certificates: Certificates, scheme: str
) -> None:
    contacted: list[object] = []
    routed: list[WebSocketRoute] = []
    tls = certificates.server_context if scheme == "wss" else None
    trusted = trusting(proxy.ca_certificate) if scheme == "wss" else None

    async def note(connection: websockets.ServerConnection) -> None:
        contacted.append(connection)

    async with serving(note, tls=tls) as url:
        await proxy.offline()
        await proxy.route_web_socket("**/routed", routed.append)
        for path in ("/live", "/routed"):
            with pytest.raises(REFUSED):
                async with app(proxy, url + path, ssl=trusted):
                    pass
        await eventually(lambda: len(recordings.all) == 2 and recordings.all[1].closed.is_set())
        for seen in recordings.all:
            assert seen.events == [("socketerror", DISCONNECTED), ("close", None)]
            assert (seen.ws.status, seen.ws.close_code) == (None, None)
            assert (seen.ws.close_reason, seen.ws.closed_by) == ("the proxy is offline", "proxy")
        assert (contacted, routed) == ([], [])
        await proxy.online()
        async with app(proxy, f"{url}/live", ssl=trusted):
            await eventually(lambda: bool(contacted))


async def test_requests_and_other_protocols_reach_no_server(proxy: Proxy) -> None:
    received: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(4))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    async with serving_raw(answer) as url:
        host = url.removeprefix("ws://")
        request = f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        tunnel = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        assert (await exchange(proxy.port, request)).endswith(b"ok")
        await proxy.offline()
        assert await exchange(proxy.port, request) == b""
        assert b"ok" not in await exchange(proxy.port, tunnel, b"\x10\x12\x00\x04MQTT")
        assert received == [b"GET "]
        await proxy.online()
        assert (await exchange(proxy.port, request)).endswith(b"ok")


async def test_connections_that_are_kept_alive_are_cut(proxy: Proxy) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert await reader.read() == b""
        writer.close()

    async with serving_raw(answer) as url:
        host = url.removeprefix("ws://")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await reader.readuntil(b"ok")
        await proxy.offline()
        assert await reader.read() == b""
        writer.close()


async def test_handshake_that_waits_for_its_answer_fails(proxy: Proxy, recordings: Recordings) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def keep_waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        writer.close()
        gone.set()

    async with serving_raw(keep_waiting) as url:
        host = url.removeprefix("ws://")
        waiting = asyncio.ensure_future(exchange(proxy.port, asking(f"{url}/live", host)))
        await asked.wait()
        seen = await recordings.first()
        await proxy.offline()
        assert await waiting == b""
        await gone.wait()
        await seen.closed.wait()
        assert seen.events == [("socketerror", DISCONNECTED), ("close", None)]
        assert (seen.ws.close_reason, seen.ws.closed_by) == ("the proxy is offline", "proxy")


@pytest.mark.wire("mitmproxy's own layer mocks no server")
async def test_mock_is_cut_too(proxy: Proxy, recordings: Recordings) -> None:
    await proxy.route_web_socket("**", lambda route: route.send("welcome"))
    async with app(proxy, f"ws://{NOWHERE}/live") as client:
        assert await client.recv() == "welcome"
        await proxy.offline()
        assert (await closed(client))[0] == 1006
    with pytest.raises(REFUSED):
        async with app(proxy, f"ws://{NOWHERE}/live"):
            pass
    await proxy.online()
    await proxy.online()
    async with app(proxy, f"ws://{NOWHERE}/live") as client:
        assert await client.recv() == "welcome"
        await expect(proxy).to_reconnect("**/live")


@pytest.mark.wire("conditions are those of our layer")
async def test_app_that_is_stuck_in_the_lift_is_cut(proxy: Proxy, recordings: Recordings) -> None:
    async with raw_socket(proxy.port) as socket:
        seen = await recordings.first()
        await seen.ws.wait_for_open()
        await seen.ws.conditions("offline")
        await socket.server.send_close(3000, "gave up")
        socket.server.hang_up()
        await seen.closed.wait()
        await proxy.offline()
        assert await socket.app.ending() == (1006, "")


@pytest.mark.in_process("the listener has to be called before the handshake goes on")
async def test_listener_may_take_the_network_away(proxy: Proxy, recordings: Recordings) -> None:
    proxy.on("websocket", lambda: proxy.offline())
    async with RawServer() as server:
        host = server.url.removeprefix("ws://")
        assert await exchange(proxy.port, asking(f"{server.url}/live", host)) == b""
        seen = await recordings.first()
        await seen.closed.wait()
        assert seen.events == [("socketerror", DISCONNECTED), ("close", None)]
        assert server.sockets == 0


async def test_eager_proxy_reaches_no_server_either(confdir: Path, lane: str) -> None:
    options: dict[str, Any] = {"connection_strategy": "eager", "ws_lane": lane}
    async with launch(port=0, confdir=confdir, options=options) as proxy, RawServer() as server:
        proxy.offline()
        host = server.url.removeprefix("ws://")
        tunnel = f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(tunnel)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 502 ")
        writer.close()
        assert await exchange(proxy.port, asking(f"{server.url}/live", host)) == b""
        assert server.sockets == 0


async def test_next_proxy_of_the_process_is_online(confdir: Path, lane: str) -> None:
    async with launch(port=0, confdir=confdir, options={"ws_lane": lane}) as proxy:
        proxy.offline()
    async with launch(port=0, confdir=confdir, options={"ws_lane": lane}) as proxy, raw_socket(proxy.port):
        pass


async def test_requests_that_are_refused_are_counted(launched: Proxy, lane: str) -> None:
    launched.offline()
    before = app_connections.requests
    assert await exchange(launched.port, b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n") == b""
    assert app_connections.requests == before + 1
