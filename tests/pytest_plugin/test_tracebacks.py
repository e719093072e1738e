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
