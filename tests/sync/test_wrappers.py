"""Listeners and waits of the sync API: their threads, their turns, and what becomes of them."""

import faulthandler
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.server import ServerConnection

from support.mistakes import as_in_a_program
from support.processes import ROOT
from support.threaded_peers import app, echo, opened, say, serving, settle
from support.time_limits import STEP_SECONDS
from wirewright.sync import bridge
from wirewright.sync_api import Error, Proxy, WebSocket, WebSocketRoute, launch, temporary_registrations

pytestmark = pytest.mark.slow


@pytest.fixture
def url() -> Iterator[str]:
    with serving(echo) as served:
        yield served


class Gate:
    """What a listener stands at until it may go on."""

    def __init__(self) -> None:
        self._is_open = threading.Event()

    def __call__(self, *_: object) -> None:
        assert self._is_open.wait(STEP_SECONDS)

    def open(self) -> None:
        self._is_open.set()


def heard_events(ws: WebSocket) -> set[str]:
    """The events of a socket that anybody listens to or waits for. In the loop's thread."""
    return {event for event in ws._own._EVENTS if ws._own._is_heard(event)}


# Turns


def test_listener_on_a_new_socket_hears_it_from_the_beginning(proxy: Proxy) -> None:
    def greet(connection: ServerConnection) -> None:
        connection.send("greeting")
        for _ in connection:
            pass

    gate, heard = Gate(), list[object]()
    proxy.on("websocket", gate)
    proxy.on("websocket", lambda ws: ws.on("framereceived", heard.append))
    with serving(greet) as url:
        for _ in range(2):
            with opened(proxy, url) as (ws, client):
                assert client.recv() == "greeting"
                assert ws.wait_for_event("framereceived", history=True) == "greeting"
        gate.open()
        settle(proxy)
    assert heard == ["greeting", "greeting"]


def test_socket_that_nobody_listens_to_costs_nothing(proxy: Proxy, url: str) -> None:
    sockets: list[WebSocket] = []
    proxy.on("websocket", sockets.append)
    with opened(proxy, url) as (ws, client):
        settle(proxy)
        assert sockets == [ws]
        ws.once("framesent", lambda payload: None)
        with ws.expect_event("framereceived"):
            say(client, "a")
        settle(proxy)
        assert proxy._call(heard_events, ws) == set()


def test_listener_that_takes_itself_back_is_called_once(proxy: Proxy, url: str) -> None:
    gate, heard = Gate(), list[object]()

    def first(payload: str | bytes) -> None:
        gate()
        heard.append(payload)
        ws.remove_listener("framesent", first)

    with opened(proxy, url) as (ws, client):
        ws.on("framesent", first)
        for message in "abc":
            say(client, message)
        gate.open()
        settle(proxy)
    assert heard == ["a"]


def test_nothing_is_heard_after_a_while_is_over(proxy: Proxy, url: str) -> None:
    gate, heard = Gate(), list[object]()
    before = proxy._own._default_timeout
    with opened(proxy, url) as (_, client):
        with temporary_registrations(proxy) as seen:
            (ws,) = seen.web_sockets
            ws.on("framesent", gate)
            ws.on("framesent", heard.append)
            with ws.expect_event("framesent"):
                say(client, "a")
            with ws.expect_event("framesent"):
                say(client, "b")
            seen.set_default_timeout(700)
        assert proxy._own._default_timeout == before
        gate.open()
        settle(proxy)
        assert heard in ([], ["a"])  # the gate was passed by the first message alone
        assert proxy._call(heard_events, ws) == set()


# Handlers that wait


def test_handlers_that_wait_do_not_wait_for_each_other(proxy: Proxy, url: str) -> None:
    def welcome(ws: WebSocket) -> None:
        first = ws.wait_for_event("framesent", history=True)
        ws.send_to_client(f"welcome, {first!s}")

    proxy.on("websocket", welcome)
    with ExitStack() as stack:
        clients = [stack.enter_context(app(proxy, url)) for _ in range(3)]
        for number, client in enumerate(clients):
            client.send(str(number))
            said = {client.recv(timeout=STEP_SECONDS) for _ in range(2)}
            assert said == {f"{number}", f"welcome, {number}"}


@pytest.mark.once("the number tries our own dispatcher")
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
    assert all_done.wait(STEP_SECONDS)
    assert set(done) == {"wirewright-dispatcher"}


def test_predicate_of_a_handler_s_wait_may_call_something(proxy: Proxy, url: str) -> None:
    found: list[object] = []
    done = threading.Event()

    def find(ws: WebSocket) -> None:
        found.append(ws.wait_for_event("framesent", lambda payload: payload == "b" and proxy.web_sockets))
        done.set()

    proxy.on("websocket", find)
    with app(proxy, url) as client:
        while not done.is_set():  # since when it waits nobody knows
            say(client, "a")
            say(client, "b")
    assert found == ["b"]


def test_handler_that_never_returns_does_not_keep_the_proxy(
    confdir: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bridge, "LAST_SECONDS", 0.1)
    gate = Gate()
    with launch(port=0, confdir=confdir) as proxy, opened(proxy, url) as (ws, client):
        ws.on("framesent", gate)
        with ws.expect_event("framesent"):
            say(client, "a")
        dispatcher = proxy._bridge.dispatcher.thread
    assert "a listener or a handler still runs: later events are not dispatched" in caplog.text
    gate.open()
    dispatcher.join(STEP_SECONDS)
    assert not dispatcher.is_alive()


def test_second_thread_is_told_that_another_one_waits(proxy: Proxy, url: str) -> None:
    values: list[object] = []
    may_judge, judges = Gate(), threading.Event()

    def judge(payload: object) -> bool:
        judges.set()
        may_judge()
        return payload == "a"

    with opened(proxy, url) as (ws, client), ws.expect_event("framereceived", judge) as info:
        other = threading.Thread(target=lambda: values.append(info.value))
        other.start()
        say(client, "a")
        assert judges.wait(STEP_SECONDS)
        with pytest.raises(Error, match=r"^another thread, or the function .* waits for this event$"):
            _ = info.value
        may_judge.open()
        other.join(STEP_SECONDS)
    assert values == ["a"] == [info.value]


def test_removed_listener_hears_nothing_more(proxy: Proxy, url: str) -> None:
    gate, heard = Gate(), list[object]()
    with opened(proxy, url) as (ws, client):
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
    assert heard == ["after"]


def test_handler_that_is_under_way_at_the_end_gets_to_its_end(confdir: Path, url: str) -> None:
    done: list[str] = []
    with ExitStack() as stack, launch(port=0, confdir=confdir) as proxy:
        with proxy.expect_websocket() as opened:
            stack.enter_context(app(proxy, url))

        def report(ws: WebSocket) -> None:
            try:
                for _ in range(10):
                    _ = proxy.web_sockets
            except Error as error:
                done.append(error.message)
            finally:
                done.append("finally")

        opened.value.on("close", report)
    assert done in (["finally"], ["Proxy closed", "finally"])


def test_handler_may_leave_the_block(confdir: Path, url: str) -> None:
    left = threading.Event()
    launching = launch(port=0, confdir=confdir)
    with launching as proxy:

        def leave(ws: WebSocket) -> None:
            launching.__exit__(None, None, None)
            left.set()

        proxy.on("websocket", leave)
        with suppress(OSError, EOFError, WebSocketException), app(proxy, url):
            assert left.wait(STEP_SECONDS)
    assert not [each for each in threading.enumerate() if each.name.startswith("wirewright-")]


def test_question_s_listener_hears_the_answer(proxy: Proxy, url: str) -> None:
    gate, answers = Gate(), list[str]()
    with opened(proxy, url) as (ws, client):

        def sent(payload: str | bytes) -> None:
            gate()
            ws.once("framereceived", lambda answer: answers.append(f"{payload!s} {answer!s}"))

        ws.on("framesent", sent)
        with ws.expect_event("framereceived", lambda answer: answer == "4"):
            for number in range(5):
                say(client, str(number))
        gate.open()
        settle(proxy)
    assert answers == [f"{number} {number}" for number in range(5)]


def test_listener_that_cannot_be_found_again_is_refused(proxy: Proxy) -> None:
    class Collector:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, ws: WebSocket) -> None: ...

    with pytest.raises(TypeError, match="unhashable"):
        proxy.on("websocket", Collector())


def test_test_takes_back_its_own_routes_alone(proxy: Proxy, url: str) -> None:
    def mock(ws: WebSocketRoute) -> None:
        ws.on_message(lambda message: ws.send("mocked"))

    proxy.route_web_socket("**", mock)
    with temporary_registrations(proxy) as seen:
        seen.route_web_socket("**", mock, times=1)
    with app(proxy, url) as client:
        client.send("a")
        assert client.recv(timeout=STEP_SECONDS) == "mocked"


def test_thread_keeps_no_socket_that_it_took_in_a_test_that_is_over(proxy: Proxy, url: str) -> None:
    with temporary_registrations(proxy) as seen:
        with seen.expect_websocket() as taken, app(proxy, url) as client:
            client.send("a")
            client.recv(timeout=STEP_SECONDS)
        ws = taken.value
        kept = weakref.ref(ws._own)
        del ws, taken
    until = time.monotonic() + STEP_SECONDS
    while kept() is not None and time.monotonic() < until:  # the threads release it in their own time
        settle(proxy)
        gc.collect()
    assert kept() is None


def test_handler_that_goes_on_after_its_test_is_told(proxy: Proxy, url: str) -> None:
    told: list[str] = []
    waits, is_told = threading.Event(), threading.Event()
    with opened(proxy, url) as (_, client):
        with temporary_registrations(proxy) as seen:
            (ws,) = seen.web_sockets

            def handler(payload: str | bytes) -> None:
                for attempt in (
                    lambda: ws.wait_for_event("framesent", lambda payload: waits.set()),
                    lambda: seen.route_web_socket("**", lambda route: None),
                    lambda: ws.on("framesent", print),
                ):
                    try:
                        attempt()
                    except Error as error:
                        told.append(error.message)
                is_told.set()

            ws.once("framesent", handler)
            while not waits.is_set():  # since when it waits nobody knows
                say(client, "a")
        assert is_told.wait(STEP_SECONDS)
    assert told == ["this test is over"] * 3
    assert proxy._own._state.routes.rules == []


# Interrupts


INTERRUPTED = """
import os, random, signal, sys, threading
from wirewright.sync_api import launch

luck = random.Random(int(sys.argv[2]))
caught = 0
for number in range(12):
    timer = threading.Timer(luck.uniform(0.0, 0.4), os.kill, (os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with launch(port=0, confdir=sys.argv[1]) as proxy:
            for _ in range(luck.randrange(30)):
                proxy.web_sockets
        timer.join()
    except KeyboardInterrupt:
        caught += 1
    for thread in threading.enumerate():  # an end that is interrupted goes on by itself
        if thread.name.startswith("wirewright-") and thread.ident:
            thread.join(60)
for thread in threading.enumerate():
    if thread.name.startswith("wirewright-"):
        print("left", thread.name)
with launch(port=0, confdir=sys.argv[1]) as proxy:
    print("launched", proxy.port > 0, caught)
"""


@pytest.mark.parametrize("seed", range(2))
def test_ctrl_c_at_any_moment_leaves_nothing(confdir: Path, seed: int) -> None:
    command = (sys.executable, "-W", "ignore", "-c", INTERRUPTED, str(confdir), str(seed))
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=STEP_SECONDS, check=False)
    assert run.stdout == "launched True 12\n", run.stderr


def test_signal_s_handler_may_use_the_api(proxy: Proxy) -> None:
    count, enough = 0, threading.Event()

    def tick(number: int, frame: object) -> None:
        nonlocal count
        assert proxy.web_sockets == []
        count += 1
        if count == 200:
            enough.set()

    def signal_often() -> None:
        while not enough.wait(0.001):
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, tick)
    signalling = threading.Thread(target=signal_often)
    signalling.start()
    try:
        while not enough.is_set():
            assert proxy.web_sockets == []
    finally:
        enough.set()
        signalling.join()
        signal.signal(signal.SIGUSR1, before)


# Threads in which nothing can be waited for


def test_wait_in_the_proxy_s_own_thread_is_refused(proxy: Proxy) -> None:
    refusals: list[str] = []

    class Remarks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                proxy.unroute_web_socket(record.getMessage())  # what waits for nothing is done
                proxy.wait_for_websocket()
            except Error as error:
                refusals.append(error.message)

    handler = Remarks()
    logger = logging.getLogger("wirewright.test")
    logger.addHandler(handler)
    try:
        proxy._call(logger.error, "said in the loop")
    finally:
        logger.removeHandler(handler)
    assert refusals == ["the proxy's thread, in which async functions run, cannot wait: use a plain function"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads and forks
def test_forked_child_is_told(proxy: Proxy) -> None:
    child = os.fork()
    if not child:
        faulthandler.dump_traceback_later(STEP_SECONDS, exit=True)
        try:
            _ = proxy.port
        except Error as error:
            proxy._bridge.stop()  # returns
            os._exit(0 if "this is a forked process" in error.message else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_listener_that_raises_after_its_test_is_logged_alone(
    proxy: Proxy, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate, begun = Gate(), threading.Event()

    def fail_later(payload: object) -> None:
        begun.set()
        gate()
        raise LookupError("too late")

    with opened(proxy, url) as (_, client):
        with temporary_registrations(proxy) as seen:
            seen.web_sockets[0].on("framesent", fail_later)
            client.send("a")
            assert begun.wait(STEP_SECONDS)
        gate.open()
        settle(proxy)
    assert "too late" in caplog.text  # the plugin would fail this test
    assert "EndedError: this test is over" in caplog.text


# Waits that nobody ends


def test_block_that_is_never_entered_waits_for_nothing(proxy: Proxy, url: str) -> None:
    with opened(proxy, url) as (ws, _):
        with (
            as_in_a_program(),
            pytest.warns(RuntimeWarning, match=r'^nothing waits: write "with ws\.expect_event'),
        ):
            ws.expect_event("framesent", lambda payload: False, timeout=1)
        assert proxy._call(lambda: len(ws._own._scope._waits)) == 0


def test_both_sides_of_a_route_are_there(proxy: Proxy, url: str) -> None:
    def handler(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        assert ws._wrappers.of(ws._own._server) is server
        ws.on_message(lambda message: server.send(f"changed {message!r}"))

    proxy.route_web_socket("**", handler)
    with app(proxy, url) as client:
        client.send("a")
        assert client.recv(timeout=STEP_SECONDS) == "changed 'a'"
        (ws,) = proxy.web_sockets
        assert ws.flow is None
