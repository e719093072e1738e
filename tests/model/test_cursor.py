import asyncio
import re
from typing import Any

import pytest

from support.model_sockets import begin_socket, in_virtual_time, left_behind, open_socket, receive
from wirewright.model.cursor import Cursor
from wirewright.model.errors import EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.feed import Feed
from wirewright.model.frame import Frame
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy
from wirewright.values import Payload


async def payloads(cursor: Any, count: int, **options: Any) -> list[Payload]:
    return [(await cursor.next_frame(**options)).payload for _ in range(count)]


def soon(feed: Feed, *frames: Payload) -> None:
    asyncio.get_running_loop().call_later(1, receive, feed, *frames)


@in_virtual_time
async def test_frames_come_once_each_from_the_opening_on() -> None:
    feed = open_socket()
    ws = feed.socket
    receive(feed, "a", "b")
    assert await payloads(ws, 2) == ["a", "b"]
    soon(feed, "c", "d")
    assert await payloads(ws, 2) == ["c", "d"]
    assert left_behind(ws) == []


@in_virtual_time
async def test_frames_of_both_directions_come_in_their_order() -> None:
    feed = open_socket()
    receive(feed, "a")
    feed.frames("framesent", ["b", "c"])
    receive(feed, "d")
    seen = [await feed.socket.next_frame() for _ in range(4)]
    assert [(frame.number, frame.direction, frame.payload) for frame in seen] == [
        (1, "received", "a"),
        (2, "sent", "b"),
        (3, "sent", "c"),
        (4, "received", "d"),
    ]


@in_virtual_time
async def test_frames_that_do_not_match_are_passed() -> None:
    feed = open_socket()
    ws = feed.socket
    receive(feed, "a", '{"type": "ack", "id": 1}', b"\xff", '{"type": "filled", "id": 1}', "b")
    assert (await ws.next_frame(json={"type": "filled"})).json() == {"type": "filled", "id": 1}
    assert (await ws.next_frame()).payload == "b"
    soon(feed, "x", "cat", "y")
    assert (await ws.next_frame(re.compile("^c"))).payload == "cat"
    assert (await ws.next_frame("y")).payload == "y"


@in_virtual_time
async def test_one_frame_is_never_given_twice() -> None:
    feed = open_socket()
    receive(feed, '{"type": "filled"}')
    await feed.socket.next_frame(json={"type": "filled"})
    with pytest.raises(TimeoutError):
        await feed.socket.next_frame(json={"type": "filled"}, timeout=100)


@in_virtual_time
async def test_cursors_are_independent() -> None:
    feed = open_socket()
    ws = feed.socket
    receive(feed, "a", "b")
    late, early = ws.cursor("now"), ws.cursor()
    assert (await ws.next_frame()).payload == "a"
    assert await payloads(early, 2) == ["a", "b"]
    receive(feed, "c")
    assert (await late.next_frame()).payload == "c"
    assert await payloads(ws, 2) == ["b", "c"]


@in_virtual_time
async def test_async_function_may_decide() -> None:
    feed = open_socket()

    async def is_b(frame: Frame) -> bool:
        await asyncio.sleep(1)
        return frame.payload == "b"

    receive(feed, "a", "b", "c")
    assert (await feed.socket.next_frame(is_b)).payload == "b"
    assert (await feed.socket.next_frame()).payload == "c"


@in_virtual_time
async def test_async_function_that_never_answers_ends_with_the_time() -> None:
    feed = open_socket()

    async def forever(_: Frame) -> bool:
        await asyncio.Event().wait()
        return True

    receive(feed, "a")
    with pytest.raises(TimeoutError, match=r"^Timeout 500ms exceeded while waiting for a frame for which "):
        await feed.socket.next_frame(forever, timeout=500)


@in_virtual_time
async def test_search_that_fails_leaves_the_cursor_where_it_was() -> None:
    feed = open_socket()
    ws = feed.socket
    receive(feed, "a", "b", "c")
    assert (await ws.next_frame()).payload == "a"
    with pytest.raises(TimeoutError):
        await ws.next_frame("d", timeout=100)
    with pytest.raises(ZeroDivisionError):
        await ws.next_frame(lambda frame: 1 / 0)
    assert await payloads(ws, 2) == ["b", "c"]


@in_virtual_time
async def test_timeout_tells_what_was_awaited_and_what_came() -> None:
    feed = open_socket()
    receive(feed, "a", "a")
    feed.frames("framesent", ["c"])
    soon(feed, '{"type": "hb"}')
    with pytest.raises(TimeoutError) as caught:
        await feed.socket.next_frame(json={"type": "filled"}, direction="received", timeout=2000)
    assert caught.value.message == (
        "Timeout 2000ms exceeded while waiting for a received frame with json={'type': 'filled'}\n"
        'nearest: ← \'{"type": "hb"}\'\n'
        "    type: expected 'filled', is 'hb'\n"
        "passed:\n"
        "    ← 'a' ×2\n"
        "    → 'c'\n"
        '    ← \'{"type": "hb"}\''
    )
    with pytest.raises(TimeoutError, match=r"for a frame\nno frame passed$"):
        await open_socket().socket.next_frame(timeout=5)


@in_virtual_time
async def test_default_timeout_is_that_of_the_proxy() -> None:
    proxy = Proxy()
    proxy.set_default_timeout(250)
    with pytest.raises(TimeoutError, match=r"^Timeout 250ms exceeded"):
        await open_socket(proxy).socket.next_frame()


@in_virtual_time
async def test_frames_before_the_end_come_and_then_an_error() -> None:
    feed = open_socket()
    ws = feed.socket
    receive(feed, "a", "b")
    feed.closed(1011, "restart", "server")
    assert await payloads(ws, 2) == ["a", "b"]
    with pytest.raises(
        Error, match=r"^Socket closed: 1011 'restart' while waiting for a frame\nno frame passed$"
    ):
        await ws.next_frame()


@in_virtual_time
async def test_wait_ends_with_the_socket() -> None:
    feed = begin_socket(Proxy())
    loop = asyncio.get_running_loop()
    loop.call_later(1, feed.failed, "net::ERR_CONNECTION_REFUSED")
    loop.call_later(1, feed.closed)
    with pytest.raises(
        Error, match=r"^Socket error: net::ERR_CONNECTION_REFUSED while waiting for a frame that contains 'a'"
    ):
        await feed.socket.next_frame("a")
    assert left_behind(feed.socket) == []


@in_virtual_time
async def test_forgotten_frames_are_an_error_once() -> None:
    feed = open_socket(limit=HistoryLimit(2, 100))
    ws = feed.socket
    receive(feed, *"abcde")
    with pytest.raises(
        Error, match=r"^3 frames are no longer remembered, and the cursor has not passed them"
    ):
        await ws.next_frame()
    assert await payloads(ws, 2) == ["d", "e"]
    receive(feed, *"fgh")
    with pytest.raises(Error, match=r"^1 frame is no longer remembered"):
        await ws.next_frame("h")
    assert (await ws.next_frame("h")).payload == "h"


@in_virtual_time
async def test_frames_that_a_failed_call_has_looked_at_are_not_passed() -> None:
    feed = open_socket(limit=HistoryLimit(2, 100))
    receive(feed, "a", "b")
    with pytest.raises(TimeoutError):
        await feed.socket.next_frame("x", timeout=10)
    receive(feed, "c")
    with pytest.raises(Error, match=r"^1 frame is no longer remembered"):
        await feed.socket.next_frame()
    assert await payloads(feed.socket, 2) == ["b", "c"]


@in_virtual_time
async def test_frames_that_come_after_the_time_is_up_do_not_prolong_the_wait() -> None:
    feed = open_socket()

    async def slowly(_: Frame) -> bool:
        await asyncio.sleep(0.2)
        receive(feed, "more")
        return False

    receive(feed, "a")
    began = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError, match=r"^Timeout 1000ms exceeded"):
        await feed.socket.next_frame(slowly, timeout=1000)
    assert asyncio.get_running_loop().time() - began <= 1.2


@in_virtual_time
async def test_error_has_all_frames_that_passed_however_little_the_socket_remembers() -> None:
    feed = open_socket(limit=HistoryLimit(messages=2))
    soon(feed, *[f"{number} {'x' * 1000}" for number in range(3_000)])
    with pytest.raises(TimeoutError, match=r"\npassed, the last 10 of 3,000:\n    ← '2990 x"):
        await feed.socket.next_frame("filled", timeout=2000)


@in_virtual_time
async def test_frame_after_many_that_cannot_match_is_found() -> None:
    feed = open_socket(limit=HistoryLimit(messages=2))
    soon(feed, *["x" * 1000] * 10_000, "z", "filled", "z")
    assert (await feed.socket.next_frame("filled")).number == 10_002
    assert (await feed.socket.next_frame()).number == 10_003


@in_virtual_time
async def test_async_function_has_no_more_time_on_a_closed_socket() -> None:
    feed = open_socket()
    receive(feed, "a")
    feed.closed(1000, "")

    async def forever(_: Frame) -> bool:
        await asyncio.Event().wait()
        return True

    with pytest.raises(Error, match=r"^Socket closed: 1000 while waiting"):
        await feed.socket.next_frame(forever, timeout=500)


@in_virtual_time
async def test_error_calls_functions_with_any_value() -> None:
    feed = open_socket()
    receive(feed, '{"type": "cancel", "price": null, "token": 7}')
    with pytest.raises(TimeoutError, match=r"type: expected 'filled', is 'cancel'"):
        await feed.socket.next_frame(
            json={"type": "filled", "price": lambda price: price > 1, "token": lambda token: token > 9},
            timeout=5,
        )


@in_virtual_time
async def test_message_that_is_too_large_to_be_remembered_is_an_error() -> None:
    feed = open_socket(limit=HistoryLimit(100, 4))
    receive(feed, "too large")
    with pytest.raises(Error, match=r"^1 frame is no longer remembered"):
        await feed.socket.next_frame(timeout=1000)


@pytest.mark.parametrize("limit", [HistoryLimit(0, 0), HistoryLimit(1, 100)])
@in_virtual_time
async def test_wait_loses_nothing_however_little_the_socket_remembers(limit: HistoryLimit) -> None:
    feed = open_socket(limit=limit)
    soon(feed, *map(str, range(500)))
    assert (await feed.socket.next_frame("499")).number == 500


@in_virtual_time
async def test_wait_loses_nothing_of_many_frames_that_come_at_once() -> None:
    feed = open_socket()
    receive(feed, "before")
    waiting = asyncio.ensure_future(feed.socket.next_frame(lambda frame: frame.payload == "9999"))
    await asyncio.sleep(0)
    feed.frames("framereceived", list(map(str, range(10_000))), 7.0)
    feed.frames("framesent", ["after"])
    found = await waiting
    assert (found.number, found.at) == (10_001, 7.0)
    assert (await feed.socket.next_frame()).payload == "after"


@in_virtual_time
async def test_cursor_has_one_search_at_a_time() -> None:
    feed = open_socket()
    ws = feed.socket
    first = asyncio.ensure_future(ws.next_frame())
    await asyncio.sleep(0)
    with pytest.raises(Error, match="another next_frame of this cursor is waiting"):
        await ws.next_frame()
    receive(feed, "a", "b")
    assert (await first).payload == "a"
    assert (await ws.next_frame()).payload == "b"


@in_virtual_time
async def test_search_that_is_cancelled_leaves_nothing() -> None:
    feed = open_socket()
    searching = asyncio.ensure_future(feed.socket.next_frame())
    await asyncio.sleep(0)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
    assert left_behind(feed.socket) == []
    receive(feed, "a")
    assert (await feed.socket.next_frame()).payload == "a"


@in_virtual_time
async def test_end_of_the_proxy_ends_the_search() -> None:
    proxy = Proxy()
    searching = asyncio.ensure_future(open_socket(proxy).socket.next_frame())
    await asyncio.sleep(0)
    await proxy._scope.end("Proxy closed")
    with pytest.raises(EndedError, match=r"^Proxy closed while waiting for a frame"):
        await searching


@in_virtual_time
async def test_other_waits_go_on_behind_the_frame() -> None:
    proxy = Proxy()
    waiting = asyncio.ensure_future(proxy.wait_for_event("websocket"))
    await asyncio.sleep(0)
    feed = open_socket(proxy)
    receive(feed, "a", "b", "c")
    ws = await waiting
    assert (await ws.next_frame("b")).payload == "b"
    assert await ws.wait_for_event("framereceived") == "c"


def test_unknown_start_is_refused() -> None:
    start: Any = "end"
    with pytest.raises(ValueError, match="start must be 'opening' or 'now', not 'end'"):
        Cursor(open_socket().socket, start)
