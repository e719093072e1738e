"""Listeners and waits of the sync API: their threads, their turns, and what becomes of them."""

import faulthandler
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection

from support.sync import app, echo, reached, say, serving
from wirewright import threads
from wirewright.sync_api import Error, Proxy, WebSocket, WebSocketRoute, for_a_while, launch


@pytest.fixture(params=["launch", "connect"])
def proxy(
    request: pytest.FixtureRequest, confdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with reached(request.param, confdir) as seen:
        yield seen


@pytest.fixture
def url() -> Iterator[str]:
    with serving(echo) as served:
        yield served


class Gate:
    """What a listener stands at until it may go on."""

    def __init__(self) -> None:
        self._is_open = threading.Event()

    def __call__(self, *_: object) -> None:
        assert self._is_open.wait(30)

    def open(self) -> None:
        self._is_open.set()


def settle(proxy: Proxy) -> None:
    """Return when the dispatcher has done what it was given until now."""
    done = threading.Event()
    proxy._bridge.in_turn(done.set)
    assert done.wait(30)


# Turns


def test_listener_on_a_new_socket_hears_it_from_the_beginning(proxy: Proxy) -> None:
    def greet(connection: ServerConnection) -> None:
        connection.send("greeting")
        for _ in connection:
            pass

    gate, heard = Gate(), list[str]()
    proxy.on("websocket", gate)
    proxy.on("websocket", lambda ws: ws.on("framereceived", heard.append))
    with serving(greet) as url, app(proxy, url) as client:
        assert client.recv() == "greeting"
        with app(proxy, url) as other:
            assert other.recv() == "greeting"
        gate.open()
        settle(proxy)
    assert heard == ["greeting", "greeting"]


def test_socket_that_nobody_listens_to_costs_nothing(proxy: Proxy, url: str) -> None:
    opened: list[WebSocket] = []
    proxy.on("websocket", opened.append)
    with app(proxy, url) as client:
        say(client, "a")
        settle(proxy)
        (ws,) = opened
        ws.once("framesent", lambda payload: None)
        say(client, "b")
        settle(proxy)
        assert proxy._call(ws._own.event_names) == set()


def test_listener_that_takes_itself_back_is_called_once(proxy: Proxy, url: str) -> None:
    gate, heard = Gate(), list[str]()

    def first(payload: str) -> None:
        gate()
        heard.append(payload)
        ws.remove_listener("framesent", first)

    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        ws.on("framesent", first)
        for message in "abc":
            say(client, message)
        gate.open()
        settle(proxy)
    assert heard == ["a"]


def test_listener_that_is_taken_back_has_heard_what_came_before(proxy: Proxy, url: str) -> None:
    gate, heard = Gate(), list[str]()
    with ExitStack() as stack:
        with proxy.expect_websocket() as opened:
            client = stack.enter_context(app(proxy, url))
        ws = opened.value
        ws.on("framesent", gate)
        ws.on("framesent", heard.append)
        with ws.expect_event("framesent"):
            say(client, "before")
        ws.remove_listener("framesent", heard.append)
        with ws.expect_event("framesent"):
            say(client, "between")
        ws.on("framesent", heard.append)
        with ws.expect_event("framesent"):
            say(client, "after")
        gate.open()
        settle(proxy)
    assert heard == ["before", "after"]


def test_nothing_is_heard_after_a_while_is_over(proxy: Proxy, url: str) -> None:
    gate, heard = Gate(), list[str]()
    before = proxy._own._scope.default_timeout
    with app(proxy, url) as client:
        with for_a_while(proxy) as seen:
            (ws,) = seen.web_sockets
            ws.on("framesent", gate)
            ws.on("framesent", heard.append)
            with ws.expect_event("framesent"):
                say(client, "a")
            with ws.expect_event("framesent"):
                say(client, "b")
            seen.set_default_timeout(700)
        assert proxy._own._scope.default_timeout == before
        gate.open()
        settle(proxy)
        assert heard in ([], ["a"])  # the gate was passed by the first message alone
        assert proxy._call(ws._own.event_names) == set()


# Handlers that wait


def test_handlers_that_wait_do_not_wait_for_each_other(proxy: Proxy, url: str) -> None:
    def welcome(ws: WebSocket) -> None:
        first = ws.wait_for_event("framesent", history=True)
        ws.send_to_client(f"welcome, {first}")

    proxy.on("websocket", welcome)
    with ExitStack() as stack:
        clients = [stack.enter_context(app(proxy, url)) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(str(number))
            assert {client.recv(timeout=10), client.recv(timeout=10)} == {f"{number}", f"welcome, {number}"}


def test_as_many_handlers_as_one_likes_may_wait(proxy: Proxy, url: str) -> None:
    count, done, all_done = 200, list[str](), threading.Event()

    def until_closed(ws: WebSocket) -> None:
        ws.wait_for_event("close", timeout=0)
        done.append(threading.current_thread().name)
        if len(done) == count:
            all_done.set()

    proxy.on("websocket", until_closed)
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(app(proxy, url))
    assert all_done.wait(30)
    assert set(done) == {"wirewright-dispatcher"}


def test_wait_that_a_handler_began_may_be_ended_in_another_thread(proxy: Proxy, url: str) -> None:
    began, heard_in, waits = threading.Event(), set[str](), list[object]()

    def opened(ws: WebSocket) -> None:
        ws.on("framesent", lambda _: heard_in.add(threading.current_thread().name))
        waits.append(ws.expect_event("framereceived", lambda payload: payload == "9").__enter__())
        began.set()

    proxy.on("websocket", opened)
    with app(proxy, url) as client:
        assert began.wait(30)
        for number in range(10):
            say(client, str(number))
        values: list[str] = []
        readers = [
            threading.Thread(target=lambda: values.append(waits[0].value))  # type: ignore[attr-defined]
            for _ in range(3)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(30)
    assert values == ["9"] * 3
    settle(proxy)
    assert heard_in == {"wirewright-dispatcher"}


def test_predicate_of_a_handler_s_wait_may_call_something(proxy: Proxy, url: str) -> None:
    found: list[str] = []
    done = threading.Event()

    def opened(ws: WebSocket) -> None:
        found.append(ws.wait_for_event("framesent", lambda payload: payload == "b" and proxy.web_sockets))
        done.set()

    proxy.on("websocket", opened)
    with app(proxy, url) as client:
        while not done.is_set():  # since when it waits nobody knows
            say(client, "a")
            say(client, "b")
    assert found == ["b"]


def test_handler_that_never_returns_does_not_keep_the_proxy(
    confdir: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "LAST_SECONDS", 0.1)
    gate = Gate()
    with launch(port=0, confdir=confdir) as proxy, app(proxy, url) as client:
        (ws,) = proxy.web_sockets
        ws.on("framesent", gate)
        with ws.expect_event("framesent"):
            say(client, "a")
        dispatcher = proxy._bridge._dispatcher
    assert "a listener or a handler is still at work" in caplog.text
    gate.open()
    dispatcher.join(30)
    assert not dispatcher.is_alive()


# Threads in which nothing can be waited for


def test_call_in_the_proxy_s_own_thread_is_refused(proxy: Proxy) -> None:
    refusals: list[str] = []

    class Remarks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                proxy.annotate(record.getMessage())
            except Error as error:
                refusals.append(error.message)

    handler = Remarks()
    logger = logging.getLogger("wirewright.test")
    logger.addHandler(handler)
    try:
        proxy._call(logger.error, "said in the loop")
    finally:
        logger.removeHandler(handler)
    assert refusals == ["this thread runs the proxy: nothing can be waited for in it"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads and forks
def test_forked_child_is_told(proxy: Proxy) -> None:
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(20, exit=True)
        try:
            _ = proxy.port
        except Error as error:
            os._exit(0 if "this is a forked process" in error.message else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Waits that nobody ends


def test_block_that_is_never_entered_waits_for_nothing(proxy: Proxy, url: str) -> None:
    with app(proxy, url):
        (ws,) = proxy.web_sockets
        ws.expect_event("framesent", lambda payload: False, timeout=1)
        assert proxy._call(lambda: len(ws._own._scope._waits)) == 0


def test_both_sides_of_a_route_are_there(proxy: Proxy, url: str) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        assert ws.server is server
        ws.on_message(lambda message: ws.server.send(f"changed {message!r}"))

    proxy.route_web_socket("**", handler)
    with app(proxy, url) as client:
        client.send("a")
        assert client.recv(timeout=10) == "changed 'a'"
        (ws,) = proxy.web_sockets
        assert ws.flow is None
