"""What clients of a running proxy do now and then: mistakes, odd values, rules that are functions, ends."""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

from support import memory_transport
from support.event_log import eventually
from support.routes import NOWHERE, app
from support.servers import serving
from support.time_limits import STEP_MILLISECONDS, STEP_SECONDS
from wirewright import Error, Proxy, TimeoutError, WebSocketRoute  # noqa: A004
from wirewright.async_api import connect
from wirewright.model.matching import LateMatch
from wirewright.remote import codec, discovery, outbox, protocol, server
from wirewright.remote.client import Client
from wirewright.remote.protocol import EVENTS
from wirewright.remote.transport import reach
from wirewright.state import control
from wirewright.values import Direction, Payload

CUT = (OSError, EOFError, websockets.WebSocketException)


async def opened_by(proxy: Proxy, url: str) -> websockets.ClientConnection:
    """An app's socket, to be closed by the test."""
    return await websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")


async def never(*_: object) -> bool:
    return await asyncio.Event().wait()


@asynccontextmanager
async def client_of(subprotocol: str | None = None, **options: Any) -> AsyncIterator[Client]:
    """A client, of which more can be seen than its proxy."""
    chosen: dict[str, Any] = {"route_timeout": 50, "route_fallback": "pass"} | options
    client = Client(await reach(discovery.find(None, None), codec=subprotocol), **chosen)
    await client.start(None, EVENTS)
    try:
        yield client
    finally:
        await client.stop()


# Values


async def test_single_name_to_redact_is_refused_as_in_process(proxy: Proxy, tmp_path: Path) -> None:
    async with connect() as remote:
        with pytest.raises(TypeError, match="redact must be several names"):
            remote.start_capture(tmp_path / "x.db", redact="cookie")


async def test_capture_is_in_the_client_s_folder(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connect() as remote:
        monkeypatch.setattr(Path, "absolute", lambda path: tmp_path / path)
        await remote.start_capture("session.db")
        await remote.stop_capture()
    assert (tmp_path / "session.db").is_file()


async def test_payload_of_a_class_made_of_str_or_bytes_is_what_it_is_made_of(proxy: Proxy) -> None:
    class Text(str):
        __slots__ = ()

    class Data(bytes):
        pass

    class Side(enum.StrEnum):
        BUY = "buy"

    class Old(str, enum.Enum):  # noqa: UP042  as older programs have them
        SELL = "sell"

    messages: list[Payload] = [Text("a"), Data(b"b"), Side.BUY, Old.SELL]
    sent = ["a", b"b", "buy", "sell"]
    async with serving() as url, connect() as remote, app(proxy, f"{url}/live") as client:
        for ws in (remote.web_sockets[0], proxy.web_sockets[0]):
            for message in messages:
                await ws.send_to_client(message)
            assert [await client.recv() for _ in messages] == sent

        def route(ws: WebSocketRoute) -> None:
            server = ws.connect_to_server()
            ws.on_message(lambda message: server.send(messages[int(message)]))

        await remote.route_web_socket("**/routed", route)
        async with app(proxy, f"{url}/routed") as routed:
            for number in range(len(messages)):
                await routed.send(str(number))
            assert [await routed.recv() for _ in messages] == sent


async def test_message_that_is_too_large_is_refused_and_the_client_goes_on(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", 10_000)
    async with serving() as url, connect() as remote, app(proxy, url) as client:
        (ws,) = remote.web_sockets
        with pytest.raises(ValueError, match="a message has 10,000 bytes at most"):
            ws.send_to_client("x" * 10_000)
        await ws.send_to_client("fine")
        assert await client.recv() == "fine"


async def test_times_are_the_proxy_s(proxy: Proxy) -> None:
    async with serving() as url, connect() as remote:
        async with app(proxy, url) as client:
            (there,), (here,) = proxy.web_sockets, remote.web_sockets
            async with here.expect_event("framereceived"):
                await client.send("a")
            async with here.expect_event("close"):
                await client.close()
        assert (here.opened_at, here.closed_at) == (there.opened_at, there.closed_at)


# Mistakes


@pytest.mark.ws_allow_errors
async def test_listener_and_predicate_that_end_a_test_do_not_end_the_client(proxy: Proxy) -> None:
    def fail(payload: object) -> None:
        pytest.fail("not so")

    async with serving() as url, connect() as remote, app(proxy, url) as client:
        for seen in (proxy, remote):
            (ws,) = seen.web_sockets
            ws.on("framesent", fail)
            waiting = asyncio.ensure_future(ws.wait_for_event("framesent", fail))
            await client.send("a")
            assert await client.recv() == "a"
            with pytest.raises(pytest.fail.Exception, match="not so"):
                await waiting
            async with ws.expect_event("framereceived"):
                await client.send("b")
                assert await client.recv() == "b"
        await remote.route_web_socket("**/x", fail)
        for seen in (proxy, remote):
            await seen.route_web_socket("**/fails", fail)
            with pytest.raises(websockets.InvalidStatus) as refused:
                await app(proxy, f"{url}/fails").__aenter__()
            assert refused.value.response.status_code == 502


async def test_close_that_is_refused_closes_nothing(proxy: Proxy) -> None:
    may_open = asyncio.Event()

    async def slow(ws: WebSocketRoute) -> None:
        await may_open.wait()

    await proxy.route_web_socket("**", slow)
    async with connect() as remote:
        async with remote.expect_websocket() as opened:
            opening = asyncio.ensure_future(opened_by(proxy, f"ws://{NOWHERE}/"))
        ws = await opened.value
        with pytest.raises(Error, match="Socket is not open yet"):
            await ws.close()
        may_open.set()
        client = await opening
        await ws.send_to_client("open")
        assert await client.recv() == "open"
        async with ws.expect_event("close"):
            await ws.close(3000)
        assert ws.close_code == 3000


async def test_wait_says_how_many_messages_were_missed_since_it_looks(proxy: Proxy) -> None:
    async with serving() as url, client_of() as remote, app(proxy, url):
        await eventually(lambda: bool(remote.proxy.web_sockets))
        ((key, ws),) = remote.control.sockets()
        earlier = ws.wait_for_event("framesent", timeout=20)
        async with ws.expect_event("missed") as missed:
            await remote._handle(protocol.Missed(key, "framesent", 3, 30))  # before any timer is looked at
        assert await missed.value == 3
        left_out = r" \(3 messages were left out: this client did not keep up\)$"
        with pytest.raises(TimeoutError, match=left_out):
            await earlier
        with pytest.raises(TimeoutError, match=left_out):
            await ws.wait_for_event("framesent", timeout=20, history=True)
        with pytest.raises(TimeoutError, match=r'"framesent"$'):
            await ws.wait_for_event("framesent", timeout=20)


# Rules


async def test_route_s_rule_that_is_a_function_may_meet_any_url(proxy: Proxy) -> None:
    asked: list[str] = []
    async with connect() as remote:

        def ask(url: str) -> bool:
            asked.append(url)
            return False

        await remote.route_web_socket(ask, print)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n")
        assert b"200" in await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"GET /caf\xe9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"502" in await reader.readline()
        writer.close()
        await remote.route_web_socket("**/x", print)
    assert asked == ["ws://127.0.0.1:9/caf%E9"]


@pytest.mark.parametrize("end", ["late", "gone"])
@pytest.mark.parametrize("fallback", ["pass", "drop"])
@pytest.mark.parametrize("in_context", [False, True])
async def test_rule_that_is_not_answered_falls_back(
    proxy: Proxy, fallback: Any, end: str, in_context: bool
) -> None:
    asked = asyncio.Event()

    async def ask(url: str) -> bool:
        asked.set()
        return await never()

    async with serving() as url, AsyncExitStack() as stack:
        timeout = 50 if end == "late" else STEP_MILLISECONDS
        remote = await stack.enter_async_context(client_of(route_timeout=timeout, route_fallback=fallback))
        context = remote.proxy.context(client="127.0.0.1")._filter if in_context else None
        remote.add_rule(remote.proxy._state.routes.add(_late(ask), never, None, context))
        opening = asyncio.ensure_future(opened_by(proxy, url))
        await asked.wait()
        if end == "gone":
            await remote.stop()
        if fallback == "drop":
            with pytest.raises(CUT):
                await opening
        else:
            client = await opening
            await client.send("a")
            assert await client.recv() == "a"
            await client.close()
    assert proxy._state.routes.rules == []


async def test_rule_that_is_a_function_is_not_asked_while_too_much_waits(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(url: str) -> bool:
        asked.append(url)
        return True

    async with serving() as url, client_of() as remote:
        await remote.proxy.route_web_socket(ask, lambda ws: ws.reject(403))
        monkeypatch.setattr(outbox, "CROWDED_BYTES", -1)
        async with app(proxy, f"{url}/live") as client:
            await client.send("passes")
            assert await client.recv() == "passes"
    assert asked == []


def _late(ask: Callable[[str], Any]) -> Any:
    """A rule that takes its time, as one of the sync API does."""

    class Late(LateMatch):
        def __call__(self, url: str) -> Any:
            return ask(url)

    return Late()


async def test_client_that_stands_still_is_asked_once(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[server.ClientSession] = []
    monkeypatch.setattr(
        server.ClientSession,
        "opening",
        lambda self, *_: sessions.append(self) if self not in sessions else None,
    )
    async with serving() as url, client_of() as remote:
        for _ in range(5):
            await remote.add_rule(remote.proxy._state.routes.add(_late(never), never))
        for _ in range(2):
            async with app(proxy, url):
                pass
        (session,) = sessions
        assert session.rules._question == 1
        await remote.add_rule(remote.proxy._state.routes.add("**/x", never))  # it lives
        async with app(proxy, url):
            assert session.rules._question == 2


async def test_rules_that_are_used_up_are_gone(proxy: Proxy) -> None:
    def mock(ws: WebSocketRoute) -> None:
        ws.send("mocked")

    async with client_of(route_timeout=STEP_MILLISECONDS) as remote:
        for _ in range(3):
            await remote.proxy.route_web_socket("**", mock, times=1)
            async with app(proxy, f"ws://{NOWHERE}/") as client:
                assert await client.recv() == "mocked"
        assert remote._rules == {}
        assert remote.proxy._state.routes.rules == []
        await remote.proxy.unroute_web_socket("**")


async def test_message_that_a_handler_has_sent_on_is_not_passed_on_again(proxy: Proxy) -> None:
    asked = asyncio.Event()

    def route(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        async def change(message: Payload) -> None:
            server.send(f"changed {message!r}")
            asked.set()
            await never()

        ws.on_message(change)

    async with serving() as url:
        async with connect(route_timeout=STEP_MILLISECONDS) as remote:
            await remote.route_web_socket("**", route)
            client = await opened_by(proxy, url)
            await client.send("a")
            await asked.wait()
            assert await client.recv() == "changed 'a'"
        await client.send("b")  # the client of the proxy is gone
        assert await client.recv() == "b"
        await client.close()


async def test_messages_that_handlers_wait_for_end_no_client(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST_BYTES", 100_000)

    def route(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(lambda message: server.send(str(len(message))))

    async with serving() as url, connect(events=()) as remote:
        await remote.route_web_socket("**", route)
        async with app(proxy, url) as client:
            await client.send("x" * 1_000_000)
            assert await client.recv() == "1000000"


# Messages that are too large for a client


def session() -> server.ClientSession:
    """The proxy's side of the one client."""
    servers = [each for each in control.watchers if isinstance(each, server.RemoteServer)]
    (found,) = [session for each in servers for session in each._sessions]
    return found


TOO_LARGE = "\0" * 20_000
"""For JSON, in which it has six times as many bytes."""


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller limit for messages of the remote protocol."""
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", 100_000)


@pytest.mark.usefixtures("narrow")
async def test_message_that_is_too_large_in_json_is_left_out_and_counted(proxy: Proxy) -> None:
    async with serving() as url, client_of(codec.JSON) as remote, app(proxy, url) as client:
        await eventually(lambda: bool(remote.proxy.web_sockets))
        (ws,) = remote.proxy.web_sockets
        seen: dict[Any, list[object]] = {"framesent": [], "framereceived": [], "missed": []}
        for event, values in seen.items():
            ws.on(event, values.append)
        for message in ("first", TOO_LARGE, "x" * 20_000, TOO_LARGE, "last"):
            await client.send(message)
            assert await client.recv() == message
        await eventually(lambda: "last" in seen["framereceived"])
    read = ["first", "x" * 20_000, "last"]
    assert seen == {"framesent": read, "framereceived": read, "missed": [1, 1, 1, 1]}


@pytest.mark.usefixtures("narrow")
async def test_messages_that_are_too_large_together_are_sent_in_parts(proxy: Proxy) -> None:
    async with client_of(codec.JSON) as remote, serving() as url, app(proxy, url) as client:
        await eventually(lambda: bool(remote.proxy.web_sockets))
        ((key, ws),) = remote.control.sockets()
        seen: list[object] = []
        ws.on("framesent", seen.append)
        ws.on("missed", lambda count: seen.append(("missed", count)))
        texts = [str(number) * 30_000 for number in range(5)]
        messages: list[Payload] = [*texts, TOO_LARGE, b"x" * 60_000]
        session().outbox.frames(key, "framesent", messages, 1.0)
        await client.send("last")
        assert await client.recv() == "last"
        await eventually(lambda: "last" in seen)
    assert seen == [*texts, ("missed", 1), messages[-1], "last"]


@pytest.mark.usefixtures("narrow")
async def test_remembered_messages_that_are_too_large_in_json_are_forgotten(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, url) as client:
        await client.send(TOO_LARGE)
        assert await client.recv() == TOO_LARGE
        async with client_of(codec.JSON) as remote:
            (ws,) = remote.proxy.web_sockets
            assert ws._history.total == 2
            async with ws.expect_event("framesent") as sent:
                await client.send("now")
            assert await sent.value == "now"


@pytest.mark.ws_allow_errors
@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("fallback", ["pass", "drop"])
async def test_routed_message_that_is_too_large_in_json_has_its_fallback(proxy: Proxy, fallback: str) -> None:
    def route(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(lambda message: server.send(f"changed {message!r}"))

    options = {"route_fallback": fallback, "route_timeout": STEP_MILLISECONDS}
    async with serving() as url, client_of(codec.JSON, **options) as remote:
        await remote.proxy.route_web_socket("**", route)
        async with app(proxy, url) as client:
            await client.send("a")
            assert await client.recv() == "changed 'a'"
            await client.send(TOO_LARGE)
            await client.send("b")
            if fallback == "pass":
                assert [await client.recv(), await client.recv()] == [TOO_LARGE, "b"]
            await eventually(lambda: all(each._is_lost for each in session().rules._routes.values()))
        assert remote.proxy.port == proxy.port  # the client goes on


@pytest.mark.usefixtures("narrow")
async def test_routed_message_that_waits_when_its_route_has_ended_is_left_out(proxy: Proxy) -> None:
    async with client_of(codec.JSON) as remote:
        session().outbox.put(protocol.RouteMessage(TOO_LARGE, "ended", 1, direction=Direction.SENT))
        await remote.proxy.route_web_socket("**/never", print)  # the client goes on


@pytest.mark.ws_allow_errors
@pytest.mark.usefixtures("narrow")
async def test_log_names_the_route_of_a_message_that_is_too_large(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    def route(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        ws.on_message(print)

    async with serving() as url, client_of(codec.JSON, route_timeout=STEP_MILLISECONDS) as remote:
        await remote.proxy.route_web_socket("**", route)
        async with app(proxy, f"{url}/live?token=1") as client:
            await client.send(TOO_LARGE)
            assert await client.recv() == TOO_LARGE
    route_text = f"<WebSocketRoute url='{url}/live?…'>"
    said = f"message too large for a remote handler: the fallback of {route_text} holds"
    assert said in [record.getMessage() for record in caplog.records]


async def test_client_for_which_nothing_can_be_left_out_is_told_why(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as url, client_of(codec.JSON) as remote:
        monkeypatch.setattr(codec, "LARGEST_MESSAGE", 100)
        waiting = asyncio.ensure_future(remote.proxy.wait_for_websocket("**/never", timeout=0))
        async with app(proxy, url):
            with pytest.raises(Error, match=r"^Proxy closed: a message of the proxy is too large"):
                await waiting


# Ends


async def test_client_that_is_sent_away_says_why(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_BYTES", 100_000)
    async with connect() as remote:
        waiting = asyncio.ensure_future(remote.wait_for_websocket("**/never"))
        await asyncio.sleep(0)
        for _ in range(2):  # before the first one is sent
            session().outbox.put(protocol.Failed("a", "x" * 60_000))
        with pytest.raises(Error, match=r"^Proxy closed: this client leaves too much waiting$"):
            await waiting


@pytest.mark.parametrize("way", ["tcp", "memory"])
async def test_gone_proxy_says_so_at_once(proxy: Proxy, way: str) -> None:
    async with connect() if way == "tcp" else memory_transport.connected() as remote:
        pass

    async def expect_socket() -> None:
        async with remote.expect_websocket(timeout=0):
            pass

    attempts: list[Callable[[], Any]] = [
        lambda: remote.wait_for_websocket(timeout=0),
        expect_socket,
        lambda: remote.route_web_socket("**", print),
        lambda: remote.start_capture("x.db"),
        lambda: remote.annotate("x"),
        lambda: remote.on("websocket", print),
        lambda: remote.port,
    ]
    for attempt in attempts:
        with pytest.raises(Error, match=r"^Proxy closed$"):
            await attempt()


@pytest.mark.ws_allow_errors
async def test_client_that_follows_no_more_is_over(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of() as remote:
        monkeypatch.setattr(remote, "_open", lambda *_, **__: 1 / 0)
        waiting = asyncio.ensure_future(remote.proxy.wait_for_websocket("**/never"))
        async with serving() as url, app(proxy, url):
            with pytest.raises(Error, match="Proxy closed"):
                await waiting
    assert control.proxy is proxy


async def test_every_command_may_be_a_task(proxy: Proxy, tmp_path: Path) -> None:
    handler = lambda route: route.connect_to_server()  # noqa: E731
    async with serving() as url, connect() as remote:
        await asyncio.create_task(remote.route_web_socket("**", handler))  # noqa: TID251  what a user does
        await asyncio.wait_for(remote.start_capture(tmp_path / "session.db"), STEP_SECONDS)
        async with app(proxy, url) as client:
            (ws,) = remote.web_sockets
            await asyncio.gather(ws.send_to_client(bytearray(b"a")), remote.annotate("a remark"))
            assert await client.recv() == b"a"
            await asyncio.create_task(ws.close())  # noqa: TID251  what a user does
        await asyncio.gather(remote.unroute_web_socket("**", handler), remote.stop_capture())
        with pytest.raises(Error, match=r"^Socket closed: 1000$"):
            await asyncio.create_task(ws.close())  # noqa: TID251  what a user does
