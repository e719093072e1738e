"""Waits of the sync API whose predicate has not answered yet."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from support.threaded_peers import app, echo, let_waits_time_out, opened, say, serving, settle
from support.time_limits import STEP_SECONDS
from wirewright.sync import waits
from wirewright.sync_api import (
    EndedError,
    Error,
    Proxy,
    TimeoutError,  # noqa: A004  Playwright's name
)

pytestmark = pytest.mark.slow

FOREVER = 1_000 * STEP_SECONDS


@pytest.fixture
def url() -> Iterator[str]:
    with serving(echo) as served:
        yield f"{served}/live"


class Never:
    """An async predicate that never answers."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.is_asked = threading.Event()

    async def __call__(self, value: object) -> bool:
        self.asked.append(value)
        self.is_asked.set()
        await asyncio.get_running_loop().create_future()
        return True


@contextmanager
def unanswered(proxy: Proxy) -> Iterator[str]:
    """The URL of a socket whose server does not answer the handshake."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        host = f"127.0.0.1:{server.getsockname()[1]}"
        client = stack.enter_context(socket.create_connection(("127.0.0.1", proxy.port)))
        fields = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        fields += [f"Host: {host}", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        client.sendall("\r\n".join([f"GET http://{host}/live HTTP/1.1", *fields, "", ""]).encode())
        yield f"ws://{host}/live"


@pytest.mark.parametrize("is_late", [False, True])
def test_wait_for_a_socket_that_does_not_open_has_no_time_after_its_timeout(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, *, is_late: bool
) -> None:
    monkeypatch.setattr(waits, "OVERDUE_SECONDS", FOREVER)
    with (  # noqa: PT012
        ExitStack() as stack,
        pytest.raises(TimeoutError) as caught,
        proxy.expect_websocket("**/live", opened=True, timeout=30_000 if is_late else 500),
    ):
        with proxy.expect_websocket():
            url = stack.enter_context(unanswered(proxy))
        if is_late:
            let_waits_time_out(proxy)
    assert caught.value.message.splitlines()[1] == (f"no socket matched '**/live' and opened; came by: {url}")


def test_socket_that_opened_before_the_timeout_counts_after_it(proxy: Proxy, url: str) -> None:
    with (
        proxy.expect_websocket("**/live", opened=True, timeout=30_000) as info,
        app(proxy, url) as client,
    ):
        say(client, "hello")
        let_waits_time_out(proxy)
        assert info.value.url == url


def test_async_predicate_has_no_time_after_the_timeout(
    proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "OVERDUE_SECONDS", FOREVER)
    never = Never()
    with (  # noqa: PT012
        opened(proxy, url) as (ws, client),
        pytest.raises(TimeoutError, match=r"^Timeout 500ms exceeded .*\n.* was tried on 1 frame\n"),
        ws.expect_event("framesent", never, timeout=500),
    ):
        for message in ("a", "b"):
            say(client, message)
    assert never.asked == ["a"]


def test_async_predicate_on_the_history_of_a_closed_socket_has_the_time_of_its_wait(
    proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "OVERDUE_SECONDS", FOREVER)
    with opened(proxy, url) as (ws, client):
        say(client, "a")
        with ws.expect_event("close"):
            client.close()
        never = Never()
        with pytest.raises(Error, match=r"^Socket closed: 1000\n"):
            ws.wait_for_event("framesent", never, timeout=100, history=True)
    assert never.asked == ["a"]


def test_end_of_a_context_ends_a_wait_whose_async_predicate_has_not_answered(proxy: Proxy, url: str) -> None:
    never, context = Never(), proxy.context(client="127.0.0.1")

    def close() -> None:
        never.is_asked.wait(STEP_SECONDS)
        context.close()

    closing = threading.Thread(target=close)
    closing.start()
    with (
        pytest.raises(EndedError, match=r"^Context closed$"),
        context.expect_websocket(never, timeout=0),
        app(proxy, url),
    ):
        pass
    closing.join()
    assert len(never.asked) == 1


def test_async_predicates_after_the_timeout_have_one_second_together(
    proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "OVERDUE_SECONDS", 0.2)
    asked: list[object] = []

    async def slow(payload: str | bytes) -> bool:
        asked.append(payload)
        await asyncio.sleep(0.12)
        return False

    with (  # noqa: PT012
        opened(proxy, url) as (ws, client),
        pytest.raises(TimeoutError, match=re.escape("Timeout 30000ms exceeded")),
        ws.expect_event("framesent", slow, timeout=30_000),
    ):
        for message in ("a", "b", "c"):
            say(client, message)
        let_waits_time_out(proxy)
    assert asked[0] == "a"
    assert "c" not in asked


class Asked:
    """An async predicate that answers when it is told to."""

    def __init__(self, proxy: Proxy) -> None:
        self.payloads: list[str | bytes] = []
        self.is_cancelled = threading.Event()
        self._proxy = proxy
        self._answer: asyncio.Future[bool]

    async def __call__(self, payload: str | bytes) -> bool:
        self.payloads.append(payload)
        self._answer = asyncio.get_running_loop().create_future()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.is_cancelled.set()
            raise

    def answer(self, holds: bool) -> None:
        """Answer, and return when the loop has seen that."""
        self._proxy._call(self._answer.set_result, holds)
        settle(self._proxy)


def test_is_done_does_not_wait_for_an_async_predicate(proxy: Proxy, url: str) -> None:
    asked = Asked(proxy)
    with (
        opened(proxy, url) as (ws, client),
        ws.expect_event("framesent", asked, timeout=0) as info,
    ):
        assert not info.is_done()
        for message in ("a", "b", "c"):
            say(client, message)
        settle(proxy)
        assert not info.is_done()
        assert not info.is_done()
        assert asked.payloads == ["a"]
        asked.answer(False)
        assert not info.is_done()
        assert asked.payloads == ["a", "b"]
        asked.answer(True)
        assert info.is_done()
        assert info.value == "b"
    assert asked.payloads == ["a", "b"]


def test_is_done_has_the_answer_of_an_async_predicate_that_awaits_nothing(proxy: Proxy, url: str) -> None:
    async def is_second(payload: str | bytes) -> bool:
        return payload == "b"

    with opened(proxy, url) as (ws, client), ws.expect_event("framesent", is_second) as info:
        say(client, "a")
        settle(proxy)
        assert not info.is_done()
        say(client, "b")
        settle(proxy)
        assert info.is_done()


def test_is_done_is_true_once_the_wait_of_a_pending_predicate_has_timed_out(proxy: Proxy, url: str) -> None:
    never = Never()
    with opened(proxy, url) as (ws, client):
        with (  # noqa: PT012
            pytest.raises(TimeoutError, match=r"^Timeout 30000ms exceeded"),
            ws.expect_event("framesent", never, timeout=30_000) as info,
        ):
            for message in ("a", "b"):
                say(client, message)
            settle(proxy)
            assert not info.is_done()
            let_waits_time_out(proxy)
            settle(proxy)
            assert info.is_done()
        assert never.asked == ["a"]


def test_exception_of_the_block_cancels_a_predicate_that_has_not_answered(proxy: Proxy, url: str) -> None:
    asked = Asked(proxy)
    with (  # noqa: PT012
        opened(proxy, url) as (ws, client),
        pytest.raises(LookupError),
        ws.expect_event("framesent", asked, timeout=0) as info,
    ):
        say(client, "a")
        settle(proxy)
        assert not info.is_done()
        assert not asked.is_cancelled.is_set()
        raise LookupError
    assert asked.is_cancelled.wait(STEP_SECONDS)
