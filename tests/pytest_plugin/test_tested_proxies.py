"""The pytest plugin and the proxies of a test: errors of its handlers, its report, its captures."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from support.pytest_projects import run
from wirewright.sync_api import launch

pytest_plugins = ["pytester"]


# Errors of listeners, handlers and rules


RAISING = """
import asyncio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from wirewright import async_api, sync_api
from conftest import serving

def fail(*values):
    word = values[0] if values and isinstance(values[0], str) else "nothing"
    assert word == "of the user"

def say(app, *messages, path="/live"):
    client = app(path)
    for message in messages:
        client.send(message)
        assert client.recv() == message
    return client
"""


def test_test_fails_whose_listener_handler_or_rule_raised(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        RAISING
        + """
def test_listener(ws_proxy, app):
    ws_proxy.on("websocket", lambda socket: socket.on("framesent", fail))
    say(app, "a", "b")

def test_listener_of_sockets(ws_proxy, app):
    ws_proxy.on("websocket", fail)
    say(app, "a")

def test_close_listener(ws_proxy, app):
    ws_proxy.on("websocket", lambda socket: socket.once("close", lambda _: fail("at the end")))
    with ws_proxy.expect_websocket() as opened:
        client = say(app, "a")
    with opened.value.expect_event("close"):
        client.close()

def test_route(ws_proxy, app):
    ws_proxy.route_web_socket("**", fail)
    with pytest.raises(InvalidStatus):
        app()

def test_message_handler(ws_proxy, app):
    def route(socket):
        socket.connect_to_server()
        socket.on_message(fail)
    ws_proxy.route_web_socket("**", route)
    client = app()
    client.send("a")
    ws_proxy.web_sockets[0].send_to_client("still there")
    assert client.recv() == "still there"

def test_close_handler(ws_proxy, app):
    def route(socket):
        socket.connect_to_server()
        socket.on_close(lambda code, reason: fail("at the end"))
    ws_proxy.route_web_socket("**", route)
    say(app, "a").close()

def test_rule(ws_proxy, app):
    ws_proxy.route_web_socket(fail, print)
    say(app, "a")

def test_predicate(ws_proxy, app):
    with ws_proxy.expect_websocket() as opened:
        client = app()
    with opened.value.expect_event("framesent", fail):
        client.send("a")

def test_fine(ws_proxy, app):
    say(app, "a")
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=8, passed=1)
    said = result.stdout.str()
    assert said.count('assert word == "of the user"') >= 8
    assert "AssertionError: assert 'a' == 'of the user'" in said  # as pytest explains it
    for name in ("a listener", "a route's handler", "a route's rule"):
        assert re.search(rf"{name} raised\. The marker ws_allow_errors allows that\.", said)


def test_all_errors_of_a_test_are_in_its_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        RAISING
        + """
def test_several(ws_proxy, app):
    for number in range(3):
        ws_proxy.on("websocket", lambda socket, number=number: fail(f"number {number}"))
    say(app, "a")

def test_that_fails_itself(ws_proxy, app):
    ws_proxy.on("websocket", lambda socket: fail("beside it"))
    say(app, "a")
    assert not "the test's own"

def test_that_is_skipped(ws_proxy, app):
    ws_proxy.on("websocket", lambda socket: fail("before the skip"))
    say(app, "a")
    pytest.skip("it is tired")

@pytest.fixture
def late(ws_proxy, app):
    yield
    say(app, "a")

def test_whose_fixture_goes_on(ws_proxy, late):
    ws_proxy.on("websocket", lambda socket: fail("in the teardown"))

def test_whose_handler_fails_it(ws_proxy, app):
    ws_proxy.on("websocket", lambda socket: pytest.fail("says the handler"))
    say(app, "a")
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=4, passed=1, errors=1)
    said = result.stdout.str()
    for number in range(3):
        assert f"'number {number}' == 'of the user'" in said
    assert "3 exceptions were raised in all" in said
    for words in ("'beside it' == 'of the user'", "the test's own", "'before the skip'", "'in the teardown'"):
        assert words in said
    assert "says the handler" in said


def test_errors_count_in_tests_of_unittest(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        RAISING
        + """
import unittest

class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def take(self, ws_proxy, app):
        ws_proxy.on("websocket", self.fail_here)
        say(app, "a")

    def fail_here(self):
        raise LookupError(self._testMethodName)

    def test_whose_listener_fails_it(self):
        pass

    def test_that_fails_itself(self):
        self.assertFalse("the test's own")

    def test_that_is_skipped(self):
        self.skipTest("it is tired")

class TestFine(unittest.TestCase):
    @pytest.mark.usefixtures("ws_proxy")
    def test_that_is_skipped(self):
        self.skipTest("it is tired")
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=3, skipped=1)
    said = result.stdout.str()
    for name in ("test_whose_listener_fails_it", "test_that_fails_itself", "test_that_is_skipped"):
        assert f"LookupError: {name}" in said
    assert "the test's own" in said


def test_listener_that_still_waits_when_a_fixture_closes_the_app_fails_no_test(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        RAISING
        + """
def watch(socket):
    while True:
        socket.wait_for_event("framereceived")

def test_whose_fixture_closes_the_app(ws_proxy, app):
    ws_proxy.on("websocket", watch)
    say(app, "a")

def test_that_closes_the_app_itself(ws_proxy, app):
    ws_proxy.on("websocket", watch)
    client = say(app, "a")
    with ws_proxy.web_sockets[0].expect_event("close"):
        client.close()
"""
    )
    result = run(pytester)
    result.assert_outcomes(failed=1, passed=1)
    assert "Socket closed" in result.stdout.str()


OF_AN_EARLIER_TEST = """
import logging
import queue
import threading
from websockets.sync.client import connect as connect_sync

@pytest.fixture(scope="module")
def client(ws_session_proxy):
    with serving() as url, connect_sync(url, proxy=f"http://127.0.0.1:{ws_session_proxy.port}") as client:
        yield client

class Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts = queue.SimpleQueue()
        logging.getLogger("wirewright").addHandler(self)

    def emit(self, record):
        self.texts.put(self.format(record))

    def wait_for(self, *words):
        missing = list(words)
        while missing:
            text = self.texts.get(timeout=60)
            assert "this test is over" in text
            if found := next((word for word in missing if word in text), None):
                missing.remove(found)

ended = threading.Event()
"""
SYNC_ROUTES = """
def route_in_test_a(ws_proxy, raise_it):
    def handle(socket):
        server = socket.connect_to_server()
        def forward(message):
            server.send(message)
            return raise_it(message)
        def forward_back(message):
            socket.send(message)
            return raise_it(message)
        socket.on_message(forward)
        server.on_message(forward_back)
    ws_proxy.route_web_socket("**", handle)

def raise_later(message):
    if ended.is_set():
        raise LookupError("of test_a")

async def raise_later_async(message):
    await asyncio.sleep(0)
    raise_later(message)

def test_a(ws_proxy, request):
    route_in_test_a(ws_proxy, RAISING)
    request.getfixturevalue("client")

def test_b(ws_proxy, client):
    log = Log()
    ended.set()
    client.send("question")
    assert client.recv() == "question"
    log.wait_for(*2 * ["LookupError: of test_a"])

def test_own_listener_fails_its_own_test(ws_proxy, client):
    ws_proxy.web_sockets[0].on("framesent", fail)
    client.send("question")
    client.recv()
"""


@pytest.mark.parametrize("raising", ["raise_later", "raise_later_async"])
def test_route_of_an_earlier_test_fails_no_later_one(pytester: pytest.Pytester, raising: str) -> None:
    pytester.makepyfile(RAISING + OF_AN_EARLIER_TEST + SYNC_ROUTES.replace("RAISING", raising))
    result = run(pytester, "-p", "no:randomly", "-p", "no:asyncio")
    result.assert_outcomes(failed=1, passed=2)
    assert (
        "FAILED test_route_of_an_earlier_test_fails_no_later_one.py::test_own_listener" in result.stdout.str()
    )


def test_mock_of_an_earlier_test_fails_no_later_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        RAISING
        + OF_AN_EARLIER_TEST
        + """
def raise_later(word):
    def reply():
        if ended.is_set():
            raise LookupError(word)
        return "again"
    return reply

def test_a(ws_proxy, request):
    mock = ws_proxy.mock_web_socket("**", strict=True)
    mock.on("question").reply("answer", raise_later("of a rule"))
    mock.every(0.01, raise_later("of every"))
    client = request.getfixturevalue("client")
    client.send("question")
    assert client.recv() in ("answer", "again")

def test_b(ws_proxy, client):
    log = Log()
    ended.set()
    client.send("unknown")
    client.send("question")
    log.wait_for("of a rule", "of every", "has no rule for")
"""
    )
    run(pytester, "-p", "no:randomly", "-p", "no:asyncio").assert_outcomes(passed=2)


def test_marker_allows_errors(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        RAISING
        + """
@pytest.mark.ws_allow_errors
def test_it(ws_proxy, app, caplog):
    ws_proxy.on("websocket", fail)
    say(app, "a")

def test_other(ws_proxy, app):
    say(app, "a")
"""
    )
    run(pytester, "--strict-markers").assert_outcomes(passed=2)
    assert "ws_allow_errors" in run(pytester, "--markers").stdout.str()


def test_errors_count_in_async_tests_and_with_any_proxy(pytester: pytest.Pytester, confdir: Path) -> None:
    pytester.makepyfile(
        RAISING
        + f"""
def launch(api, **options):
    return api.launch(port=0, confdir={str(confdir)!r}, options=options)

async def fail_later(payload):
    await asyncio.sleep(0)
    fail(payload)

async def talk(proxy, url, *messages):
    async with connect(url, proxy=f"http://127.0.0.1:{{proxy.port}}") as client:
        for message in messages:
            await client.send(message)
            assert await client.recv() == message

async def test_async_launch():
    async with launch(async_api) as proxy:
        with serving() as url:
            proxy.on("websocket", lambda ws: ws.on("framereceived", fail_later))
            await talk(proxy, url, "a", "b")

async def test_async_message_handler():
    async with launch(async_api) as proxy:
        async def route(ws):
            server = ws.connect_to_server()
            async def forward(message):
                server.send(message)
                await fail_later(message)
            ws.on_message(forward)
        with serving() as url:
            await proxy.route_web_socket("**", route)
            await talk(proxy, url, "a", "b")

async def test_async_connect():
    async with launch(async_api, ws_remote="127.0.0.1:0"), async_api.connect() as proxy:
        with serving() as url:
            proxy.on("websocket", lambda ws: ws.on("framereceived", fail_later))
            async with proxy.expect_websocket() as opened:
                await talk(proxy, url, "a", "b")
            ws = await opened.value
            await ws.wait_for_event("close", history=True)

def test_sync_launch():
    with launch(sync_api) as proxy, serving() as url:
        proxy.on("websocket", fail)
        asyncio.run(talk(proxy, url, "a"))

def test_sync_connect():
    with launch(sync_api, ws_remote="127.0.0.1:0"), sync_api.connect() as proxy, serving() as url:
        proxy.route_web_socket(fail, print)
        asyncio.run(talk(proxy, url, "a"))

async def test_listener_that_still_waits_at_the_end_of_the_proxy():
    async def wait(ws):
        await ws.wait_for_event("framereceived", lambda payload: False)

    async with launch(async_api) as proxy:
        with serving() as url:
            proxy.on("websocket", wait)
            client = await connect(url, proxy=f"http://127.0.0.1:{{proxy.port}}")
    await client.close()

def test_handler_that_still_waits_at_the_end_of_the_proxy():
    def wait(ws):
        ws.wait_for_event("framereceived", lambda payload: False)

    with serving() as url, launch(sync_api) as proxy:
        proxy.on("websocket", wait)
        client = asyncio.run(leave_open(proxy, url))

async def leave_open(proxy, url):
    client = connect(url, proxy=f"http://127.0.0.1:{{proxy.port}}")
    await client.__aenter__()
"""
    )
    result = run(pytester, "-o", "asyncio_mode=auto")
    result.assert_outcomes(failed=5, passed=2)
    assert result.stdout.str().count("raised. The marker ws_allow_errors allows that.") >= 5


# JUnit's XML


def reported(pytester: pytest.Pytester) -> dict[str, ElementTree.Element]:
    """The tests in junit.xml, by their names."""
    root = ElementTree.parse(pytester.path / "junit.xml").getroot()
    return {case.attrib["name"]: case for case in root.iter("testcase")}


def properties(case: ElementTree.Element) -> list[ElementTree.Element]:
    """Those of ours."""
    return [each for each in case.iter("property") if each.attrib["name"] == "ws_capture"]


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_junit_xml_has_the_frames_and_the_capture(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        RAISING
        + r"""
@pytest.mark.parametrize("number", range(2))
def test_fails(ws_proxy, app, number):
    say(app, "\x00\x1b\x07 and \U0001f642", path=f"/{number}")
    ws_proxy.web_sockets[0].wait_for_event("framereceived", history=True)
    assert False

def raise_odd(socket):
    raise LookupError("\x00 \U0001f642")

def test_handler_fails(ws_proxy, app):
    ws_proxy.on("websocket", raise_odd)
    say(app, "a")

def test_handler_fails_too(ws_proxy, app):
    ws_proxy.on("websocket", raise_odd)
    say(app, "a")
    assert False

def test_passes(ws_proxy, app):
    say(app, "fine")
"""
    )
    options = ("--ws-capture=retain-on-failure", "--ws-capture-dir=kept", "--junitxml=junit.xml")
    run(pytester, *options, *workers).assert_outcomes(failed=4, passed=1)
    cases = reported(pytester)
    for number in range(2):
        case = cases[f"test_fails[{number}]"]
        (failure,) = case.iter("failure")
        assert failure.text is not None
        assert re.search(rf"#1 ws://127\.0\.0\.1:\d+/{number} \(open\)", failure.text)
        assert re.search(r"→ '\\x00\\x1b\\x07 and ", failure.text)
        (capture,) = {each.attrib["value"] for each in properties(case)}
        assert (pytester.path / capture).is_file()
    assert "LookupError" in next(cases["test_handler_fails"].iter("failure")).attrib["message"]
    told = next(cases["test_handler_fails_too"].iter("failure")).text
    assert told is not None
    assert "LookupError" in told
    assert "assert False" in told
    assert properties(cases["test_passes"]) == []


def test_capture_of_a_long_name_of_other_letters_is_kept(pytester: pytest.Pytester) -> None:
    name = "test_" + "\u00fc\u4e2d" * 60  # 305 bytes
    pytester.makepyfile(RAISING + f"def {name}(ws_proxy, app):\n    say(app, 'a')\n    assert False\n")
    run(pytester, "--ws-capture=on", "--ws-capture-dir=kept").assert_outcomes(failed=1)
    (capture,) = (pytester.path / "kept").glob("*.db")
    assert capture.stem in name


# Why no socket came


UNSEEN = """
import asyncio, socket, ssl
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from wirewright.sync_api import expect

def refuse(port):
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"CONNECT shop.test:443 HTTP/1.1\\r\\nHost: shop.test:443\\r\\n\\r\\n")
        assert b"200" in plain.recv(1000)
        with pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="shop.test")

def ask_for_a_page(port):
    with socket.create_connection(("127.0.0.1", port)) as app:
        app.sendall(b"GET http://127.0.0.1:1/ HTTP/1.1\\r\\nHost: 127.0.0.1:1\\r\\n\\r\\n")
        assert b"502" in app.recv(1000)

def only_connect(port):
    with socket.create_connection(("127.0.0.1", port)) as app:
        app.sendall(b"nonsense\\r\\n\\r\\n")
        app.recv(1000)

def do_nothing(port): ...

WAYS = [refuse, ask_for_a_page, only_connect, do_nothing]

@pytest.mark.parametrize("use", WAYS)
def test_it(ws_proxy, use):
    use(ws_proxy.port)
    ws_proxy.wait_for_websocket(timeout=1)

def test_assertion(ws_proxy):
    expect(ws_proxy).to_reconnect(within=1)

def test_cause(ws_proxy):
    try:
        expect(ws_proxy).to_reconnect(within=1)
    except AssertionError as error:
        raise LookupError("the app is not there") from error

def test_group(ws_proxy):
    with pytest.raises(AssertionError) as caught:
        expect(ws_proxy).to_reconnect(within=1)
    raise ExceptionGroup("several", [caught.value])

@pytest.mark.parametrize("use", WAYS)
def test_of_something_else(ws_proxy, use):
    use(ws_proxy.port)
    assert False

def test_fixture_of_something_else(ws_proxy, broken): ...

@pytest.fixture
def broken(ws_proxy):
    raise LookupError("not there")
"""
WHY = """
no app asked for a WebSocket: its TLS handshake with the proxy failed
no app asked for a WebSocket: it sent 1 other HTTP requests
no app asked for a WebSocket: it connected to the proxy, 1 times
"""


@pytest.mark.parametrize("way", ["launched", "connected"])
def test_report_says_why_no_socket_came(
    pytester: pytest.Pytester, confdir: Path, tmp_path: Path, way: str
) -> None:
    pytester.makepyfile(UNSEEN)
    with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}):
        result = run(pytester, *(["--ws-connect=auto"] if way == "connected" else []))
    result.assert_outcomes(failed=11, errors=1)
    said = result.stdout.str()
    tls, *others = WHY.strip().splitlines()
    assert said.count(tls) == 2  # what went wrong is shown for each failure
    for line in others:
        assert said.count(line) == 1
    nobody = r"^no app connected to the proxy at 127\.0\.0\.1:\d+: does the app use it\?$"
    assert len(re.findall(nobody, said, re.MULTILINE)) == 4
    assert said.count("TLS handshakes that failed: 1") == 2
    refused = r"^   ✕ shop\.test: the app does not trust this CA, or pins its certificate \(.*unknown ca"
    assert re.search(refused, said, re.MULTILINE)
    folder = confdir if way == "connected" else tmp_path / ".mitmproxy"
    assert said.count(f"     install {folder}/mitmproxy-ca-cert.pem where the app looks for CAs") == 2


# Proxies of all kinds


OWN = """
import asyncio
import pytest
from websockets.asyncio.client import connect
from wirewright import async_api, sync_api
from conftest import serving

CONFDIR = {confdir!r}

async def talk(proxy, url):
    async with connect(url + "/talk", proxy=f"http://127.0.0.1:{{proxy.port}}") as client:
        await client.send("said")
        assert await client.recv() == "said"

def launch(api, **options):
    return api.launch(port=0, confdir=CONFDIR, options=options)

def test_that_launches():
    with launch(sync_api) as proxy, serving() as url:
        asyncio.run(talk(proxy, url))
        assert False

def test_that_connects():
    with launch(sync_api, ws_remote="127.0.0.1:0"):
        with sync_api.connect() as proxy, serving() as url:
            asyncio.run(talk(proxy, url))
        assert False

async def test_that_launches_async():
    async with launch(async_api) as proxy:
        with serving() as url:
            await talk(proxy, url)
        assert False

@pytest.fixture
async def async_proxy():
    async with launch(async_api) as proxy:
        yield proxy

async def test_that_has_a_fixture(async_proxy):
    with serving() as url:
        await talk(async_proxy, url)
    assert False

@pytest.fixture(scope="module")
def module_proxy():
    with launch(sync_api) as proxy:
        yield proxy

def test_of_a_module(module_proxy):
    with serving() as url:
        asyncio.run(talk(module_proxy, url))
    assert False

def test_of_a_module_that_says_nothing(module_proxy):
    module_proxy.wait_for_websocket(timeout=1)

def test_beside_it():
    assert False

def test_that_passes(module_proxy):
    with serving() as url:
        asyncio.run(talk(module_proxy, url))
"""
USING = """
import asyncio
from test_own import serving, talk

def test_session_proxy(ws_session_proxy):
    with serving() as url:
        asyncio.run(talk(ws_session_proxy, url))
    assert False
"""


def test_every_proxy_of_the_process_is_reported_and_recorded(
    pytester: pytest.Pytester, confdir: Path
) -> None:
    pytester.makepyfile(test_own=OWN.format(confdir=str(confdir)), test_using=USING)
    options = ("-o", "asyncio_mode=auto", "--ws-capture=retain-on-failure", "--ws-capture-dir=kept")
    result = run(pytester, *options, "--junitxml=junit.xml")
    result.assert_outcomes(failed=8, passed=1)
    cases = reported(pytester)
    told = {name: [failure.text or "" for failure in case.iter("failure")] for name, case in cases.items()}
    for name in (
        "test_that_launches",
        "test_that_connects",
        "test_that_launches_async",
        "test_that_has_a_fixture",
        "test_of_a_module",
        "test_session_proxy",
    ):
        assert "/talk (closed 1000 by client)" in told[name][0], name
        assert "→ 'said'" in told[name][0], name
        kept = re.findall(r"all of it: wirewright show (\S+)", told[name][0])
        assert len(kept) == 1, name
        assert (pytester.path / kept[0]).is_file()
    assert "no app connected to the proxy" in told["test_of_a_module_that_says_nothing"][0]
    assert "wirewright show" not in told["test_of_a_module_that_says_nothing"][0]
    assert "proxy" not in told["test_beside_it"][0]
    assert told["test_that_passes"] == []
    assert len(list((pytester.path / "kept").iterdir())) == 7
