"""`expect(proxy).to_reconnect`: the end of a socket, and the one that the app opens then."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from support.model_sockets import URL, begin_socket, in_virtual_time, left_behind, load_script, open_socket
from wirewright.model.assertions import expect
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.reconnection import ProxyAssertions

OTHER = "ws://example.test/chat?token=secret"


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


def cut(proxy: Proxy, key: str = "1") -> None:
    Control(proxy).close(key, 1006, "abort() was called", "proxy")


def refuse(proxy: Proxy, key: str, url: str = URL) -> None:
    """A handshake that is answered with 503."""
    feed = begin_socket(proxy, url, key=key)
    feed.answered(503, {})
    feed.failed("Error during WebSocket handshake: Unexpected response code: 503")
    Control(proxy).close(key, by="server")


def in_a_second(act: Callable[..., object], *arguments: object, **options: object) -> None:
    asyncio.get_running_loop().call_later(1, lambda: act(*arguments, **options))


async def failure(assertion: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        await assertion
    return str(caught.value).splitlines()


@in_virtual_time
async def test_reconnection_before_the_call_counts() -> None:
    proxy = Proxy()
    open_socket(proxy)
    cut(proxy)
    again = open_socket(proxy, key="2")
    assert await expect(proxy).to_reconnect() is again.socket
    assert await expect(proxy).to_reconnect("**/live", within=1) is again.socket
    assert left_behind(proxy) == []
    assert left_behind(again.socket) == []


@in_virtual_time
async def test_end_and_reconnection_are_awaited() -> None:
    proxy = Proxy()
    loop = asyncio.get_running_loop()
    open_socket(proxy)
    in_a_second(cut, proxy)
    loop.call_later(2, lambda: begin_socket(proxy, key="2"))
    loop.call_later(2.5, lambda: Control(proxy).feed("2").opened())  # type: ignore[union-attr]
    began = loop.time()
    ws = await expect(proxy).to_reconnect("**/live")
    assert (ws.url, loop.time() - began) == (URL, 2.5)
    assert proxy.web_sockets == [ws]
    assert left_behind(ws) == []


@in_virtual_time
async def test_socket_that_was_requested_before_the_end_does_not_count() -> None:
    proxy = Proxy()
    open_socket(proxy)
    open_socket(proxy, key="2")
    late = begin_socket(proxy, key="3")
    cut(proxy)
    late.opened()
    in_a_second(open_socket, proxy, key="4")
    assert await expect(proxy).to_reconnect() is Control(proxy).feed("4").socket  # type: ignore[union-attr]
    cut(proxy, "2")
    assert (await failure(expect(proxy).to_reconnect()))[0] == (
        "expected the app to reconnect within 3000ms, but it has requested no socket since the last one ended"
    )


@in_virtual_time
async def test_handshake_that_failed_is_no_end() -> None:
    proxy = Proxy()
    open_socket(proxy)
    cut(proxy)
    again = open_socket(proxy, key="2")
    refuse(proxy, "3")
    assert await expect(proxy).to_reconnect("**/live") is again.socket


@in_virtual_time
async def test_sockets_of_other_urls_do_not_count() -> None:
    proxy = Proxy()
    open_socket(proxy)
    open_socket(proxy, OTHER, key="2")
    cut(proxy, "2")
    open_socket(proxy, OTHER, key="3")
    open_socket(proxy, key="4")
    lines = await failure(expect(proxy).to_reconnect("**/live", within=50))
    assert lines == [
        "expected the app to reconnect to '**/live' within 50ms, but no such socket has ended",
        "sockets:",
        "    ws://example.test/live, open",
        "    ws://example.test/live, open",
    ]
    for meant in (re.compile("chat"), lambda url: "chat" in url):
        assert (await expect(proxy).to_reconnect(meant)).url == OTHER


@in_virtual_time
async def test_failure_says_what_became_of_the_attempts() -> None:
    proxy = Proxy()
    open_socket(proxy, OTHER)
    cut(proxy)
    refuse(proxy, "2", OTHER)
    begin_socket(proxy, OTHER, key="3").failed("net::ERR_FAILED\x1b[2J")
    Control(proxy).close("3")
    begin_socket(proxy, OTHER, key="4")
    chat = "ws://example.test/chat?…"
    assert await failure(expect(proxy).to_reconnect(re.compile("ch.t"))) == [
        "expected the app to reconnect to /ch.t/ within 3000ms, "
        "but no socket that it has requested since is open",
        f"ended: {chat}, closed 1006 'abort() was called' by proxy",
        "requested since:",
        f"    {chat}, failed with status 503 "
        "(Error during WebSocket handshake: Unexpected response code: 503)",
        f"    {chat}, failed (net::ERR_FAILED\\x1b[2J)",
        f"    {chat}, opening",
    ]


@in_virtual_time
async def test_failure_shows_the_newest_attempts_and_counts_the_others() -> None:
    proxy = Proxy()
    open_socket(proxy)
    cut(proxy)
    for number in range(12):
        refuse(proxy, f"r{number}")
    lines = await failure(expect(proxy).to_reconnect(within=1))
    assert lines[2:4] == ["requested since:", "    … 2 earlier"]
    assert len(lines) == 14


@in_virtual_time
async def test_handshakes_that_fail_without_an_end_are_shown() -> None:
    proxy = Proxy()
    refuse(proxy, "1")
    assert await failure(expect(proxy).to_reconnect(within=1)) == [
        "expected the app to reconnect within 1ms, but no such socket has ended",
        "sockets:",
        "    ws://example.test/live, failed with status 503 "
        "(Error during WebSocket handshake: Unexpected response code: 503)",
    ]


@in_virtual_time
async def test_failure_shows_other_sockets_if_none_matches() -> None:
    proxy = Proxy()
    assert await failure(expect(proxy).to_reconnect(within=1)) == [
        "expected the app to reconnect within 1ms, but no such socket has ended"
    ]
    open_socket(proxy)
    open_socket(proxy, OTHER, key="2")
    cut(proxy)
    assert await failure(expect(proxy).to_reconnect("**/room", within=1)) == [
        "expected the app to reconnect to '**/room' within 1ms, but no such socket has ended",
        "other sockets:",
        "    ws://example.test/live, closed 1006 'abort() was called' by proxy",
        "    ws://example.test/chat?…, open",
    ]


@in_virtual_time
async def test_ends_before_a_moment_do_not_count() -> None:
    proxy = Proxy()
    open_socket(proxy)
    cut(proxy)
    since = next(proxy._state.sequence)
    open_socket(proxy, key="2")
    assertions = ProxyAssertions(proxy, since)
    assert (await failure(assertions.to_reconnect(within=1)))[0].endswith("no such socket has ended")
    cut(proxy, "2")
    open_socket(proxy, key="3")
    assert (await assertions.to_reconnect(within=1)).url == URL


@in_virtual_time
async def test_end_of_the_proxy_ends_the_assertion() -> None:
    proxy = Proxy()
    control = Control(proxy)
    open_socket(proxy)
    in_a_second(lambda: asyncio.ensure_future(control.end(control.settings())))
    lines = await failure(expect(proxy).to_reconnect("**/live"))
    assert lines[0].startswith("expected the app to reconnect to '**/live' (Proxy closed), but ")


@in_virtual_time
async def test_assertion_of_a_script_ends_with_the_script() -> None:
    proxy = Proxy()
    source = """
        async def check():
            await expect(proxy).to_reconnect()

        asserting = ensure_future(check())
    """
    script = load_script(source, proxy=proxy, expect=expect, ensure_future=asyncio.ensure_future)
    await asyncio.sleep(0.1)
    Control(proxy).forget(script)
    with pytest.raises(asyncio.CancelledError):
        await script["asserting"]
    assert left_behind(proxy) == []


async def test_wrong_arguments_are_refused_at_once() -> None:
    proxy = Proxy()
    with pytest.raises(TypeError, match="url must be a glob, a compiled regex or a callable, not int"):
        await expect(proxy).to_reconnect(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be 0"):
        await expect(proxy).to_reconnect(within=-1)
    with pytest.raises(TypeError, match="expect takes a WebSocket or a Proxy of the async API, not str"):
        expect("ws")  # type: ignore[call-overload]


@in_virtual_time
async def test_failure_on_a_context_says_which_sockets_came_by_outside_of_it() -> None:
    proxy = Proxy()
    ann = proxy.context(user="ann")
    begin_socket(proxy, key="1", proxy_user="bob")
    assertion = expect(ann).to_reconnect("**/live", within=2_000)
    in_a_second(begin_socket, proxy, key="2", proxy_user="bob")
    assert await failure(assertion) == [
        "expected the app to reconnect to '**/live' within 2000ms, but no such socket has ended",
        "came by outside of this context: ws://example.test/live (user 'bob')",
    ]
