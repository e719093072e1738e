"""The sync API over a real proxy in this process; apps and servers are threads of their own."""

import asyncio
import gc
import inspect
import math
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection
from websockets.sync.server import ServerConnection

import wirewright
from support.ports import free_port
from support.processes import ROOT
from support.public_members import members
from support.threaded_peers import app, echo, let_waits_time_out, opened, reached, say, serving, settle
from support.time_limits import STEP_MILLISECONDS, STEP_SECONDS
from wirewright import sync_api
from wirewright.capture import open as open_capture
from wirewright.memory import QUEUE_LEAST, MemoryBudget, MemoryUse
from wirewright.sync import dispatcher
from wirewright.sync_api import (
    Error,
    Proxy,
    TimeoutError,  # noqa: A004
    WebSocket,
    WebSocketRoute,
    launch,
    temporary_registrations,
)

pytestmark = pytest.mark.slow

NOWHERE = "ws://nowhere.invalid/live"


@pytest.fixture(params=["launch", "connect"])
def proxy(
    request: pytest.FixtureRequest, confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """Of this process, and as another one has it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with reached(request.param, confdir) as seen:
        yield seen


@pytest.fixture
def url() -> Iterator[str]:
    with serving(echo) as served:
        yield f"{served}/live"


# Frames one after the other


def fill_orders(connection: ServerConnection) -> None:
    """Acknowledge each order, and say at once that it is filled."""
    for message in connection:
        connection.send(f'{{"type": "ack", "order": {message!s}}}')
        connection.send(f'{{"type": "filled", "order": {message!s}}}')


def test_no_frame_of_many_rounds_is_lost(proxy: Proxy) -> None:
    with serving(fill_orders) as url, opened(proxy, url) as (ws, client):
        for number in range(500):
            client.send(str(number))
            assert ws.next_frame(str(number), direction="sent").number == 3 * number + 1
            assert ws.next_frame(json={"type": "ack"}).json()["order"] == number
            assert ws.next_frame(json={"type": "filled"}).json()["order"] == number
        client.close()
        with pytest.raises(Error, match=r"^Socket closed: 1000 while waiting for a frame"):
            ws.next_frame()
        assert ws.frames.last == ws.frames[-1]
        assert ws.frames.forgotten == 500


def test_expected_socket_may_have_to_open(proxy: Proxy, url: str) -> None:
    with ExitStack() as stack:
        with proxy.expect_websocket("**/live", opened=True) as info:
            client = stack.enter_context(app(proxy, url))
        ws = info.value
        assert (ws.status, ws.opened_at is not None) == (101, True)
        ws.wait_for_open()
        say(client, "a")
        assert ws.next_frame("a", direction="received").number == 2


def test_socket_that_is_expected_to_open_and_does_not_fails_the_wait(proxy: Proxy) -> None:
    proxy.route_web_socket("**/live", lambda route: route.reject(403))
    with (
        pytest.raises(Error, match=r"^Socket error: .* Unexpected response code: 403$"),
        proxy.expect_websocket(opened=True),
        pytest.raises(InvalidStatus),
        app(proxy, NOWHERE),
    ):
        pass


# Faults


def test_one_side_is_closed_with_a_code_of_the_protocol(proxy: Proxy, url: str) -> None:
    with opened(proxy, url) as (ws, client):
        say(client, "a")
        ws.close(1012, "restart", to="client")
        with pytest.raises(ConnectionClosed):
            client.recv(STEP_SECONDS)
        assert (client.close_code, client.close_reason) == (1012, "restart")
        sync_api.expect(ws).to_be_closed(code=1012, reason="restart")
        with pytest.raises(ValueError, match="to must be 'both', 'client' or 'server', not 'app'"):
            ws.close(to="app")  # type: ignore[arg-type]


def test_network_of_an_open_socket_is_taken_away_and_given_back(proxy: Proxy, url: str) -> None:
    with opened(proxy, url) as (ws, client):
        say(client, "a")
        assert ws.conditions("offline", seed=1) == sync_api.Conditions(stall_after=0, seed=1)
        client.send("stuck")  # it does not arrive until it is sent twice
        first = ws.conditions(plan=[(0, {"duplicate": 1}), (0.01, "4g"), (60, "offline")], direction="sent")
        assert first.duplicate == 1
        assert first.seed
        ws.conditions(direction="received")
        assert [client.recv(STEP_SECONDS), client.recv(STEP_SECONDS)] == ["stuck", "stuck"]
        ws.conditions()
        with pytest.raises(ValueError, match="preset must be "):
            ws.conditions("5g")  # type: ignore[arg-type]


def test_network_is_changed_in_listeners_and_handlers(proxy: Proxy, url: str) -> None:
    proxy.on("websocket", lambda ws: ws.conditions(latency=1))

    async def listen(ws: WebSocket) -> None:
        ws.conditions(latency=2, direction="sent")

    proxy.on("websocket", listen)

    def handler(route: WebSocketRoute) -> None:
        route.connect_to_server()
        assert route.conditions("3g", latency=3, seed=1).latency == 3

    proxy.route_web_socket("**", handler)
    with opened(proxy, url) as (_, client):
        say(client, "a")


def test_connections_are_reset(proxy: Proxy, url: str) -> None:
    with opened(proxy, url) as (ws, client):
        say(client, "a")
        ws.abort("rst")
        with pytest.raises(ConnectionClosed) as caught:
            client.recv(STEP_SECONDS)
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        sync_api.expect(ws).to_be_closed(code=1006)
        with pytest.raises(ValueError, match="how must be 'fin' or 'rst', not 'hard'"):
            ws.abort("hard")  # type: ignore[arg-type]


def test_app_loses_its_network_and_reconnects(proxy: Proxy, url: str) -> None:
    with opened(proxy, url) as (ws, client):
        say(client, "a")
        proxy.offline()
        with pytest.raises(ConnectionClosed):
            client.recv(STEP_SECONDS)
        assert client.close_code == 1006
    with pytest.raises((InvalidMessage, OSError, EOFError)), app(proxy, url):
        pass
    with pytest.raises(AssertionError, match="no socket that it has requested since is open") as caught:
        sync_api.expect(proxy).to_reconnect("**/live", within=50)
    assert "closed 1006 'the proxy is offline' by proxy" in str(caught.value)
    assert "net::ERR_INTERNET_DISCONNECTED" in str(caught.value)
    proxy.online()
    with app(proxy, url) as client:
        again = sync_api.expect(proxy).to_reconnect(lambda url: url.endswith("/live"))
        say(client, "b")
        assert again.next_frame(direction="received").payload == "b"
        assert again is not ws
    with pytest.raises(TypeError, match="expect takes a WebSocket or a Proxy of the sync API, not str"):
        sync_api.expect("ws")  # type: ignore[call-overload]


def test_mocked_server_answers_by_its_rules(proxy: Proxy) -> None:
    threads: set[str] = set()

    def noted(reply: object) -> object:
        threads.add(threading.current_thread().name)
        return reply

    def pong(frame: wirewright.Frame) -> object:
        return noted({"type": "pong", "id": frame.json()["id"]})

    async def slowly() -> str:
        return "slowly"

    mock = proxy.mock_web_socket("**/live")
    mock.on(json={"type": "ping"}).reply(pong)
    mock.on("slow").reply(slowly, "and on").close(4000)
    mock.greet(lambda: noted("hello")).every(0.01, lambda: noted("tick"))
    with app(proxy, NOWHERE) as client:
        assert client.recv(STEP_SECONDS) == "hello"
        assert client.recv(STEP_SECONDS) == "tick"
        client.send('{"type": "ping", "id": 7}')
        assert any(client.recv(STEP_SECONDS) == '{"type": "pong", "id": 7}' for _ in range(10_000))
        client.send("slow")
        said: list[object] = []
        with suppress(ConnectionClosed):
            while True:
                said.append(client.recv(STEP_SECONDS))
        assert [each for each in said if each != "tick"] == ["slowly", "and on"]
        assert client.close_code == 4000
    assert threads == {"wirewright-dispatcher"}
    assert [frame.payload for frame in mock.calls] == ['{"type": "ping", "id": 7}', "slow"]


def test_handler_may_wait_for_a_frame_while_others_are_called(proxy: Proxy, url: str) -> None:
    heard: SimpleQueue[Any] = SimpleQueue()

    def watch(ws: WebSocket) -> None:
        ws.on("framesent", lambda payload: heard.put(payload))
        heard.put(ws.next_frame("b", direction="received").payload)

    proxy.on("websocket", watch)
    with app(proxy, url) as client:
        say(client, "a")
        say(client, "b")
        assert sorted(heard.get(timeout=STEP_SECONDS) for _ in range(3)) == ["a", "b", "b"]


# Waits


def test_block_waits_for_what_it_causes(proxy: Proxy, url: str) -> None:
    with ExitStack() as stack:
        with proxy.expect_websocket("**/live") as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        with ws.expect_event("framereceived"):
            say(client, "first")
        assert (ws.url, ws.status, ws.is_closed()) == (url, 101, False)
        assert proxy.web_sockets == [ws]
        assert proxy.web_sockets[0] is ws
        with ws.expect_event("framereceived", lambda payload: "wel" in payload) as frame:
            for message in ("a", "welcome", "b"):
                client.send(message)
        assert frame.is_done()
        assert frame.value == "welcome"
        with ws.expect_event("close") as closed:
            client.close(3000, "bye")
        assert closed.value is ws
        assert (ws.close_code, ws.close_reason, ws.closed_by) == (3000, "bye", "client")


def test_predicate_is_asked_in_the_thread_that_waits(proxy: Proxy, url: str) -> None:
    asked: set[threading.Thread] = set()

    def judge(value: object) -> bool:
        asked.add(threading.current_thread())
        return value == "last" if isinstance(value, str) else isinstance(value, WebSocket)

    with ExitStack() as stack:
        with proxy.expect_websocket("**/live", judge) as opened:
            client = stack.enter_context(app(proxy, url))
        with opened.value.expect_event("framereceived", judge):
            for number in range(20):
                say(client, str(number))
            say(client, "last")
        wait = ("framereceived", judge, STEP_MILLISECONDS)
        waiting = [threading.Thread(target=opened.value.wait_for_event, args=wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        while any(thread.is_alive() for thread in waiting):
            say(client, "last")
        for thread in waiting:
            thread.join()
    assert asked == {threading.current_thread(), *waiting}


def test_what_came_in_time_counts_however_long_the_block_takes(proxy: Proxy, url: str) -> None:
    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        with ws.expect_event("framereceived", lambda payload: payload == "b") as frame:
            seen(ws, client, "a")
            seen(ws, client, "b")
            let_waits_time_out(proxy)
        assert frame.value == "b"
        with (  # noqa: PT012
            pytest.raises(
                TimeoutError, match=r'^Timeout 50ms exceeded while waiting for event "framesent"\nthe '
            ),
            ws.expect_event("framesent", lambda payload: payload == "late", timeout=50),
        ):
            say(client, "in time")
            with pytest.raises(TimeoutError):
                ws.wait_for_event("framereceived", lambda _: False, timeout=200)
            say(client, "late")


def test_slow_listener_is_told_what_was_left_out(
    proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "MOST_BYTES", 50_000)
    count = 500
    may_go_on, heard, missed = threading.Event(), list[object](), list[int]()

    def slow(payload: str | bytes) -> None:
        may_go_on.wait()
        heard.append(payload)

    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        ws.on("framesent", slow)
        ws.on("missed", missed.append)
        for number in range(count):
            say(client, str(number))
        assert heard == []
        assert ws.wait_for_event("framesent", lambda payload: payload == f"{count - 1}", history=True)
        may_go_on.set()
        with ws.expect_event("close"):
            client.close()
        settle(proxy)
    assert heard == [str(number) for number in range(len(heard))]
    assert 20 < len(heard) < count
    assert missed == [count - len(heard)]


def test_slow_listener_misses_messages_while_all_together_use_up_the_memory(
    proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(10_000_000)
    monkeypatch.setattr(dispatcher, "budget", budget)
    may_go_on, heard, missed = threading.Event(), list[object](), list[int]()

    def slow(payload: str | bytes) -> None:
        may_go_on.wait()
        heard.append(payload[:10])

    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        ws.on("framesent", slow)
        ws.on("missed", missed.append)
        share = budget.share(MemoryUse.HELD)
        said = (0, "x" * 2 * QUEUE_LEAST), (9_500_000, "meanwhile"), (0, "afterwards")
        for number, (used, payload) in enumerate(said, 1):
            share.set(used)
            say(client, payload)
            while proxy._bridge.call(lambda: ws._own._history.total) < 2 * number:  # a client hears it later
                pass
        may_go_on.set()
        settle(proxy)
    assert heard == ["x" * 10, "afterwards"]
    assert missed == [1]


def test_block_that_is_left_too_much_to_judge_is_told(
    proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "MOST_BYTES", 50_000)
    judged: list[object] = []
    left_out = r"^Socket closed: 1000 \([0-9,]+ messages were left out: too many waited for the predicate\)\n"
    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        with proxy.expect_websocket() as other_opened:
            other = stack.enter_context(app(proxy, url))
        too_late = opened.value.expect_event("framesent", judged.append)
        too_late.__enter__()
        heard: list[object] = []
        other_opened.value.on("framesent", heard.append)
        for number in range(1_000):
            say(client, str(number))
        client.close()
        with pytest.raises(Error, match=left_out):
            too_late.__exit__(None, None, None)
        assert judged == [str(number) for number in range(len(judged))]
        assert 500 < len(judged) < 1_000
        with other_opened.value.expect_event("framesent", lambda payload: payload == "on") as frame:
            say(other, "on")
        assert frame.value == "on"
        settle(proxy)
        assert heard == ["on"]  # nobody else misses anything


def test_history_is_looked_at(proxy: Proxy, url: str) -> None:
    with app(proxy, url) as client:
        say(client, "early")
        (ws,) = proxy.web_sockets
        found = ws.wait_for_event("framereceived", lambda payload: payload == "early", history=True)
        assert found == "early"


def test_errors_are_those_of_the_async_api(proxy: Proxy, url: str) -> None:
    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        with pytest.raises(ValueError, match="unknown event 'pong'"):
            ws.wait_for_event("pong")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="predicate must be callable"):
            ws.wait_for_event("framesent", 7)  # type: ignore[call-overload]
        with pytest.raises(ZeroDivisionError), ws.expect_event("framereceived", lambda _: 1 / 0):
            client.send("a")
        with pytest.raises(RuntimeError, match="the block"), ws.expect_event("framereceived"):
            raise RuntimeError("the block")
        with (  # noqa: PT012
            pytest.raises(Error, match=r"^Socket closed: 1000\nthe predicate "),
            ws.expect_event("framereceived", lambda _: False),
        ):
            client.send("a")
            client.close()
        with pytest.raises(Error, match=r"^Socket closed: 1000$"):
            ws.send_to_client("a")
        proxy.set_default_timeout(10)
        with pytest.raises(TimeoutError, match="Timeout 10ms exceeded"):
            proxy.wait_for_websocket()


@pytest.mark.parametrize("is_async", [False, True])
def test_exception_of_a_predicate_has_a_note_with_its_frame(
    proxy: Proxy, url: str, *, is_async: bool
) -> None:
    def judge(payload: str | bytes) -> bool:
        if payload == "b":
            raise KeyError(payload)
        return False

    async def judge_later(payload: str | bytes) -> bool:
        return judge(payload)

    with (  # noqa: PT012
        opened(proxy, url) as (ws, client),
        pytest.raises(KeyError) as caught,
        ws.expect_event("framereceived", judge_later if is_async else judge),
    ):
        for message in ("a", "b", "c"):
            say(client, message)
    (note,) = caught.value.__notes__
    assert re.search(r"^the predicate judge\w* \(.*test_sync_api\.py:\d+\) raised on frame 4: ← 'b'$", note)


# Async functions


def test_async_predicates_are_asked_one_after_the_other(proxy: Proxy, url: str) -> None:
    asked: list[object] = []

    async def judge(value: Any) -> bool:
        asked.append(value)
        await asyncio.sleep(0.01)
        asked.append(threading.current_thread().name)
        return value == "two" or isinstance(value, WebSocket)

    async def judge_without() -> bool:
        return True

    async def fail(payload: str | bytes) -> bool:
        await asyncio.sleep(0)
        raise LookupError(payload)

    with ExitStack() as stack:
        with proxy.expect_websocket(judge) as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        assert asked == [ws, "wirewright-proxy"]
        with ws.expect_event("framesent", judge) as frame:
            for message in ("one", "two", "three"):
                say(client, message)
        assert frame.value == "two"
        assert asked[2:] == ["one", "wirewright-proxy", "two", "wirewright-proxy"]
        with ws.expect_event("framesent", judge_without):
            say(client, "four")
        with pytest.raises(LookupError, match="five"), ws.expect_event("framesent", fail):
            say(client, "five")


@pytest.mark.parametrize("is_late", [False, True])
def test_async_predicate_that_does_not_end_is_given_up(proxy: Proxy, url: str, *, is_late: bool) -> None:
    ended: list[object] = []

    async def never(payload: str | bytes) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(payload)

    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        for message in ("a", "b", "c"):
            say(client, message)
        pass_time = let_waits_time_out if is_late else settle
        with (
            pytest.raises(TimeoutError, match=r"^Timeout 100ms exceeded"),
            ws.expect_event("framesent", never, timeout=100, history=True),
        ):
            pass_time(proxy)
        assert ended == ["a"]


def test_async_listeners_begin_in_the_order_of_the_events(proxy: Proxy, url: str) -> None:
    heard: list[str] = []
    over = threading.Event()

    async def watch(ws: WebSocket) -> None:
        heard.append("open")
        ws.on("framesent", note_sent)
        ws.on("framereceived", lambda payload: heard.append("received " + str(payload)))
        ws.once("close", note_close)

    async def note_sent(payload: str | bytes) -> None:
        heard.append(f"sent {payload!s}")
        await asyncio.sleep(0.01)
        heard.append(f"done {payload!s}")

    async def note_close() -> None:
        heard.append("close")
        over.set()

    proxy.on("websocket", watch)
    with app(proxy, url) as client:
        for message in ("one", "two"):
            say(client, message)
    assert over.wait(STEP_SECONDS)
    settle(proxy)
    assert [each for each in heard if not each.startswith("done")] == [
        *("open", "sent one", "received one", "sent two", "received two", "close")
    ]
    assert sorted(each for each in heard if each.startswith("done")) == ["done one", "done two"]


def test_async_handlers_of_routes_are_awaited(proxy: Proxy, url: str) -> None:
    ended: SimpleQueue[object] = SimpleQueue()

    async def route(ws: WebSocketRoute) -> None:
        await asyncio.sleep(0.01)
        server = ws.connect_to_server()

        async def forward(message: Any) -> None:
            await asyncio.sleep(0.02 if message == "slow" else 0)
            server.send(f"{message}!")

        async def close(code: int) -> None:
            await asyncio.sleep(0)
            ended.put(code)
            server.close(3001)

        ws.on_message(forward)
        ws.on_close(close)

    async def is_live(asked: str) -> bool:
        await asyncio.sleep(0)
        return asked == url

    proxy.route_web_socket(is_live, route)
    with app(proxy, url) as client:
        for message in ("slow", "quick"):
            client.send(message)
        assert [client.recv(timeout=STEP_SECONDS) for _ in range(2)] == ["slow!", "quick!"]
        (ws,) = proxy.web_sockets
        client.close(3000)
        assert ended.get(timeout=STEP_SECONDS) == 3000
        assert ws.wait_for_event("close") is ws


@pytest.mark.ws_allow_errors
def test_async_functions_that_raise_hurt_nobody(
    proxy: Proxy, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("no")

    async def leave() -> None:
        sys.exit(1)

    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        for listener in (fail, leave, heard.append):
            ws.on("framesent", listener)
        say(client, "a")
        say(client, "b")
    settle(proxy)
    assert heard == ["a", "b"]
    assert caplog.text.count("LookupError: no") == 2
    assert caplog.text.count("SystemExit: 1") == 2


def test_async_functions_act_and_do_not_wait(proxy: Proxy, url: str) -> None:
    said: SimpleQueue[object] = SimpleQueue()

    async def act(payload: str | bytes) -> None:
        if payload == "go":
            assert proxy.web_sockets == [ws]
            ws.send_to_client("from a coroutine")
            with pytest.raises(Error) as raised:
                ws.wait_for_event("framesent")
            said.put(raised.value.message)

    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        ws.on("framesent", act)
        client.send("go")
        assert {client.recv(timeout=STEP_SECONDS) for _ in range(2)} == {"go", "from a coroutine"}
    assert said.get(timeout=STEP_SECONDS) == (
        "the proxy's thread, in which async functions run, cannot wait: use a plain function"
    )


# Listeners


def test_listeners_are_called_in_one_thread_in_the_order_of_the_events(proxy: Proxy, url: str) -> None:
    seen: list[tuple[str, object]] = []
    bridge: set[str] = set()
    over = threading.Event()

    def note(name: str, value: object) -> None:
        bridge.add(threading.current_thread().name)
        seen.append((name, value))

    def opened(ws: WebSocket) -> None:
        def closed(same: WebSocket) -> None:
            note("close", same is ws)
            over.set()

        note("websocket", ws.url)
        ws.on("framesent", lambda payload: note("sent", payload))
        ws.on("framereceived", lambda payload: note("received", payload))
        ws.once("close")(closed)

    proxy.on("websocket", opened)
    with app(proxy, url) as client:
        for number in range(100):
            say(client, str(number))
    assert over.wait(STEP_SECONDS)
    pairs = [(name, str(number)) for number in range(100) for name in ("sent", "received")]
    assert seen == [("websocket", url), *pairs, ("close", True)]
    assert bridge == {"wirewright-dispatcher"}


def test_listeners_that_call_something_are_still_called_in_order(proxy: Proxy, url: str) -> None:
    seen_numbers: list[object] = []

    def note(payload: Any) -> None:
        assert proxy.web_sockets
        seen_numbers.append(payload)

    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        ws.on("framesent", note)
        numbers = [str(number) for number in range(300)]
        for number in numbers:
            client.send(number)
        for number in numbers:
            assert client.recv(timeout=STEP_SECONDS) == number
        with ws.expect_event("framesent", lambda payload: payload == "last"):
            client.send("last")
        settle(proxy)
    assert seen_numbers == [*numbers, "last"]


@pytest.mark.ws_allow_errors
def test_listener_that_fails_its_test_ends_no_thread(
    proxy: Proxy, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(ws: WebSocketRoute) -> None:
        pytest.fail("not so")

    proxy.on("websocket", lambda _: sys.exit(1))
    proxy.route_web_socket("**/routed", fail)
    with pytest.raises(InvalidStatus):
        app(proxy, url.replace("live", "routed")).__enter__()
    assert "not so" in caplog.text
    with app(proxy, url) as client:
        say(client, "a")


def test_predicate_that_raises_stop_iteration_ends_its_wait(proxy: Proxy, url: str) -> None:
    expected: Iterator[str] = iter(())
    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        with (
            pytest.raises(RuntimeError, match="StopIteration"),
            ws.expect_event("framereceived", lambda payload: payload == next(expected)),
        ):
            client.send("a")


def test_listeners_are_taken_back(proxy: Proxy, url: str) -> None:
    heard: list[object] = []
    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        for _ in range(2):  # pyee's rule: the same function is called once
            assert ws.on("framereceived", heard.append) == heard.append
        seen(ws, client, "a")
        settle(proxy)
        ws.remove_listener("framereceived", heard.append)
        ws.remove_listener("framereceived", heard.append)
        seen(ws, client, "b")
        ws.on("framereceived", heard.append)
        ws.remove_all_listeners()
        seen(ws, client, "c")
        ws.on("framereceived", heard.append)
        with ws.expect_event("framereceived"):
            say(client, "d")
    settle(proxy)
    assert heard == ["a", "d"]


def seen(ws: WebSocket, client: ClientConnection, message: str) -> None:
    """Have the app say something, and return when its echo is known here."""
    with ws.expect_event("framereceived", lambda payload: payload == message):
        say(client, message)


@pytest.mark.ws_allow_errors
def test_listener_that_raises_is_logged_and_hurts_nobody(
    proxy: Proxy, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[object] = []
    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        ws.on("framereceived", lambda _: 1 / 0)
        ws.on("framereceived", heard.append)
        say(client, "a")
    settle(proxy)
    assert heard == ["a"]
    assert "ZeroDivisionError" in caplog.text


def test_handlers_may_call_and_wait_for_everything(proxy: Proxy, url: str) -> None:
    """A listener waits for what a route's handler does, which is called in the same thread."""
    heard: list[object] = []
    over = threading.Event()

    def route(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(lambda message: server.send(str(message) + "!"))

    def opened(ws: WebSocket) -> None:
        heard.append(ws.wait_for_event("framesent", lambda payload: payload == "two!"))
        ws.send_to_client("from the listener")
        heard.append(len(proxy.web_sockets))
        over.set()

    proxy.route_web_socket("**", route)
    proxy.on("websocket", opened)
    with app(proxy, url) as client:
        client.send("one")
        client.send("two")
        assert {client.recv(timeout=STEP_SECONDS) for _ in range(3)} == {"one!", "two!", "from the listener"}
        assert over.wait(STEP_SECONDS)
    assert heard == ["two!", 1]


def test_functions_take_as_many_values_as_they_like(
    proxy: Proxy, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    called: SimpleQueue[str] = SimpleQueue()

    def mock(ws: WebSocketRoute) -> None:
        ws.on_message(lambda: ws.send("answer"))
        ws.on_close(lambda code: called.put(str(code)))

    proxy.once("websocket", lambda: called.put("websocket"))
    proxy.route_web_socket(lambda: True, mock)
    with ExitStack() as stack:
        with proxy.expect_websocket(lambda ws: ws.url == NOWHERE) as opened:
            client = stack.enter_context(app(proxy, NOWHERE))
        ws = opened.value
        ws.on("close", lambda: called.put("close"))
        with ws.expect_event("framereceived", lambda: True):
            client.send("a")
        client.close(3000)
        assert {called.get(timeout=STEP_SECONDS) for _ in range(3)} == {"websocket", "3000", "close"}
    assert not caplog.messages


# Routes


def test_both_sides_are_routes_and_send_bytes_of_any_kind(proxy: Proxy, url: str) -> None:
    shown: list[str] = []

    def forward(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        assert isinstance(server, WebSocketRoute)
        shown.extend([repr(ws), repr(server)])
        server.on_message(lambda message: ws.send(memoryview(bytes(message))))
        with pytest.raises(Error, match=r"^connectToServer must be called on the page-side WebSocketRoute$"):
            server.connect_to_server()

    proxy.route_web_socket("**", forward)
    with app(proxy, url) as client:
        client.send(b"a")
        assert client.recv(timeout=STEP_SECONDS) == b"a"
        (ws,) = proxy.web_sockets
        ws.send_to_client(bytearray(b"b"))
        assert client.recv(timeout=STEP_SECONDS) == b"b"
    assert shown == [f"<WebSocketRoute url={url!r}>"] * 2


def test_routes_change_and_mock(proxy: Proxy, url: str) -> None:
    bridge: set[str] = set()

    def change(ws: WebSocketRoute) -> None:
        bridge.add(threading.current_thread().name)
        assert (ws.url, ws.protocols) == (url, [])
        server = ws.connect_to_server()

        def sent(message: Any) -> None:
            bridge.add(threading.current_thread().name)
            server.send(message.replace("buy", "sell"))

        ws.on_message(sent)

    def mock(ws: WebSocketRoute) -> None:
        ws.on_message(lambda message: ws.send("mocked " + str(message)))
        ws.send("hello")

    def is_nowhere(asked: str) -> bool:
        bridge.add(threading.current_thread().name)
        return "nowhere" in asked

    proxy.route_web_socket("**/live", change)
    proxy.route_web_socket(is_nowhere, mock)
    with app(proxy, url) as client:
        client.send("buy")
        assert client.recv(timeout=STEP_SECONDS) == "sell"
    with app(proxy, NOWHERE) as client:
        assert client.recv(timeout=STEP_SECONDS) == "hello"
        client.send("a")
        assert client.recv(timeout=STEP_SECONDS) == "mocked a"
    assert bridge == {"wirewright-dispatcher"}


def test_routes_refuse_and_are_taken_back(proxy: Proxy, url: str) -> None:
    def refuse(ws: WebSocketRoute) -> None:
        ws.reject(403, {"A": "b"}, "no")

    def always(asked: str) -> bool:
        return True

    proxy.route_web_socket(always, refuse)
    proxy.route_web_socket("**", refuse, times=1)
    for _ in range(2):
        with pytest.raises(InvalidStatus):
            app(proxy, url)
    proxy.unroute_web_socket(always, refuse)
    with app(proxy, url) as client:
        say(client, "a")


@pytest.mark.ws_allow_errors
def test_handler_that_raises_refuses_the_socket(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    proxy.route_web_socket("**", lambda ws: 1 / 0)
    with pytest.raises(InvalidStatus) as refused:
        app(proxy, NOWHERE)
    assert refused.value.response.status_code == 502
    assert "ZeroDivisionError" in caplog.text


def test_ends_of_both_sides_are_told(proxy: Proxy, url: str) -> None:
    ends: list[tuple[int, str]] = []
    told = threading.Event()

    def route(ws: WebSocketRoute) -> None:
        def ended(code: int, reason: str) -> None:
            ends.append((code, reason))
            server.close(3001, "ours")
            told.set()

        server = ws.connect_to_server()
        ws.on_close(ended)

    proxy.route_web_socket("**", route)
    with app(proxy, url) as client:
        say(client, "a")
        client.close(3000, "theirs")
    assert told.wait(STEP_SECONDS)
    assert ends == [(3000, "theirs")]


# Captures


def test_captures_are_recorded_and_played(proxy: Proxy, url: str, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    bridge: set[str] = set()

    def same(recorded: object, live: object) -> bool:
        bridge.add(threading.current_thread().name)
        return True

    proxy.start_capture(path, url=re.compile("live"))
    proxy.annotate("now")
    with app(proxy, url) as client:
        say(client, "a")
    proxy.stop_capture()
    with open_capture(path) as capture:
        assert [frame.payload for frame in capture.frames() if frame.is_message] == ["a", "a"]
    replay = proxy.route_from_capture(path, url=lambda asked: True, speed=math.inf, compare=same)
    with app(proxy, url) as client:
        client.send("anything")
        assert client.recv(timeout=STEP_SECONDS) == "a"
    assert not replay.mismatches
    assert bridge == {"wirewright-dispatcher"}
    with pytest.raises(TypeError, match="url must be a glob or a regex"):
        proxy.start_capture(path, url=lambda asked: True)


# The proxy


def test_every_name_of_the_async_api_is_here() -> None:
    for name in ("Proxy", "WebSocket", "WebSocketRoute"):
        ours, theirs = getattr(sync_api, name), getattr(wirewright, name)
        names = {each for each in dir(ours) if not each.startswith("_")}
        of_pyee = {"on", "once", "remove_listener", "remove_all_listeners"} & names
        assert names == (members(theirs) | of_pyee) - {"add_listener"}
        for method in names - of_pyee:
            if inspect.isfunction(getattr(ours, method)):
                ways = [inspect.signature(getattr(each, method)).parameters for each in (ours, theirs)]
                assert list(ways[0]) == list(ways[1])


def opened_and_over(proxy: Proxy, url: str) -> WebSocket:
    """A socket that is taken when the conversation is over."""
    with proxy.expect_websocket() as opened, app(proxy, url) as client:
        for message in ("one", "two"):
            client.send(message)
            assert client.recv(timeout=STEP_SECONDS) == message
    with pytest.raises(TimeoutError):
        proxy.wait_for_websocket(timeout=100)
    return opened.value


def test_first_wait_begins_at_the_opening(proxy: Proxy, url: str) -> None:
    ws = opened_and_over(proxy, url)
    assert [ws.wait_for_event("framereceived") for _ in range(2)] == ["one", "two"]
    assert ws.wait_for_event("close") is ws
    ws = opened_and_over(proxy, url)
    with ws.expect_event("framesent", lambda payload: payload == "two") as frame:
        pass
    assert frame.value == "two"
    with pytest.raises(Error, match=r"^Socket closed: 1000$"), ws.expect_event("framereceived"):
        pass
    ws = opened_and_over(proxy, url)
    assert ws.wait_for_event("framereceived", history=True) == "one"
    assert ws.wait_for_event("framereceived") == "two"
    with pytest.raises(Error, match=r"^Socket closed: 1000$"):
        ws.wait_for_event("framereceived")


def test_listeners_begin_at_the_opening_and_hear_one_order(proxy: Proxy, url: str) -> None:
    ws = opened_and_over(proxy, url)
    heard: list[object] = []
    over = threading.Event()

    @ws.on("close")
    def closed() -> None:
        heard.append("close")
        over.set()

    ws.on("framereceived", lambda payload: heard.append("received " + str(payload)))
    ws.on("framesent", lambda payload: heard.append("sent " + str(payload)))
    once: list[object] = []
    ws.once("framesent", once.append)
    ws.once("framereceived", heard.append)
    ws.remove_listener("framereceived", heard.append)
    assert over.wait(STEP_SECONDS)
    assert heard == ["sent one", "received one", "sent two", "received two", "close"]
    assert once == ["one"]


def test_listener_of_a_socket_that_lives_hears_past_and_present(proxy: Proxy, url: str) -> None:
    heard: list[object] = []
    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
            say(client, "past")
        ws = opened.value
        ws.on("framereceived", heard.append)
        say(client, "meanwhile")
        assert ws.wait_for_event("framereceived") == "past"
        say(client, "present")
        with ws.expect_event("close"):
            client.close()
        settle(proxy)
        late: list[object] = []
        ws.on("framereceived", late.append)
        settle(proxy)
    assert heard == ["past", "meanwhile", "present"]
    assert late == []


def test_listener_for_sockets_waits_from_the_opening_on(proxy: Proxy, url: str) -> None:
    """The handler comes late: the one before it keeps the dispatcher's thread busy."""
    may_go_on, over = threading.Event(), threading.Event()
    heard: list[object] = []

    def watch(ws: WebSocket) -> None:
        may_go_on.wait(STEP_SECONDS)
        heard.append(ws.wait_for_event("framereceived"))
        ws.on("framereceived", heard.append)
        heard.append(ws.wait_for_event("framesent", lambda payload: payload == "two"))
        heard.append(ws.wait_for_event("close") is ws)
        over.set()

    proxy.on("websocket", watch)
    with app(proxy, url) as client:
        for message in ("one", "two"):
            client.send(message)
            assert client.recv(timeout=STEP_SECONDS) == message
    may_go_on.set()
    assert over.wait(STEP_SECONDS)
    settle(proxy)
    assert sorted(map(str, heard)) == ["True", "one", "two", "two"]


def test_handler_that_lives_as_long_as_its_socket_keeps_nothing(proxy: Proxy, url: str) -> None:
    def watch(ws: WebSocket) -> None:
        with suppress(Error):
            while True:
                ws.wait_for_event("framereceived")

    proxy.on("websocket", watch)
    with app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        for number in range(10):
            seen(ws, client, str(number))
        while ws._own._history.is_retained:
            seen(ws, client, "more")


def test_several_threads_use_it_at_once(proxy: Proxy, url: str) -> None:
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            with ExitStack() as stack:
                with proxy.expect_websocket(f"**/{number}") as opened:
                    client = stack.enter_context(app(proxy, url.replace("live", str(number))))
                with opened.value.expect_event("framereceived", lambda payload: payload == "2"):
                    for message in "012":
                        say(client, message)
        except BaseException as error:
            failures.append(error)

    bridge = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in bridge:
        thread.start()
    for thread in bridge:
        thread.join()
    assert not failures


def test_waits_end_with_the_proxy(confdir: Path) -> None:
    errors: list[str] = []
    waiting = threading.Event()

    def wait() -> None:
        with pytest.raises(Error) as raised, launched.expect_websocket(timeout=0):
            waiting.set()
        errors.append(raised.value.message)

    with launch(port=0, confdir=confdir) as launched:
        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(STEP_SECONDS)
    thread.join()
    assert errors == ["Proxy closed"]
    with pytest.raises(Error, match=r"^Proxy closed$"):
        launched.wait_for_websocket()


def test_launch_that_fails_says_why_and_leaves_nothing(confdir: Path, url: str) -> None:
    before = threading.active_count()
    with (
        pytest.raises(Error, match="is already in use"),
        launch(port=int(url.split(":")[2][:-5]), confdir=confdir),
    ):
        raise AssertionError
    with (
        launch(port=0, confdir=confdir),
        pytest.raises(Error, match="a proxy runs in this process already"),
        launch(port=free_port(), confdir=confdir),
    ):
        raise AssertionError
    assert threading.active_count() == before


def test_callers_that_come_while_the_proxy_ends_are_told(confdir: Path) -> None:
    ended: list[str] = []

    def ask(proxy: Proxy) -> None:
        with pytest.raises(Error) as raised:  # noqa: PT012
            while True:
                assert proxy.web_sockets == []
        ended.append(raised.value.message)

    for _ in range(5):
        with launch(port=0, confdir=confdir) as launched:
            bridge = [threading.Thread(target=ask, args=(launched,)) for _ in range(4)]
            for thread in bridge:
                thread.start()
        for thread in bridge:
            thread.join(STEP_SECONDS)
            assert not thread.is_alive()
    assert ended == ["Proxy closed"] * 20


INTERRUPTED = """
import os, signal, sys, threading, time
from wirewright.sync_api import launch

def interrupt_the_wait():
    while not proxy._own._scope._waits:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

with launch(port=0, confdir=sys.argv[1]) as proxy:
    threading.Thread(target=interrupt_the_wait).start()
    try:
        proxy.wait_for_websocket(timeout=0)
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_ctrl_c_interrupts_a_wait(confdir: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, str(confdir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    assert (run.stdout, run.stderr, run.returncode) == ("interrupted\n", "", 0)


def test_app_is_told_when_the_proxy_ends(confdir: Path, url: str) -> None:
    with ExitStack() as stack:
        with launch(port=0, confdir=confdir) as proxy:
            client = stack.enter_context(app(proxy, url))
            say(client, "a")
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=STEP_SECONDS)


@pytest.mark.parametrize("has_listener", [False, True])
def test_thread_that_took_sockets_keeps_none_after_the_end_of_the_proxy(
    confdir: Path, url: str, has_listener: bool
) -> None:
    kept: list[weakref.ref[Any]] = []
    heard: list[object] = []

    def take(proxy: Proxy) -> None:
        with proxy.expect_websocket("**/live") as opened, app(proxy, url) as client:
            say(client, "first")
        ws = opened.value
        if has_listener:
            ws.on("framesent", heard.append)
        kept.append(weakref.ref(ws._own))

    go_on, is_over = threading.Event(), threading.Event()

    def work(proxy: Proxy) -> None:
        take(proxy)
        go_on.set()
        is_over.wait(STEP_SECONDS)

    with launch(port=0, confdir=confdir) as proxy:
        take(proxy)
        worker = threading.Thread(target=work, args=(proxy,))
        worker.start()
        assert go_on.wait(STEP_SECONDS)
    del proxy
    gc.collect()
    try:
        assert [each() for each in kept] == [None, None]
        assert heard == ["first", "first"] * has_listener
    finally:
        is_over.set()
        worker.join()


def test_outage_that_an_interrupt_has_begun_ends_with_the_block(proxy: Proxy, url: str) -> None:
    """The exception comes after the proxy has carried out the call, and before it returns."""

    with temporary_registrations(proxy) as temporary:
        carry_out = temporary._do

        def interrupted(*arguments: Any, **options: Any) -> Any:
            carry_out(*arguments, **options)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(temporary, "_do", interrupted)
            with pytest.raises(KeyboardInterrupt):
                temporary.offline()
    with proxy.expect_websocket(opened=True, timeout=1000 * STEP_SECONDS), app(proxy, url):
        pass
