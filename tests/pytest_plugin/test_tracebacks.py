"""pytest shows the line of a test whose call of Wirewright fails, and not our own frames."""

import re

import pytest

from support.pytest_projects import run

pytest_plugins = ["pytester"]

FAILING = """
import asyncio

import pytest
from wirewright import Proxy


@pytest.fixture
def socket(ws_proxy, app):
    with ws_proxy.expect_websocket() as opened:
        app()
    return opened.value


def test_wait(socket):
    socket.wait_for_event("framesent", timeout=1)


def test_block(socket):
    with socket.expect_event("framesent", timeout=1):
        pass


def test_value(socket):
    with socket.expect_event("close", timeout=30_000) as closed:
        socket.close()
    socket.send_to_client("late")


def test_predicate(socket):
    def judge(payload):
        assert payload == "b"

    with socket.expect_event("framereceived", judge):
        socket.send_to_client("a")


def test_async_wait():
    async def wait():
        await Proxy().wait_for_websocket(timeout=1)

    asyncio.run(wait())


def test_async_block():
    async def wait():
        async with Proxy().expect_websocket(timeout=1):
            pass

    asyncio.run(wait())
"""


MISTAKEN = """
import pytest
from wirewright import expect as async_expect
from wirewright.sync_api import expect

CALLS = [
    'ws.on("framerecieved", print)',
    'ws.wait_for_event("framerecieved")',
    'ws.wait_for_event("framereceived", timeout="soon")',
    'ws.expect_event("framerecieved")',
    'ws.next_frame({"type": "filled"})',
    'ws.next_frame(lambda frame: 1 / 0)',
    'ws.next_frame(json={"id": lambda value: 1 / 0})',
    'ws.frames.matching(lambda frame: 1 / 0)',
    'ws.frames.count(direction="up")',
    'ws.close(1006)',
    'ws.abort("cut")',
    'ws.conditions(drop=3)',
    'ws.conditions("5g")',
    'ws.send_to_client(5)',
    'expect(ws).to_have_sent(lambda frame: 1 / 0)',
    'expect(proxy).to_reconnect(5)',
    'proxy.expect_websocket("{")',
    'proxy.wait_for_websocket("**/live", "me")',
    'proxy.route_web_socket("**", 5)',
    'proxy.route_web_socket(5, print)',
    'proxy.route_web_socket("**", print, times=0)',
    'proxy.mock_web_socket("**").on({"type": "ping"})',
    'proxy.mock_web_socket("**").on("bye").close(1006)',
    'proxy.context(client="phone")',
    'proxy.context(port="8081")',
    'proxy.route_from_capture("nothing.db")',
]


def names_of(ws, proxy, expect):
    return {"ws": ws, "proxy": proxy, "expect": expect}


@pytest.mark.parametrize("call", CALLS)
def test_sync(ws_proxy, app, call):
    with ws_proxy.expect_websocket() as opened:
        app().send('{"id": 7}')
    opened.value.cursor().next_frame(direction="received")
    eval(call, names_of(opened.value, ws_proxy, expect))


@pytest.mark.anyio
@pytest.mark.parametrize("call", CALLS)
async def test_async(async_ws_proxy, connect, call):
    async with async_ws_proxy.expect_websocket() as opened:
        connect().send('{"id": 7}')
    ws = await opened.value
    await ws.cursor().next_frame(direction="received")
    await eval(call, names_of(ws, async_ws_proxy, async_expect))


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def connect(ws_session_proxy):
    from contextlib import ExitStack
    from conftest import serving
    from websockets.sync.client import connect

    with ExitStack() as stack:
        url = stack.enter_context(serving()) + "/live"
        proxy = f"http://127.0.0.1:{ws_session_proxy.port}"
        yield lambda: stack.enter_context(connect(url, proxy=proxy))
"""


def test_traceback_of_a_mistake_ends_at_the_users_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(MISTAKEN)
    result = run(pytester, "--tb=short", "--color=no", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=2 * MISTAKEN.count("\n    '"))
    shown = result.stdout.str()
    assert re.findall(r"^\S*(?:wirewright/\S+|typing)\.py:\d+:", shown, re.MULTILINE) == []
    assert "TypeError: handler must be callable, not int" in shown
    assert "a listener must be callable" not in shown


def test_traceback_ends_at_the_users_line(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyfile(FAILING)
    result = run(pytester)
    result.assert_outcomes(failed=6)
    shown = result.stdout.str()
    assert re.findall(r"^\S*wirewright/\S+\.py:\d+:", shown, re.MULTILINE) == []
    assert '>       socket.wait_for_event("framesent", timeout=1)' in shown
    assert '>       with socket.expect_event("framesent", timeout=1):' in shown
    assert '>       assert payload == "b"' in shown

    # Errors have the names that users import.
    timeout = "wirewright.TimeoutError: Timeout 1ms exceeded"
    assert len(re.findall(rf"^FAILED .* - {timeout}", shown, re.MULTILINE)) == 4
    assert re.search(r"^FAILED .*test_value - wirewright.Error: Socket closed: 1000$", shown, re.MULTILINE)
    assert "wirewright.model" not in shown
