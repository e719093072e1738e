import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.model_sockets import begin_socket, in_virtual_time, left_behind, open_socket, receive
from wirewright.model.errors import Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_wait import Predicate
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control, Settings
from wirewright.model.websocket import WebSocket


def nothing(proxy: Proxy) -> Settings:
    """The settings of a proxy without any registration."""
    return Settings([(proxy, {})], {}, [])


@pytest.fixture
def proxy() -> Proxy:
    """One without a mitmproxy."""
    return Proxy()


@pytest.fixture
def control(proxy: Proxy) -> Control:
    return Control(proxy)


def test_websocket_is_emitted_before_there_is_an_answer(proxy: Proxy) -> None:
    seen: list[tuple[WebSocket, int | None, list[WebSocket]]] = []
    proxy.on("websocket", lambda ws: seen.append((ws, ws.status, proxy.web_sockets)))
    ws = open_socket(proxy).socket
    assert seen == [(ws, None, [ws])]


def test_open_sockets_are_listed_oldest_first(proxy: Proxy, control: Control) -> None:
    first, second, third = (open_socket(proxy, key=key).socket for key in "123")
    opening = begin_socket(proxy, key="4").socket
    control.close("2", 1000, "", "client")
    assert proxy.web_sockets == [first, third, opening]
    assert second.is_closed()
    proxy.web_sockets.clear()
    assert len(proxy.web_sockets) == 3


def test_closed_socket_is_not_listed_when_close_is_emitted(proxy: Proxy, control: Control) -> None:
    listed: list[list[WebSocket]] = []
    open_socket(proxy).socket.on("close", lambda _: listed.append(proxy.web_sockets))
    control.close("1")
    assert listed == [[]]


def test_socket_is_found_by_its_key_until_it_is_closed(proxy: Proxy, control: Control) -> None:
    feed = open_socket(proxy, key="one")
    assert control.feed("one") is feed
    assert control.sockets() == [("one", feed.socket)]
    control.close("one", 3000, "done", "server")
    ended = (feed.socket.close_code, feed.socket.close_reason, feed.socket.closed_by)
    assert ended == (3000, "done", "server")
    assert control.feed("one") is None
    control.close("one", 1000)
    assert feed.socket.close_code == 3000


@pytest.mark.parametrize(
    "url", ["**/live", "ws://B.test:80/*", re.compile(r"b\.test"), lambda ws: "b.test" in ws.url]
)
@in_virtual_time
async def test_socket_is_expected_by_its_url_or_by_a_predicate(
    url: str | re.Pattern[str] | Predicate,
) -> None:
    proxy = Proxy()
    wait = proxy.wait_for_websocket(url)
    async with proxy.expect_websocket(url) as opened:
        open_socket(proxy, "ws://a.test/other", key="1")
        assert not opened.is_done()
        wanted = open_socket(proxy, "ws://b.test/live", key="2").socket
    open_socket(proxy, "ws://b.test/live", key="3")
    assert await opened.value is wanted
    assert await wait is wanted
    assert not left_behind(proxy)


async def is_second(ws: WebSocket) -> bool:
    await asyncio.sleep(1)
    return ws.url.endswith("?2")


@pytest.mark.parametrize("predicate", [is_second, lambda ws: ws.url.endswith("?2")])
@in_virtual_time
async def test_predicate_is_asked_about_sockets_of_a_matching_url(
    predicate: Callable[[WebSocket], Any],
) -> None:
    proxy = Proxy()
    asked: list[str] = []

    def asking(ws: WebSocket) -> Any:
        asked.append(ws.url)
        return predicate(ws)

    wait = proxy.wait_for_websocket("**/live?*", asking)
    for number, url in enumerate(["ws://a.test/other?2", "ws://a.test/live?1", "ws://a.test/live?2"]):
        open_socket(proxy, url, key=str(number))
    assert (await wait).url == "ws://a.test/live?2"
    assert asked == ["ws://a.test/live?1", "ws://a.test/live?2"]


@pytest.mark.parametrize("predicate", [lambda: True, is_second])
@in_virtual_time
async def test_predicate_may_be_async_and_without_parameters(predicate: Predicate) -> None:
    proxy = Proxy()
    waits = [
        proxy.wait_for_websocket(predicate),
        proxy.wait_for_websocket("**/live*", predicate),
        proxy.wait_for_event("websocket", predicate),
    ]
    ws = open_socket(proxy, "ws://a.test/live?2").socket
    assert await asyncio.gather(*waits) == [ws] * 3


@in_virtual_time
async def test_any_socket_will_do_where_none_is_named() -> None:
    proxy = Proxy()
    waits = [
        proxy.wait_for_websocket(),
        proxy.wait_for_websocket(""),
        proxy.wait_for_event("websocket"),
        proxy.wait_for_websocket(predicate=lambda ws: ws.url),
    ]
    async with proxy.expect_websocket() as one, proxy.expect_event("websocket") as other:
        ws = open_socket(proxy).socket
    assert await asyncio.gather(*waits, one.value, other.value) == [ws] * 6


@pytest.mark.parametrize("start", [Proxy.expect_websocket, Proxy.wait_for_websocket])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"url": "**/{a"}, ValueError, "^invalid glob "),
        ({"url": 5}, TypeError, "^url must be a glob, a compiled regex or a callable, not int$"),
        ({"predicate": "live"}, TypeError, "^predicate must be callable, not str$"),
        ({"url": print, "predicate": print}, TypeError, "^give one predicate, as the first argument or "),
        ({"predicate": 5, "url": "**"}, TypeError, "^predicate must be callable, not int$"),
        ({"timeout": -1}, ValueError, "^timeout must be 0 "),
        ({"timeout": "1"}, TypeError, "^timeout must be milliseconds "),
    ],
    ids=str,
)
@in_virtual_time
async def test_wrong_argument_is_told_at_the_call(
    start: Callable[..., object], arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    proxy = Proxy()
    with pytest.raises(error, match=message):
        start(proxy, **arguments)
    assert not left_behind(proxy)


@in_virtual_time
async def test_unknown_event_is_a_value_error() -> None:
    proxy = Proxy()
    starts: list[Callable[..., object]] = [proxy.on, proxy.once, proxy.expect_event, proxy.wait_for_event]
    for start in starts:
        with pytest.raises(ValueError, match=r"^unknown event 'end': Proxy has \"websocket\"$"):
            start("end")
        with pytest.raises(ValueError, match=r"^close is an event of a WebSocket: take the socket from "):
            start("close")


@in_virtual_time
async def test_wait_for_a_socket_times_out() -> None:
    proxy = Proxy()
    with pytest.raises(TimeoutError, match=r'^Timeout 200ms exceeded while waiting for event "websocket"\n'):
        async with proxy.expect_websocket("**/live", timeout=200):
            open_socket(proxy, "ws://a.test/other")
    assert not left_behind(proxy)


@pytest.mark.parametrize(
    ("default", "timeout", "seconds"),
    [
        (None, None, 30),
        (200, None, 0.2),
        (timedelta(seconds=4), None, 4),
        (200, 1000, 1),
        (0, 1000, 1),
        (200, timedelta(minutes=1), 60),
    ],
)
@in_virtual_time
async def test_default_timeout_is_the_proxy_s(
    default: Any, timeout: float | timedelta | None, seconds: float
) -> None:
    proxy = Proxy()
    ws = open_socket(proxy).socket
    if default is not None:
        proxy.set_default_timeout(default)
    waits = [ws.wait_for_event("framesent", timeout=timeout), proxy.wait_for_websocket(timeout=timeout)]
    for wait, event in zip(waits, ["framesent", "websocket"], strict=True):
        expected = f'^Timeout {int(seconds * 1000)}ms exceeded while waiting for event "{event}"'
        with pytest.raises(TimeoutError, match=expected):
            await wait
    assert asyncio.get_running_loop().time() == pytest.approx(seconds)


@in_virtual_time
async def test_default_timeout_of_0_never_ends_a_wait() -> None:
    proxy = Proxy()
    proxy.set_default_timeout(0)
    feed = open_socket(proxy)
    wait = asyncio.ensure_future(feed.socket.wait_for_event("framereceived"))
    await asyncio.sleep(24 * 3600)
    receive(feed, "at last")
    assert await wait == "at last"


@in_virtual_time
async def test_default_timeout_holds_for_later_waits_only() -> None:
    proxy = Proxy()
    wait = proxy.wait_for_websocket()
    proxy.set_default_timeout(1)
    with pytest.raises(TimeoutError, match="30000ms"):
        await wait


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError), (None, TypeError)]
)
def test_default_timeout_must_be_a_finite_time(proxy: Proxy, timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^timeout must be "):
        proxy.set_default_timeout(timeout)
    assert proxy._default_timeout == 30_000


class StubHost:
    ca_certificate = Path("ca.pem")
    history = HistoryLimit()

    def __init__(self, port: int | None) -> None:
        self.port = port

    def start_capture(self, path: Path, context: object, **options: object) -> Any: ...

    def stop_capture(self, context: object) -> Any: ...

    def forget(self, owner: Any) -> None: ...

    def begin_outage(self, holder: object, context: object) -> Any: ...

    def end_outage(self, **given: object) -> Any: ...

    def annotate(self, text: str, context: object) -> Any: ...

    async def apps_seen(self) -> Any: ...

    def replay(self, *arguments: object, **options: object) -> Any: ...


def test_proxy_that_runs_tells_its_port_and_certificate(proxy: Proxy, control: Control) -> None:
    control.attach(StubHost(8080))
    assert (proxy.port, proxy.ca_certificate) == (8080, Path("ca.pem"))
    assert repr(proxy) == "<Proxy port=8080>"


@pytest.mark.parametrize("fact", [lambda proxy: proxy.port, lambda proxy: proxy.ca_certificate])
def test_proxy_that_does_not_run_says_so(
    proxy: Proxy, control: Control, fact: Callable[[Proxy], object]
) -> None:
    control.attach(StubHost(8080))
    control.attach(None)
    with pytest.raises(Error, match=r"^no proxy is running$"):
        fact(proxy)
    assert repr(proxy) == "<Proxy port=None>"


def test_proxy_without_a_port_says_so(proxy: Proxy, control: Control) -> None:
    control.attach(StubHost(None))
    with pytest.raises(Error, match=r"^this proxy listens on no port"):
        _ = proxy.port


@in_virtual_time
async def test_end_closes_the_sockets_and_fails_the_waits() -> None:
    proxy = Proxy()
    control = Control(proxy)
    control.attach(StubHost(8080))
    ws = open_socket(proxy).socket
    wait, own_wait = ws.wait_for_event("framesent"), proxy.wait_for_websocket()
    await control.end(nothing(proxy))
    assert (ws.is_closed(), ws.closed_by, ws.close_code, proxy.web_sockets) == (True, "proxy", 1006, [])
    with pytest.raises(Error, match=r"^Socket closed: 1006 'the proxy has stopped'$"):
        await wait
    with pytest.raises(Error, match=r"^Proxy closed$"):
        await own_wait
    assert not left_behind(ws)
    assert not left_behind(proxy)
    with pytest.raises(Error, match=r"^no proxy is running$"):
        _ = proxy.port


@in_virtual_time
async def test_end_cancels_async_listeners_and_awaits_their_last_words() -> None:
    proxy = Proxy()
    words: list[str] = []

    async def listener(ws: WebSocket) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            words.append("bye")

    proxy.on("websocket", listener)
    open_socket(proxy)
    await asyncio.sleep(0)
    await Control(proxy).end(nothing(proxy))
    assert words == ["bye"]
    assert not left_behind(proxy)


@in_virtual_time
async def test_async_listener_hears_of_the_close_at_the_end() -> None:
    proxy = Proxy()
    closed: list[WebSocket] = []

    async def listener(ws: WebSocket) -> None:
        closed.append(ws)

    ws = open_socket(proxy).socket
    ws.on("close", listener)
    await Control(proxy).end(nothing(proxy))
    assert closed == [ws]


@in_virtual_time
async def test_listener_may_end_the_proxy() -> None:
    proxy = Proxy()
    ended = asyncio.Event()

    async def listener(ws: WebSocket) -> None:
        await Control(proxy).end(nothing(proxy))
        ended.set()

    proxy.on("websocket", listener)
    open_socket(proxy)
    await ended.wait()
    assert proxy.web_sockets == []


@in_virtual_time
async def test_end_goes_back_to_the_settings_of_before() -> None:
    proxy = Proxy()
    control = Control(proxy)
    before: list[WebSocket] = []
    inside: list[WebSocket] = []
    proxy.set_default_timeout(100)
    proxy.on("websocket", before.append)
    keep = control.settings()
    proxy.set_default_timeout(1)
    proxy.on("websocket", inside.append)
    await control.end(keep)
    ws = open_socket(proxy).socket
    assert (before, inside) == ([ws], [])
    with pytest.raises(TimeoutError, match="Timeout 100ms exceeded"):
        await proxy.wait_for_event("websocket")


@in_virtual_time
async def test_expected_socket_may_have_to_open() -> None:
    proxy = Proxy()
    loop = asyncio.get_running_loop()
    async with proxy.expect_websocket("**/live", opened=True) as info:
        other = begin_socket(proxy, "ws://example.test/other", key="1")
        other.failed("boom")
        meant = begin_socket(proxy, key="2")
        loop.call_later(1, meant.opened)
    assert await info.value is meant.socket
    assert meant.socket.opened_at is not None


@in_virtual_time
async def test_socket_that_is_expected_to_open_and_does_not_fails_the_wait() -> None:
    proxy = Proxy()
    wait = proxy.wait_for_websocket(lambda ws: "live" in ws.url, opened=True)
    asyncio.get_running_loop().call_soon(begin_socket(proxy).failed, "net::ERR_CONNECTION_REFUSED")
    with pytest.raises(Error, match=r"^Socket error: net::ERR_CONNECTION_REFUSED$"):
        await wait
    late = proxy.wait_for_websocket(opened=True, timeout=500)
    begin_socket(proxy, key="2")
    with pytest.raises(TimeoutError, match=r"^Timeout 500ms exceeded"):
        await late
    await asyncio.sleep(0)  # the predicate is cancelled
    assert left_behind(proxy) == []
