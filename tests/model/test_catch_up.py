"""Events of a socket between its opening and the moment when the code that waited for it goes on."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from support.model_sockets import in_virtual_time, left_behind, open_socket, receive
from wirewright.model.catch_up import MOST, TURNS, Backlog, CatchUp, bind
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy
from wirewright.model.websocket import WebSocket

EVERYTHING = ["sent hi", "received hello", "received bye", "error boom", "close"]


def send(feed: Feed, *payloads: str) -> None:
    for payload in payloads:
        feed.frames("framesent", [payload])


def converse(feed: Feed) -> None:
    """A whole life of a socket."""
    send(feed, "hi")
    receive(feed, "hello", "bye")
    feed.failed("boom")
    feed.closed(1002)


async def opened(proxy: Proxy, limit: HistoryLimit | None = None) -> tuple[WebSocket, Feed]:
    """A socket that is taken at the end of a block, when there was a conversation already."""
    async with proxy.expect_websocket() as info:
        feed = open_socket(proxy, limit=limit)
        send(feed, "hi")
        receive(feed, "hello", "bye")
        await asyncio.sleep(1)
    await asyncio.sleep(1)
    ws: WebSocket = await info.value
    return ws, feed


def listen(ws: WebSocket) -> list[str]:
    """The events that listeners of all kinds hear."""
    heard: list[str] = []
    ws.on("close", lambda closed: heard.append("close" if closed is ws else "another"))
    ws.on("missed", lambda number: heard.append(f"missed {number}"))
    ws.on("framereceived", lambda payload: heard.append("received " + str(payload)))
    ws.on("socketerror", lambda message: heard.append(f"error {message}"))
    ws.on("framesent", lambda payload: heard.append("sent " + str(payload)))
    return heard


async def in_a_block(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    async with proxy.expect_websocket() as info:
        converse()
    return await info.value


async def in_a_block_that_goes_on(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    async with proxy.expect_event("websocket") as info:
        converse()
        await asyncio.sleep(1)
    await asyncio.sleep(1)
    ws: WebSocket = await info.value
    return ws


async def as_a_task(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    async with proxy.expect_websocket() as info:
        converse()
    return await asyncio.create_task(info.value)  # noqa: TID251  what a user does


async def with_a_limit(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    return await asyncio.wait_for(in_a_block(proxy, converse), 10)


async def gathered(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    async def act() -> None:
        converse()

    ws, _ = await asyncio.gather(asyncio.wait_for(proxy.wait_for_websocket("**/live"), 10), act())
    return ws


async def by_a_wait(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    asyncio.get_running_loop().call_soon(converse)
    ws: WebSocket = await proxy.wait_for_event("websocket")
    return ws


async def by_an_async_predicate(proxy: Proxy, converse: Callable[[], None]) -> WebSocket:
    async def is_live(ws: WebSocket) -> bool:
        await asyncio.sleep(1)
        return "live" in ws.url

    async with proxy.expect_websocket(is_live) as info:
        converse()
    return await info.value


every_way = pytest.mark.parametrize(
    "take",
    [
        in_a_block,
        in_a_block_that_goes_on,
        as_a_task,
        with_a_limit,
        gathered,
        by_a_wait,
        by_an_async_predicate,
    ],
)
Take = Callable[[Proxy, Callable[[], None]], Awaitable[WebSocket]]


@every_way
@pytest.mark.parametrize(
    ("event", "value"),
    [("framesent", "hi"), ("framereceived", "hello"), ("socketerror", "boom"), ("close", None)],
)
@pytest.mark.parametrize("limit", [None, HistoryLimit(0, 0)])
@in_virtual_time
async def test_first_wait_begins_at_the_opening(
    take: Take, event: Any, value: object, limit: HistoryLimit | None
) -> None:
    proxy = Proxy()
    ws = await take(proxy, lambda: converse(open_socket(proxy, limit=limit)))
    assert await ws.wait_for_event(event) == (value or ws)


@every_way
@in_virtual_time
async def test_listeners_hear_everything_once_and_in_its_order(take: Take) -> None:
    proxy = Proxy()
    ws = await take(proxy, lambda: converse(open_socket(proxy)))
    heard = listen(ws)
    await asyncio.sleep(1)
    assert heard == EVERYTHING


@every_way
@in_virtual_time
async def test_block_after_the_opening_begins_there(take: Take) -> None:
    proxy = Proxy()
    ws = await take(proxy, lambda: converse(open_socket(proxy)))
    async with ws.expect_event("framereceived", lambda payload: payload == "bye") as frame:
        pass
    assert await frame.value == "bye"


@pytest.mark.parametrize("wrap", [lambda wait: wait, lambda wait: asyncio.wait_for(wait, 10)])
@in_virtual_time
async def test_one_wait_after_the_other_goes_on_where_that_has_ended(
    wrap: Callable[[Awaitable[Any]], Awaitable[Any]],
) -> None:
    ws, feed = await opened(Proxy())
    assert await wrap(ws.wait_for_event("framesent")) == "hi"
    assert await wrap(ws.wait_for_event("framereceived")) == "hello"
    assert await wrap(ws.wait_for_event("framereceived")) == "bye"
    asyncio.get_running_loop().call_soon(receive, feed, "live")
    assert await wrap(ws.wait_for_event("framereceived")) == "live"


@in_virtual_time
async def test_functions_that_wait_in_tasks_of_their_own_go_on_too() -> None:
    async def next_frame(ws: WebSocket) -> Any:
        return await ws.wait_for_event("framereceived")

    ws, _ = await opened(Proxy())
    assert await asyncio.wait_for(next_frame(ws), 10) == "hello"
    assert await asyncio.wait_for(next_frame(ws), 10) == "bye"


@in_virtual_time
async def test_waits_side_by_side_all_begin_at_the_opening() -> None:
    ws, feed = await opened(Proxy())
    asyncio.get_running_loop().call_later(1, feed.closed, 1000)
    ended = await asyncio.gather(
        ws.wait_for_event("framereceived", lambda payload: payload == "bye"),
        ws.wait_for_event("framereceived", lambda payload: payload == "hello"),
        asyncio.wait_for(ws.wait_for_event("framesent"), 10),
        ws.wait_for_event("close"),
    )
    assert list(ended) == ["bye", "hello", "hi", ws]


@in_virtual_time
async def test_block_after_a_wait_is_for_what_it_causes() -> None:
    ws, feed = await opened(Proxy())
    assert await ws.wait_for_event("framereceived") == "hello"
    async with ws.expect_event("framereceived") as frame:
        receive(feed, "caused")
    assert await frame.value == "caused"


@pytest.mark.parametrize("has_past", [False, True])
@in_virtual_time
async def test_no_event_is_given_twice(has_past: bool) -> None:
    """The live ones come before the turns are over in which the code catches up."""
    proxy, loop = Proxy(), asyncio.get_running_loop()
    async with proxy.expect_websocket() as info:
        feed = open_socket(proxy)
        if has_past:
            receive(feed, "hello", "bye")
    ws = await info.value
    if has_past:
        assert await ws.wait_for_event("framereceived") == "hello"
    async with ws.expect_event("framereceived") as frame:
        loop.call_soon(receive, feed, "one", "two")
    assert await frame.value == "one"
    loop.call_soon(receive, feed, "three")
    assert await ws.wait_for_event("framereceived") == "three"
    loop.call_soon(receive, feed, "four")
    assert await asyncio.wait_for(ws.wait_for_event("framereceived"), 10) == "four"
    heard = listen(ws)
    loop.call_soon(receive, feed, "five")
    await asyncio.sleep(1)
    assert heard == ["received five"]


@in_virtual_time
async def test_past_and_present_follow_each_other_without_a_gap() -> None:
    ws, feed = await opened(Proxy())
    heard = listen(ws)
    once: list[object] = []
    ws.once("framereceived", once.append)
    receive(feed, "before the past is heard")
    assert heard == once == []
    await asyncio.sleep(1)
    receive(feed, "live")
    feed.closed(1000)
    expected = ["sent hi", "received hello", "received bye", "received before the past is heard"]
    assert heard == [*expected, "received live", "close"]
    assert once == ["hello"]


@in_virtual_time
async def test_listener_has_heard_the_past_when_a_wait_for_it_returns() -> None:
    proxy = Proxy()
    ws = await in_a_block(proxy, lambda: converse(open_socket(proxy)))
    heard = listen(ws)
    await ws.wait_for_event("close")
    assert heard == EVERYTHING


@in_virtual_time
async def test_listener_that_a_listener_registers_hears_what_follows() -> None:
    ws, feed = await opened(Proxy())
    rest: list[object] = []
    ws.once("framereceived", lambda: ws.on("framereceived", rest.append))
    ws.on("framesent", lambda: ws.wait_for_event("framereceived").close())
    await asyncio.sleep(1)
    receive(feed, "live")
    assert rest == ["bye", "live"]


@in_virtual_time
async def test_listener_that_is_taken_back_hears_nothing() -> None:
    ws, _ = await opened(Proxy())
    heard: list[object] = []
    ws.on("framereceived", heard.append)
    ws.remove_listener("framereceived", heard.append)
    await asyncio.sleep(1)
    assert heard == []


@pytest.mark.ws_allow_errors
@in_virtual_time
async def test_async_and_failing_listeners_hear_the_past_too(caplog: pytest.LogCaptureFixture) -> None:
    ws, _ = await opened(Proxy())
    heard: list[object] = []

    async def note(payload: str | bytes) -> None:
        heard.append(payload)

    ws.on("framereceived", lambda: 1 / 0)
    ws.on("framereceived", note)
    await asyncio.sleep(1)
    assert heard == ["hello", "bye"]
    assert caplog.text.count("ZeroDivisionError") == 2


@in_virtual_time
async def test_nobody_else_waits_for_the_code_that_catches_up() -> None:
    proxy, heard = Proxy(), list[list[str]]()
    proxy.on("websocket", lambda ws: heard.append(listen(ws)))
    async with proxy.expect_websocket() as info:
        converse(open_socket(proxy))
        assert heard == [EVERYTHING]
    other = listen(await info.value)
    await asyncio.sleep(1)
    assert heard == [EVERYTHING]
    assert other == EVERYTHING


@in_virtual_time
async def test_each_of_several_that_waited_catches_up_by_itself() -> None:
    proxy = Proxy()

    async def follow() -> list[str | bytes]:
        ws = await proxy.wait_for_websocket()
        return [await ws.wait_for_event("framereceived") for _ in range(2)]

    asyncio.get_running_loop().call_later(1, lambda: converse(open_socket(proxy)))
    assert [*await asyncio.gather(follow(), follow(), follow())] == [["hello", "bye"]] * 3


@in_virtual_time
async def test_who_comes_later_hears_only_what_follows() -> None:
    ws, feed = await opened(Proxy())
    for _ in range(TURNS + 1):
        await asyncio.sleep(0)
    heard = listen(ws)
    wait = ws.wait_for_event("framereceived")
    await asyncio.sleep(1)
    receive(feed, "live")
    assert await wait == "live"
    assert heard == ["received live"]


@in_virtual_time
async def test_wait_fails_with_what_came_first() -> None:
    proxy = Proxy()
    ws = await in_a_block(proxy, lambda: converse(open_socket(proxy)))
    with pytest.raises(Error, match=r"^Socket error: boom\nthe predicate "):
        await ws.wait_for_event("framereceived", lambda payload: payload == "never")
    async with proxy.expect_websocket() as info:
        feed = open_socket(proxy, key="3")
        feed.closed(1000)
    ws = await info.value
    with pytest.raises(Error, match=r"^Socket closed: 1000$"):
        await ws.wait_for_event("framereceived")
    with pytest.raises(Error, match=r"^Socket closed: 1000\nthe predicate "):
        await ws.wait_for_event("close", lambda _: False)


@in_virtual_time
async def test_history_is_not_doubled() -> None:
    ws, _ = await opened(Proxy())
    assert await ws.wait_for_event("framereceived", history=True) == "hello"
    assert await ws.wait_for_event("framereceived") == "bye"


@in_virtual_time
async def test_history_has_what_the_limit_allows_once_the_code_was_given_the_rest() -> None:
    ws, _ = await opened(Proxy(), HistoryLimit(1, 100))
    assert await ws.wait_for_event("framereceived", lambda payload: payload == "bye", history=True) == "bye"
    assert await ws.wait_for_event("framereceived", history=True) == "bye"


@in_virtual_time
async def test_history_is_no_longer_for_one_while_others_catch_up() -> None:
    feed = open_socket(Proxy(), limit=HistoryLimit(1, 100))
    others = Backlog(feed.history)
    receive(feed, "hello", "bye")
    assert await feed.socket.wait_for_event("framereceived", history=True) == "bye"
    assert [event.value for event in CatchUp(others).events()] == ["hello", "bye"]


@pytest.mark.parametrize("limit", [HistoryLimit(), HistoryLimit(0, 0), HistoryLimit(5, 10)])
@in_virtual_time
async def test_more_than_a_socket_remembers_is_left_out_and_counted(limit: HistoryLimit) -> None:
    proxy = Proxy()
    async with proxy.expect_websocket() as info:
        feed = open_socket(proxy, limit=limit)
        receive(feed, *map(str, range(1_500)))
    ws = await info.value
    heard = listen(ws)
    wait = ws.wait_for_event("framereceived", lambda payload: payload == "0")
    assert await ws.wait_for_event("missed") == 500
    assert await ws.wait_for_event("framereceived") == "500"
    assert heard == ["missed 500", *(f"received {number}" for number in range(500, 1_500))]
    feed.closed(1000)
    with pytest.raises(
        Error, match=r"^Socket closed: 1000 \(500 earlier messages were left out\)\nthe predicate "
    ):
        await wait


@in_virtual_time
async def test_sockets_keep_nothing_for_those_who_do_not_come() -> None:
    proxy, limit = Proxy(), HistoryLimit(0, 0)

    async def is_other(ws: WebSocket) -> bool:
        await asyncio.sleep(1)
        return ws.url == "other"

    waits = [
        proxy.wait_for_websocket(lambda ws: ws.url == "other"),
        proxy.wait_for_websocket(is_other),
        proxy.wait_for_websocket(lambda: 1 / 0),
    ]
    async with proxy.expect_websocket(), proxy.expect_websocket() as info:
        feed = open_socket(proxy, limit=limit)
        receive(feed, "hello")
        assert feed.history.is_retained
        assert feed.history.size == len("hello")
    del info
    await asyncio.sleep(2)
    with pytest.raises(ZeroDivisionError):
        await waits.pop()
    gc.collect()
    await asyncio.sleep(0)
    receive(feed, "more")
    assert not feed.history.is_retained
    assert feed.history.size == 0
    for wait in waits:
        wait.close()
    assert not left_behind(proxy)


@in_virtual_time
async def test_thread_that_never_waits_keeps_the_newest_sockets_alone() -> None:
    feeds = [open_socket(limit=HistoryLimit(0, 0)) for _ in range(MOST + 4)]
    for feed in feeds:
        bind(CatchUp(Backlog(feed.history)))
    await asyncio.sleep(1)
    assert [feed.history.is_retained for feed in feeds] == [False] * 4 + [True] * MOST


@in_virtual_time
async def test_code_that_has_caught_up_keeps_nothing() -> None:
    ws, feed = await opened(Proxy(), HistoryLimit(0, 0))
    assert await ws.wait_for_event("framereceived") == "hello"
    await asyncio.sleep(1)
    assert not feed.history.is_retained
    assert feed.history.size == 0
