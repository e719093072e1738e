"""Clients of a running proxy: what they see, and what becomes of their routes when they are slow or gone."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.exceptions import InvalidMessage, InvalidStatus

from support.event_log import eventually
from support.processes import BIN, ROOT, running
from support.routes import NOWHERE, app, closed
from support.servers import serving
from support.time_limits import STEP_MILLISECONDS, STEP_SECONDS
from wirewright import Error, Proxy, WebSocketRoute, launch
from wirewright.async_api import connect, expect
from wirewright.remote import client as client_module
from wirewright.remote import conditioned_sockets, discovery, protocol
from wirewright.remote.client import Client
from wirewright.remote.protocol import EVENTS
from wirewright.remote.server_route import RemoteRoute
from wirewright.remote.transport import reach
from wirewright.state import control
from wirewright.values import Direction, Payload

pytestmark = pytest.mark.slow


async def test_late_client_has_what_was_said_before(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, f"{url}/live") as client:
        for message in ("one", b"\xff"):
            await client.send(message)
            assert await client.recv() == message
        async with connect() as remote:
            (ws,) = remote.web_sockets
            assert (ws.url, ws.status) == (f"{url}/live", 101)
            assert await ws.wait_for_event("framesent", lambda payload: payload == b"\xff", history=True)
            async with ws.expect_event("framereceived") as frame:
                await client.send("two")
            assert await frame.value == "two"
            said = [frame.payload for frame in ws._history.after(0)]
            assert said == ["one", "one", b"\xff", b"\xff", "two", "two"]


async def test_code_that_waited_for_a_socket_begins_at_its_opening(proxy: Proxy) -> None:
    async with serving() as url, connect() as remote:
        async with remote.expect_websocket() as opened, app(proxy, f"{url}/live") as client:
            await client.send("one")
            assert await client.recv() == "one"
        with pytest.raises(TimeoutError):
            await remote.wait_for_websocket(timeout=100)
        ws = await opened.value
        heard: list[object] = []
        ws.on("close", lambda: heard.append("close"))
        ws.on("framesent", heard.append)
        assert await ws.wait_for_event("framereceived") == "one"
        assert await ws.wait_for_event("close") is ws
        assert heard == ["one", "close"]


async def test_what_is_not_asked_for_is_not_told(proxy: Proxy) -> None:
    heard: list[tuple[str, Payload]] = []
    async with serving() as url, connect(url="**/live", events=["framesent"]) as remote:

        def note(ws: Any) -> None:
            for event in ("framesent", "framereceived"):
                ws.on(event, lambda payload, event=event: heard.append((event, payload)))

        remote.on("websocket", note)
        for path in ("/other", "/live"):
            async with app(proxy, url + path) as client:
                await client.send(path)
                await client.recv()
        await eventually(lambda: bool(heard))
        async with remote.expect_websocket(), app(proxy, f"{url}/live"):
            pass
        assert heard == [("framesent", "/live")]


async def test_routed_socket_that_was_not_subscribed_to_is_told_of_its_life(proxy: Proxy) -> None:
    routes: list[WebSocketRoute] = []
    async with connect(url="**/other") as remote:
        await remote.route_web_socket("**", routes.append)
        async with app(proxy, f"ws://{NOWHERE}/live") as client:
            (ws,) = remote.web_sockets
            routes[0].send("mocked")
            assert await client.recv() == "mocked"
        await ws.wait_for_event("close") if not ws.is_closed() else None
        assert ws.opened_at is not None
        assert remote.web_sockets == []


async def test_routes_of_a_client_that_leaves_are_gone_at_the_end_of_its_block(proxy: Proxy) -> None:
    async with connect() as remote:
        for path in ("one", "two"):
            await remote.route_web_socket(f"**/{path}", print)
        assert control.has_routes
    assert not control.has_routes


async def test_many_clients_at_once(proxy: Proxy) -> None:
    async with AsyncExitStack() as stack:
        remotes = [await stack.enter_async_context(connect()) for _ in range(200)]
        waits = [asyncio.ensure_future(remote.wait_for_websocket("**/live")) for remote in remotes]
        url = await stack.enter_async_context(serving())
        client = await stack.enter_async_context(app(proxy, f"{url}/live"))
        sockets = [await wait for wait in waits]
        heard = [asyncio.ensure_future(ws.wait_for_event("framereceived")) for ws in sockets]
        await asyncio.sleep(0)
        await client.send("all")
        assert [await each for each in heard] == ["all"] * 200


async def test_refusal_is_raised_when_it_is_awaited(proxy: Proxy) -> None:
    async with serving() as url, connect() as remote:
        async with remote.expect_websocket() as opened, app(proxy, url) as client:
            ws = await opened.value
            await ws.send_to_client("a")
            assert await client.recv() == "a"
        with pytest.raises(Error, match="the folder /nonexistent does not exist"):
            await remote.start_capture("/nonexistent/x.db")
        with pytest.raises(Error, match="no capture runs"):
            await remote.annotate("x")


async def test_bytes_that_are_no_utf8_deafen_nobody(proxy: Proxy) -> None:
    async with serving() as url, connect() as remote:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        host = url.removeprefix("ws://")
        async with remote.expect_websocket() as opened:
            writer.write(
                f"GET {url.replace('ws', 'http', 1)}/x HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                "Sec-WebSocket-Version: 13\r\nX-Name: Andr".encode()
                + b"\xe9\r\n\r\n"
            )
            assert b"101" in await reader.readline()
        ws = await opened.value
        assert ws.request_headers["x-name"] == "Andr\udce9"
        async with connect() as late:
            assert late.web_sockets[0].request_headers["x-name"] == "Andr\udce9"
        async with ws.expect_event("close"):
            writer.close()


async def test_what_cannot_be_sent_is_refused_at_once_and_the_client_goes_on(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, url) as client, connect() as remote:
        (ws,) = remote.web_sockets
        attempts: list[Callable[[], object]] = [
            lambda: ws.send_to_client("\ud800"),
            lambda: remote.annotate("\ud800"),
            lambda: remote.route_web_socket("**", lambda ws: None, times=2**70),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError, match=r"it cannot be sent|surrogates"):
                attempt()
        await ws.send_to_client("fine")
        assert await client.recv() == "fine"


async def test_commands_that_nobody_awaits_are_sent_before_the_end(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LAST_SECONDS", STEP_SECONDS)
    async with serving() as url, app(proxy, url) as client:
        async with connect() as remote:
            remote.web_sockets[0].send_to_client("bye")
        assert await client.recv() == "bye"


# Routes whose client is slow or gone


class PatientAtHandshakes:
    """`RemoteRoute._seconds`: a short limit for messages' handlers, which never answer in these tests, and a
    long one for those of handshakes, which do."""

    def __get__(self, route: RemoteRoute, _: object) -> float:
        return 0.05 if route._decision.done() else STEP_SECONDS

    def __set__(self, route: RemoteRoute, seconds: float) -> None: ...


@pytest.mark.parametrize("fallback", ["pass", "drop"])
async def test_handler_that_takes_too_long_for_a_message_is_gone_without(
    proxy: Proxy, fallback: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(message: Payload) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RemoteRoute, "_seconds", PatientAtHandshakes(), raising=False)
    async with serving() as url, connect(route_fallback=fallback) as remote:

        def held(ws: WebSocketRoute) -> None:
            ws.connect_to_server()
            ws.on_message(slow)

        await remote.route_web_socket("**/message", held)
        async with app(proxy, f"{url}/message") as client:
            for message in ("one", "two"):
                await client.send(message)
            if fallback == "pass":
                assert [await client.recv(), await client.recv()] == ["one", "two"]
            await eventually(lambda: "took too long" in caplog.text)


@pytest.mark.parametrize("fallback", ["pass", "drop"])
async def test_handler_that_takes_too_long_for_a_handshake_is_gone_without(
    proxy: Proxy, fallback: Any
) -> None:
    async def never(ws: WebSocketRoute) -> None:
        await asyncio.Event().wait()

    async with serving() as url, connect(route_timeout=50, route_fallback=fallback) as remote:
        await remote.route_web_socket("**/handshake", never)
        if fallback == "pass":
            async with app(proxy, f"{url}/handshake") as client:
                await client.send("three")
                assert await client.recv() == "three"
        else:
            with pytest.raises((OSError, EOFError, websockets.WebSocketException)):
                await app(proxy, f"{url}/handshake").__aenter__()


async def test_mocked_socket_whose_handler_takes_too_long_is_cut(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(message: Payload) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(RemoteRoute, "_seconds", PatientAtHandshakes(), raising=False)
    async with connect() as remote:
        await remote.route_web_socket("**", lambda ws: ws.on_message(slow))
        async with app(proxy, f"ws://{NOWHERE}/") as client:
            await client.send("one")
            assert (await closed(client))[0] == 1006


ROUTING = """
import asyncio
from wirewright.async_api import connect

async def main():
    async with connect(route_timeout=60_000) as proxy:
        async def forever(message):
            print("asked", message, flush=True)
            await asyncio.Event().wait()

        def handler(ws):
            if "mock" not in ws.url:
                ws.connect_to_server()
            ws.on_message(forever)

        await proxy.route_web_socket("**", handler)
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_client_that_is_killed_in_the_middle_leaves_no_socket_hanging(proxy: Proxy) -> None:
    async with serving() as url, AsyncExitStack() as stack:
        process = await stack.enter_async_context(running(sys.executable, "-c", ROUTING, cwd=ROOT))
        await process.line("^ready$")
        passed = await stack.enter_async_context(app(proxy, f"{url}/live"))
        mocked = await stack.enter_async_context(app(proxy, f"ws://{NOWHERE}/mock"))
        for client in (passed, mocked):
            await client.send("held")
            await process.line("^asked held$")
        os.kill(process.process.pid, signal.SIGKILL)
        assert await passed.recv() == "held"
        assert (await closed(mocked))[0] == 1006
        await passed.send("after")
        assert await passed.recv() == "after"
        async with app(proxy, f"{url}/new") as fresh:  # its rule is gone, too
            await fresh.send("free")
            assert await fresh.recv() == "free"


async def test_proxy_that_is_killed_ends_every_wait(confdir: Path, tmp_path: Path) -> None:
    command = (BIN / "wirewright", "run", "-p", "0", "--set", f"confdir={confdir}", "--remote", "127.0.0.1:0")
    async with running(*command, XDG_RUNTIME_DIR=str(tmp_path)) as run:
        await run.line("Stop")
        await eventually(lambda: bool(list((tmp_path / "wirewright").glob("*.json"))))
        async with connect() as remote, serving() as url:
            async with remote.expect_websocket() as opened:
                client = await websockets.connect(url, proxy=f"http://127.0.0.1:{remote.port}")
            ws = await opened.value
            waits = [
                asyncio.ensure_future(remote.wait_for_websocket(timeout=0)),
                asyncio.ensure_future(ws.wait_for_event("framereceived", timeout=0)),
                asyncio.ensure_future(remote.start_capture("/tmp")),
            ]
            await asyncio.sleep(0)
            os.kill(run.process.pid, signal.SIGKILL)
            async with asyncio.timeout(STEP_SECONDS):
                messages = [str(each) for each in await asyncio.gather(*waits, return_exceptions=True)]
            assert messages[0] == "Proxy closed"
            assert messages[1].startswith("Socket closed")
            assert ws.is_closed()
            with pytest.raises(Error, match=r"^(Proxy closed|no proxy is running)$"):
                remote.annotate("x")
            await client.close()


# A client that does not keep up


class Stalling:
    """A connection of which nothing is read until it may."""

    def __init__(self, connection: Any) -> None:
        self.subprotocol = connection.subprotocol
        self.send, self.close = connection.send, connection.close
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self._connection = connection

    async def receive(self) -> str | bytes:
        await self.may_go_on.wait()
        data: str | bytes = await self._connection.receive()
        return data


async def test_client_that_does_not_keep_up_is_told_what_it_missed(proxy: Proxy) -> None:
    connection = Stalling(await reach(discovery.find(None, None)))
    client = Client(connection, route_timeout=STEP_MILLISECONDS, route_fallback="pass")
    await client.start(None, EVENTS)
    missed: list[int] = []
    heard: list[Payload] = []
    count, message = 300, "x" * 200_000
    async with serving() as url, app(proxy, url) as speaker:
        await eventually(lambda: bool(client.proxy.web_sockets))
        (ws,) = client.proxy.web_sockets
        ws.on("missed", missed.append)
        ws.on("framesent", heard.append)
        hopeless = asyncio.ensure_future(ws.wait_for_event("framesent", lambda _: False, timeout=0))
        connection.may_go_on.clear()
        for _ in range(count):
            await speaker.send(message)
            assert await speaker.recv() == message  # the wire is not slowed down
        connection.may_go_on.set()
        await speaker.send("last")
        await ws.wait_for_event("framesent", lambda payload: payload == "last", history=True)
        assert 0 < len(heard) < count
        assert 0 < sum(missed) < 2 * count
        await speaker.close()
        left_out = r"^Socket closed: 1000 \([\d,]+ messages were left out: this client did not keep up\)\n"
        with pytest.raises(Error, match=left_out):
            await hopeless
    await client.stop()


# Faults


async def test_network_of_a_client_ends_with_it(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, f"{url}/live") as client:
        async with connect() as remote:
            (ws,) = remote.web_sockets
            await ws.conditions("offline")
            await client.send("stuck")
        assert await client.recv() == "stuck"


async def test_network_of_a_closed_socket_is_released_by_its_client(proxy: Proxy) -> None:
    async def leave(connection: websockets.ServerConnection) -> None:
        await connection.recv()
        await connection.send("last words")

    async with serving(leave) as url, app(proxy, f"{url}/live") as client, connect() as remote:
        (ws,) = remote.web_sockets
        await ws.conditions("offline", direction="received")
        await client.send("go")
        await ws.wait_for_event("close")
        await ws.conditions()
        assert await client.recv() == "last words"
        assert await closed(client) == (1000, "")


async def test_network_of_sockets_that_are_over_is_kept_for_some(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditioned_sockets, "MOST_OVER", 1)

    async def leave(connection: websockets.ServerConnection) -> None:
        await connection.recv()
        await connection.send("last words")

    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(leave))
        remote = await stack.enter_async_context(connect())
        clients = []
        for number in range(3):
            async with remote.expect_websocket(opened=True) as opened:
                clients.append(await stack.enter_async_context(app(proxy, f"{url}/{number}")))
            ws = await opened.value
            await ws.conditions("offline", direction="received")
            if number < 2:
                await clients[-1].send("go")
                await ws.wait_for_event("close")
        assert await clients[0].recv() == "last words"
        with pytest.raises(Error, match=r"^Socket closed$"):
            await remote._state._client.sender.command(  # type: ignore[attr-defined]
                protocol.Conditions, key="unknown", direction=Direction.SENT, values={}
            )
        await remote._state._client.stop()  # type: ignore[attr-defined]
        assert await clients[1].recv() == "last words"
        await clients[2].send("go")
        assert await clients[2].recv() == "last words"


async def test_values_that_no_network_has_are_refused(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, f"{url}/live"), connect() as remote:
        key = next(iter(remote._state.feeds))
        order = partial(
            remote._state._client.sender.command,  # type: ignore[attr-defined]
            protocol.Conditions,
            key=key,
            direction=Direction.SENT,
        )
        with pytest.raises(ValueError, match="drop must be a probability"):
            await order(values={"drop": 2.0})
        with pytest.raises(TypeError, match="lag"):
            await order(values={"lag": 2.0})
        with pytest.raises(TypeError, match="a plan must be a list"):
            await order(values={"plan": 2.0})
        with pytest.raises(TypeError, match="multiple values"):
            await order(values={"direction": 2.0})


async def test_client_that_is_gone_leaves_the_apps_their_network(proxy: Proxy) -> None:
    async with serving() as url:
        async with connect() as first, connect() as second:
            await first.offline()
            await second.offline()
        async with connect() as first:
            await first.offline()
            async with connect() as second:
                await second.offline()
            with pytest.raises((InvalidMessage, OSError, EOFError)):
                async with app(proxy, f"{url}/live"):
                    pass
        async with app(proxy, f"{url}/live") as client:
            await client.send("a")
            assert await client.recv() == "a"
        proxy.offline()
        async with connect() as remote:
            await remote.offline()
        with pytest.raises((InvalidMessage, OSError, EOFError)):  # the program itself is offline still
            async with app(proxy, f"{url}/live"):
                pass
        async with connect() as remote:
            await remote.online()
        async with app(proxy, f"{url}/live"):
            pass


async def test_client_stays_connected_while_the_proxy_is_offline(proxy: Proxy) -> None:
    async with serving() as url, connect() as remote:
        async with app(proxy, f"{url}/live") as client:
            await remote.offline()
            assert (await closed(client))[0] == 1006
        await remote.online()
        async with app(proxy, f"{url}/live"):
            assert (await expect(remote).to_reconnect("**/live")).url == f"{url}/live"


async def test_network_that_cannot_be_simulated_fails_a_handler_and_no_open_socket(confdir: Path) -> None:
    options = {"ws_remote": "127.0.0.1:0", "ws_lane": "hooks"}
    async with (
        launch(port=0, confdir=confdir, options=options) as proxy,
        serving() as url,
        connect() as remote,
    ):

        def handler(route: WebSocketRoute) -> None:
            route.connect_to_server()
            if route.url.endswith("/3g"):
                route.conditions("3g")

        await remote.route_web_socket("**", handler)
        with pytest.raises(InvalidStatus, match="502"):
            async with app(proxy, f"{url}/3g"):
                pass
        async with app(proxy, f"{url}/live") as client:
            ws = remote.web_sockets[-1]
            with pytest.raises(Error, match=r"^conditions\(\) needs Wirewright's own layer, and ws_lane is"):
                await ws.conditions("3g")
            with pytest.raises(Error, match=r"^close\(to='client'\) needs Wirewright's own layer"):
                await ws.close(1011, to="client")
            await ws.send_to_client("goes on")
            assert await client.recv() == "goes on"
