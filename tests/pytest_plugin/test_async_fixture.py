"""`async_ws_proxy`, as it works in the async tests of somebody else."""

import re
from pathlib import Path

import pytest

from support.pytest_projects import run
from wirewright.sync_api import launch

pytest_plugins = ["pytester"]

STRICT, AUTO, ANYIO = "strict", "auto", "anyio"
RUNNERS = (STRICT, AUTO, ANYIO)
"""The plugins and modes that run async tests."""


BEGINNING = """
import asyncio

import pytest
from conftest import serving
from websockets.asyncio.client import connect

{marks}


@{fixture}
async def app(async_ws_proxy):
    clients = []
    with serving() as url:

        async def open(path="/live"):
            proxy = f"http://127.0.0.1:{{async_ws_proxy.port}}"
            clients.append(await connect(url + path, proxy=proxy))
            return clients[-1]

        yield open
        for client in clients:
            await client.close()

"""
MARKS = {
    STRICT: "import pytest_asyncio\npytestmark = pytest.mark.asyncio",
    AUTO: "",
    ANYIO: "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'",
}
OPTIONS = {
    STRICT: ("-o", "asyncio_mode=strict", "-p", "no:anyio"),
    AUTO: ("-o", "asyncio_mode=auto", "-p", "no:anyio"),
    ANYIO: ("-o", "asyncio_mode=strict"),
}


def run_async(
    pytester: pytest.Pytester, runner: str, tests: str, *arguments: str, marks: str | None = None
) -> pytest.RunResult:
    """Run async tests that have a fixture `app`."""
    fixture = "pytest_asyncio.fixture" if runner == STRICT else "pytest.fixture"
    beginning = BEGINNING.format(marks=MARKS[runner] if marks is None else marks, fixture=fixture)
    pytester.makepyfile(test_async=beginning + tests)
    option = "asyncio_default_fixture_loop_scope=function"
    return run(pytester, *OPTIONS[runner], "-o", option, "-W", "error", *arguments)


SHARING = """
async def test_waits_in_the_loop_of_the_test(async_ws_proxy, app):
    loops = []
    async_ws_proxy.on("websocket", lambda ws: loops.append(asyncio.get_running_loop()))
    async with async_ws_proxy.expect_websocket("**/live", opened=True) as opened:
        client = await app()
    live = await opened.value
    await client.send("a")
    assert (await live.next_frame(direction="received")).payload == "a"
    assert loops == [asyncio.get_running_loop()]

async def test_registers_a_route_and_a_time_limit(async_ws_proxy, app):
    async_ws_proxy.set_default_timeout(1)
    await async_ws_proxy.route_web_socket("**", lambda route: route.send("mocked"))
    client = await app()
    assert await client.recv() == "mocked"

async def test_has_nothing_of_the_test_before(async_ws_proxy, app):
    async with async_ws_proxy.expect_websocket() as opened:
        client = await app()
    await client.send("a")
    assert await client.recv() == "a"
"""
SYNC = """
def test_sync(ws_proxy, app):
    assert not ws_proxy.web_sockets
    client = app()
    client.send("a")
    assert client.recv() == "a"

def test_same_proxy(ws_proxy, ws_session_proxy):
    assert ws_proxy.port == ws_session_proxy.port
    with open("ports", "a") as file:
        print(ws_proxy.port, file=file)
"""
PORT = """
async def test_port(async_ws_proxy):
    with open("ports", "a") as file:
        print(async_ws_proxy.port, file=file)
"""


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("first", ["test_async.py", "test_sync.py"])
def test_async_and_sync_tests_share_the_proxy_of_the_session(
    pytester: pytest.Pytester, runner: str, first: str
) -> None:
    pytester.makepyfile(test_sync=SYNC)
    other = "test_sync.py" if first == "test_async.py" else "test_async.py"
    run_async(pytester, runner, SHARING + PORT, first, other).assert_outcomes(passed=6)
    assert len(set((pytester.path / "ports").read_text().split())) == 1


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
@pytest.mark.parametrize("how", ["marker", "default"])
def test_it_is_in_the_loop_of_every_scope(pytester: pytest.Pytester, scope: str, how: str) -> None:
    tests = """
loops = set()

class TestIt:
    async def test_one(self, async_ws_proxy):
        loops.add(asyncio.get_running_loop())
        assert async_ws_proxy._running_host()._sender._outgoing._get_loop() is asyncio.get_running_loop()
        await async_ws_proxy.route_web_socket("**", print)

    async def test_two(self, async_ws_proxy):
        loops.add(asyncio.get_running_loop())
        await async_ws_proxy.route_web_socket("**", print)
        assert len(loops) == 1
"""
    marks = "import pytest_asyncio\npytestmark = pytest.mark.asyncio"
    options: tuple[str, ...] = ("-o", f"asyncio_default_test_loop_scope={scope}")
    if how == "marker":
        marks, options = f"{marks}(loop_scope={scope!r})", ()
    run_async(pytester, STRICT, tests, *options, marks=marks).assert_outcomes(passed=2)


FAILING = """
async def say(app, *messages):
    client = await app("/talk")
    for message in messages:
        await client.send(message)
        assert await client.recv() == message

async def test_fails(async_ws_proxy, app):
    await say(app, "said")
    assert False

async def fail(payload):
    raise LookupError(payload)

async def test_listener(async_ws_proxy, app):
    async_ws_proxy.on("websocket", lambda ws: ws.on("framesent", fail))
    await say(app, "heard")

async def test_handler(async_ws_proxy, app):
    def route(socket):
        server = socket.connect_to_server()
        async def forward(message):
            server.send(message)
            await fail(message)
        socket.on_message(forward)
    await async_ws_proxy.route_web_socket("**", route)
    await say(app, "handled")

@pytest.mark.ws_allow_errors
async def test_allowed(async_ws_proxy, app):
    async_ws_proxy.on("websocket", lambda ws: ws.on("framesent", fail))
    await say(app, "heard")

async def test_passes(async_ws_proxy, app):
    await say(app, "fine")
"""


@pytest.mark.parametrize("way", ["launched", "connected"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_failed_test_has_a_report_and_a_capture(
    pytester: pytest.Pytester, confdir: Path, runner: str, way: str
) -> None:
    options = ["--ws-capture=retain-on-failure", "--ws-capture-dir=kept", "--tb=short"]
    if way == "connected":
        with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}):
            result = run_async(pytester, runner, FAILING, *options, "--ws-connect=auto")
    else:
        result = run_async(pytester, runner, FAILING, *options)
    result.assert_outcomes(failed=3, passed=2)
    said = result.stdout.str()
    assert len(re.findall(r"^-+ WebSockets -+$", said, re.MULTILINE)) == 3
    assert re.search(r"#1 ws://127\.0\.0\.1:\d+/talk \(open\)\n   \S+ → 'said'\n   \S+ ← 'said'\n", said)
    for word in ("heard", "handled"):
        assert f"LookupError: {word}" in said
    assert said.count("a listener raised. The marker ws_allow_errors allows that.") == 1
    assert said.count("a route's handler raised. The marker ws_allow_errors allows that.") == 1
    captures = sorted(path.name for path in (pytester.path / "kept").iterdir())
    assert [name.partition("test_async.py-")[2] for name in captures] == [
        "test_fails.db",
        "test_handler.db",
        "test_listener.db",
    ]
    assert all(f"all of it: wirewright show kept/{name}" in said for name in captures)


FORGETTING = """
from wirewright.async_api import expect

async def opened(proxy, app):
    async with proxy.expect_websocket(opened=True) as opened:
        await app()
    return await opened.value

async def test_assertion(async_ws_proxy, app):
    expect(await opened(async_ws_proxy, app)).to_have_received("never")

async def test_assertion_on_the_proxy(async_ws_proxy, app):
    expect(async_ws_proxy).to_reconnect("**/never")

async def test_frame(async_ws_proxy, app):
    assert (await opened(async_ws_proxy, app)).next_frame("never")

async def test_wait(async_ws_proxy, app):
    (await opened(async_ws_proxy, app)).wait_for_event("close")

async def test_block(async_ws_proxy, app):
    async_ws_proxy.expect_websocket("**/never")

async def test_result_in_a_variable(async_ws_proxy, app):
    is_closed = expect(await opened(async_ws_proxy, app)).to_be_closed()

@pytest.mark.ws_allow_errors
async def test_that_allows_errors_of_handlers(async_ws_proxy, app):
    expect(await opened(async_ws_proxy, app)).not_to_have_sent("a")

async def test_that_fails_itself(async_ws_proxy, app):
    expect(await opened(async_ws_proxy, app)).to_have_sent("never")
    assert not "its own"

async def test_that_fails_before_its_await(async_ws_proxy, app):
    closing = (await opened(async_ws_proxy, app)).wait_for_event("close")
    assert not "before"
    await closing

async def test_that_is_skipped_before_its_await(async_ws_proxy, app):
    closing = (await opened(async_ws_proxy, app)).wait_for_event("close")
    pytest.skip("it is tired")

async def test_that_awaits_later(async_ws_proxy, app):
    ws = await opened(async_ws_proxy, app)
    is_closed = expect(ws).to_be_closed()
    await ws.close()
    await asyncio.gather(is_closed, expect(ws).to_be_closed(code=1000))
"""


@pytest.mark.parametrize("runner", RUNNERS)
def test_call_without_await_fails_its_test(pytester: pytest.Pytester, runner: str) -> None:
    result = run_async(pytester, runner, FORGETTING, "-p", "no:randomly")
    result.assert_outcomes(failed=9, skipped=1, passed=1)
    said = result.stdout.str()
    calls = [
        "expect(ws).to_have_received",
        "expect(proxy).to_reconnect",
        "ws.next_frame",
        "ws.wait_for_event",
    ]
    calls += ["expect(ws).to_be_closed", "expect(ws).not_to_have_sent"]
    sentence = r"(\S+)\(\.\.\.\) was not awaited, so it had no effect: write await \2\(\.\.\.\)"
    places = re.findall(rf"^(test_async\.py:\d+): {sentence}$", said, re.MULTILINE)
    lines = (pytester.path / "test_async.py").read_text().splitlines()
    assert [call for _, call in places] == [*calls, "expect(ws).to_have_sent"]
    for place, call in places:
        assert call.rpartition(".")[2] in lines[int(place.partition(":")[2]) - 1]
    block = 'nothing waits: write "async with proxy.expect_websocket(...) as info:"'
    assert re.search(rf"^test_async\.py:\d+: {re.escape(block)}$", said, re.MULTILINE)
    assert len(re.findall("^-+ Calls without effect -+$", said, re.MULTILINE)) == 1
    assert "Warning" not in said


EARLIER_ROUTE = """
ended = asyncio.Event()


async def raise_later(*_):
    if ended.is_set():
        raise LookupError("of test_a")

async def test_a(async_ws_proxy, request):
    def route(socket):
        socket.connect_to_server()
        async def wait(message):
            await ended.wait()
            raise LookupError(message)
        socket.on_message(wait)
    await async_ws_proxy.route_web_socket("**", route)
    async_ws_proxy.on("websocket", lambda ws: ws.on("framereceived", raise_later))
    address = f"http://127.0.0.1:{async_ws_proxy.port}"
    test_a.serving = serving()
    test_a.client = await connect(test_a.serving.__enter__(), proxy=address)
    await test_a.client.send("a")

async def test_b(async_ws_proxy):
    ended.set()
    await test_a.client.send("b")
    assert await test_a.client.recv() in ("a", "b")
    await test_a.client.close()
    test_a.serving.__exit__(None, None, None)
"""


def test_route_of_an_earlier_test_fails_no_later_one(pytester: pytest.Pytester) -> None:
    marks = "import pytest_asyncio\npytestmark = pytest.mark.asyncio(loop_scope='module')"
    options = ("-p", "no:randomly", "-o", "asyncio_default_test_loop_scope=module")
    run_async(pytester, STRICT, EARLIER_ROUTE, *options, marks=marks).assert_outcomes(passed=2)


CAPTURING = """
from wirewright import Error

async def test_that_ends_none(async_ws_proxy, app):
    device = async_ws_proxy.context(client="127.0.0.1")
    await device.start_capture("device.db")
    async_ws_proxy.start_capture("one.db")

async def test_that_ends_one(async_ws_proxy, app):
    device = async_ws_proxy.context(client="127.0.0.1")
    await device.start_capture("device-2.db")
    await async_ws_proxy.start_capture("two.db")
    await async_ws_proxy.stop_capture()

async def test_of_which_a_wider_fixture_records(recorded, async_ws_proxy):
    with pytest.raises(Error):
        await async_ws_proxy.start_capture("three.db")

async def test_that_is_recorded_still(recorded, async_ws_proxy):
    await async_ws_proxy.annotate("still")

@pytest.fixture(scope="session")
def recorded(ws_session_proxy):
    ws_session_proxy.start_capture("session.db")
    yield
    ws_session_proxy.annotate("at the end")
    ws_session_proxy.stop_capture()
"""


@pytest.mark.parametrize("runner", [STRICT, ANYIO])
def test_capture_of_a_test_ends_with_it(pytester: pytest.Pytester, runner: str) -> None:
    run_async(pytester, runner, CAPTURING, "-p", "no:randomly").assert_outcomes(passed=4)


@pytest.mark.once("test_plugin.py tries the same with the sync API")
def test_each_worker_has_a_proxy(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.parametrize("number", range(4))
async def test_it(async_ws_proxy, app, number):
    client = await app(f"/{number}")
    await client.send("a")
    assert await client.recv() == "a"
    assert [ws.url[-1] for ws in async_ws_proxy.web_sockets] == [str(number)]
"""
    run_async(pytester, AUTO, tests, "-n", "2").assert_outcomes(passed=4)


def test_no_other_program_finds_the_connection(pytester: pytest.Pytester) -> None:
    tests = """
from pathlib import Path
from wirewright import Error, async_api

async def test_it(async_ws_proxy, tmp_path):
    with pytest.raises(Error, match="no proxy with ws_remote runs here"):
        async with async_api.connect():
            pass
"""
    run_async(pytester, AUTO, tests).assert_outcomes(passed=1)


def test_endpoint_of_the_user_is_served_too(pytester: pytest.Pytester) -> None:
    tests = """
from wirewright import async_api

@pytest.fixture(scope="session")
def ws_proxy_args():
    return {"options": {"ws_remote": "127.0.0.1:0"}}

async def test_it(async_ws_proxy):
    async with async_api.connect() as other:
        assert other.port == async_ws_proxy.port
"""
    run_async(pytester, AUTO, tests).assert_outcomes(passed=1)


def test_test_that_cannot_have_it_gets_one_sentence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        def test_sync(async_ws_proxy): ...

        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["trio"])
        async def test_trio(async_ws_proxy): ...
        """
    )
    result = run(pytester, *OPTIONS[ANYIO], "--tb=short")
    result.assert_outcomes(errors=2)
    said = result.stdout.str()
    assert (
        "\nasync_ws_proxy is for an async test that pytest-asyncio or anyio runs, and this test has" in said
    )
    assert (
        "\nasync_ws_proxy runs in asyncio's event loop, not in trio's: have the fixture anyio_backend" in said
    )
    assert "Traceback" not in said


def test_it_needs_no_plugin_for_async_tests_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(pytest_asyncio="raise ImportError", test_it="def test_it(ws_proxy, app): app()")
    plugins = ("-p", "no:asyncio", "-p", "no:anyio")
    run(pytester, *plugins, "-W", "error", imports_nothing=True).assert_outcomes(passed=1)
