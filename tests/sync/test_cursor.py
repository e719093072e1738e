"""`next_frame` and `expect` in a thread, with a socket that the test feeds."""

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from support.model_sockets import begin_socket
from support.threaded_peers import let_waits_time_out
from support.time_limits import STEP_SECONDS
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy as OwnProxy
from wirewright.sync.bridge import Bridge
from wirewright.sync.wrappers import WrapperRegistry
from wirewright.sync_api import (
    _KINDS,
    EndedError,
    Error,
    Frame,
    Proxy,
    TimeoutError,  # noqa: A004  Playwright's name
    WebSocket,
    expect,
)
from wirewright.values import Payload


class Fed:
    """A socket of the sync API, and ways to feed it."""

    def __init__(self, bridge: Bridge, limit: HistoryLimit | None = None) -> None:
        self.bridge = bridge
        self.wrappers = WrapperRegistry(bridge, _KINDS)
        own = OwnProxy()
        self.feed: Feed = bridge.call(begin_socket, own, limit=limit)
        bridge.call(self.feed.opened)
        self.proxy = Proxy(own, self.wrappers)
        self.ws: WebSocket = self.wrappers.of(self.feed.socket)

    def receive(self, *payloads: Payload) -> None:
        for payload in payloads:
            self.bridge.call(self.feed.frames, "framereceived", [payload])

    def payloads(self, count: int, **options: Any) -> list[Payload]:
        return [self.ws.next_frame(**options).payload for _ in range(count)]

    def when_searching(self, act: Callable[[], object]) -> threading.Thread:
        """Act in another thread, once a search waits for a frame."""

        def run() -> None:
            waiting = threading.Event()

            def look() -> None:
                if self.feed.socket._taps:
                    waiting.set()
                else:
                    self.bridge.loop.call_later(0.001, look)

            self.bridge.post(look)
            assert waiting.wait(STEP_SECONDS)
            act()

        thread = threading.Thread(target=run)
        thread.start()
        return thread


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    made = Bridge()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def fed(bridge: Bridge) -> Fed:
    return Fed(bridge)


def test_frames_come_once_each_from_the_opening_on(fed: Fed) -> None:
    fed.receive("a", "b")
    assert fed.payloads(2) == ["a", "b"]
    sending = fed.when_searching(lambda: fed.receive("c", "d"))
    assert fed.payloads(2) == ["c", "d"]
    sending.join()
    assert fed.bridge.call(lambda: fed.feed.socket._taps) == ()


def test_functions_are_called_in_the_thread_that_waits(fed: Fed) -> None:
    threads: list[int] = []

    def is_b(frame: Frame) -> bool:
        threads.append(threading.get_ident())
        return frame.payload == "b"

    fed.receive("a")
    sending = fed.when_searching(lambda: fed.receive("b"))
    assert fed.ws.next_frame(is_b).number == 2
    sending.join()
    timing_out = fed.when_searching(lambda: let_waits_time_out(fed.proxy))
    with pytest.raises(TimeoutError):
        fed.ws.next_frame(json=lambda _: threads.append(threading.get_ident()))
    timing_out.join()
    assert set(threads) == {threading.get_ident()}


def test_async_function_may_decide(fed: Fed) -> None:
    async def is_b(frame: Frame) -> bool:
        return frame.payload == "b"

    fed.receive("a", "b", "c")
    assert fed.ws.next_frame(is_b).payload == "b"
    assert fed.ws.next_frame().payload == "c"


def test_sync_and_async_calls_share_one_place(fed: Fed) -> None:
    fed.receive("a", "b")
    assert fed.ws.next_frame().payload == "a"
    assert fed.bridge.wait(fed.feed.socket.next_frame()).payload == "b"


def test_place_stays_while_nobody_has_the_wrapper(fed: Fed) -> None:
    fed.receive("a", "b")
    assert fed.ws.next_frame().payload == "a"
    del fed.ws
    ws: WebSocket = fed.wrappers.of(fed.feed.socket)
    assert ws.next_frame().payload == "b"


def test_cursors_are_independent(fed: Fed) -> None:
    fed.receive("a", "b")
    late, early = fed.ws.cursor("now"), fed.ws.cursor()
    assert fed.payloads(2) == ["a", "b"]
    fed.receive("c")
    assert [early.next_frame().payload for _ in range(3)] == ["a", "b", "c"]
    assert late.next_frame().payload == "c"


def test_search_that_fails_leaves_the_cursor_where_it_was(fed: Fed) -> None:
    fed.receive("a", "b")
    timing_out = fed.when_searching(lambda: let_waits_time_out(fed.proxy))
    with pytest.raises(TimeoutError, match=r"that contains 'x'\npassed:\n    ← 'a'\n    ← 'b'$"):
        fed.ws.next_frame("x")
    timing_out.join()
    with pytest.raises(ZeroDivisionError):
        fed.ws.next_frame(lambda frame: 1 / 0)
    assert fed.payloads(2) == ["a", "b"]


def test_frames_that_come_after_the_time_is_up_do_not_prolong_the_search(fed: Fed) -> None:
    def feed_another(frame: Frame) -> bool:
        if frame.number == 3:
            let_waits_time_out(fed.proxy)
        if frame.number < 100:
            fed.receive("another")
        return False

    fed.receive("first")
    with pytest.raises(TimeoutError, match=r"^Timeout 30000ms exceeded"):
        fed.ws.next_frame(feed_another)
    assert fed.ws.frames.last == fed.ws.frames[3]


def test_end_of_the_socket_ends_the_search(fed: Fed) -> None:
    closing = fed.when_searching(lambda: fed.bridge.call(fed.feed.closed, 1000, ""))
    with pytest.raises(Error, match=r"^Socket closed: 1000 while waiting for a frame\nno frame passed$"):
        fed.ws.next_frame()
    closing.join()


def test_forgotten_frames_are_an_error_once(bridge: Bridge) -> None:
    fed = Fed(bridge, HistoryLimit(2, 100))
    fed.receive(*"abcde")
    with pytest.raises(Error, match=r"^3 frames are no longer remembered"):
        fed.ws.next_frame()
    assert fed.payloads(2) == ["d", "e"]


def test_end_of_a_test_ends_its_searches(fed: Fed) -> None:
    ending = fed.when_searching(fed.wrappers.end)
    with pytest.raises(EndedError, match=r"^this test is over while waiting for a frame"):
        fed.ws.next_frame()
    ending.join()
    with pytest.raises(EndedError, match=r"^this test is over$"):
        fed.ws.next_frame()


def test_cursor_has_one_search_at_a_time(fed: Fed) -> None:
    errors: SimpleQueue[str] = SimpleQueue()

    def search_too() -> None:
        with pytest.raises(Error) as caught:
            fed.ws.next_frame()
        errors.put(caught.value.message)
        fed.receive("a")

    second = fed.when_searching(search_too)
    assert fed.ws.next_frame().payload == "a"
    second.join()
    assert errors.get().startswith("another next_frame of this cursor is waiting")


def test_frames_are_there_after_the_end_of_the_proxy(bridge: Bridge) -> None:
    fed = Fed(bridge)
    fed.receive("a")
    bridge.stop()
    assert [frame.payload for frame in fed.ws.frames] == ["a"]
    with pytest.raises(EndedError):
        fed.ws.next_frame()


def test_expected_frames_are_awaited(fed: Fed) -> None:
    fed.receive('{"type": "hb"}', '{"type": "filled"}')
    sending = fed.when_searching(lambda: fed.receive('{"type": "filled"}'))
    expect(fed.ws).to_have_received(json={"type": "filled"}, count=2)
    sending.join()
    expect(fed.ws).not_to_have_sent()
    expect(fed.ws).to_be_open()


def test_expectation_that_does_not_hold_fails(fed: Fed) -> None:
    timing_out = fed.when_searching(lambda: let_waits_time_out(fed.proxy))
    with pytest.raises(AssertionError, match=r"^expected a sent frame that contains 'a', but none came"):
        expect(fed.ws).to_have_sent("a")
    timing_out.join()
    fed.receive("a")
    with pytest.raises(AssertionError, match=r"^expected no received frame, but it came once\n    ← 'a'\n"):
        expect(fed.ws).not_to_have_received()
    fed.bridge.call(fed.feed.answered, 101, {})
    with pytest.raises(AssertionError, match=r"^expected the subprotocol 'chat', but it is None"):
        expect(fed.ws).to_have_subprotocol("chat")


def test_end_of_the_socket_is_awaited(fed: Fed) -> None:
    closing = fed.when_searching(lambda: fed.bridge.call(fed.feed.closed, 1011, "restart"))
    expect(fed.ws).to_be_closed(code=1011, reason="restart")
    closing.join()
    with pytest.raises(AssertionError, match="expected the socket to be open"):
        expect(fed.ws).to_be_open()


def test_functions_of_an_expectation_are_called_in_the_thread_that_waits(fed: Fed) -> None:
    threads: list[int] = []

    def is_called(_: object) -> bool:
        threads.append(threading.get_ident())
        return True

    fed.receive('{"price": 2}')
    expect(fed.ws).to_have_received(is_called, json={"price": is_called})
    assert threads == [threading.get_ident()] * 2


def test_only_sockets_of_the_sync_api_are_expected(fed: Fed) -> None:
    of_async: Any = fed.feed.socket
    with pytest.raises(TypeError, match=r"^this WebSocket is of the async API: import expect from "):
        expect(of_async)
    text: Any = "ws"
    with pytest.raises(TypeError, match=r"^expect takes a WebSocket or a Proxy of the sync API, not str$"):
        expect(text)
