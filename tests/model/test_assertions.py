import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from support.model_sockets import begin_socket, in_virtual_time, left_behind, open_socket, receive
from wirewright.model.assertions import expect
from wirewright.model.feed import Feed
from wirewright.model.frame import Frame
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy
from wirewright.values import Payload

HEARTBEAT = '{"type": "hb"}'
FILLED = '{"type": "filled", "id": 7, "price": 1.5}'


def send(feed: Feed, *payloads: Payload) -> None:
    for payload in payloads:
        feed.frames("framesent", [payload])


def in_a_second(act: Callable[..., object], *arguments: object) -> None:
    asyncio.get_running_loop().call_later(1, act, *arguments)


async def failure(assertion: Any) -> list[str]:
    """The lines of the message, without the last one, which tells of the socket."""
    with pytest.raises(AssertionError) as caught:
        await assertion
    return str(caught.value).splitlines()[:-1]


@in_virtual_time
async def test_frame_that_came_before_counts() -> None:
    feed = open_socket()
    receive(feed, HEARTBEAT, FILLED)
    send(feed, "buy")
    await expect(feed.socket).to_have_received(json={"type": "filled"})
    await expect(feed.socket).to_have_received("filled")
    await expect(feed.socket).to_have_received(json={"type": "filled"}, count=1)
    await expect(feed.socket).to_have_sent("buy")
    await expect(feed.socket).to_have_received("sell", count=0)
    assert left_behind(feed.socket) == []


@in_virtual_time
async def test_frame_is_awaited() -> None:
    feed = open_socket()
    in_a_second(receive, feed, FILLED)
    await expect(feed.socket).to_have_received(json={"type": "filled"})
    in_a_second(send, feed, "a", "a")
    await expect(feed.socket).to_have_sent("a", count=2)


@in_virtual_time
async def test_async_function_may_decide() -> None:
    feed = open_socket()

    async def is_filled(frame: Frame) -> bool:
        await asyncio.sleep(0.1)
        return frame.payload == FILLED

    receive(feed, HEARTBEAT, FILLED)
    await expect(feed.socket).to_have_received(is_filled, count=1)


@in_virtual_time
async def test_frames_of_the_other_direction_do_not_count() -> None:
    feed = open_socket()
    send(feed, "a")
    assert await failure(expect(feed.socket).to_have_received("a", timeout=100)) == [
        "expected a received frame that contains 'a', but none came within 100ms",
        "passed:",
        "    → 'a'",
    ]


@in_virtual_time
async def test_failure_shows_the_nearest_frames_and_what_passed() -> None:
    feed = open_socket()
    receive(feed, *[HEARTBEAT] * 11, FILLED)
    send(feed, "\x1b[2J")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(AssertionError) as caught:
        await expect(feed.socket).to_have_received(json={"type": "filled", "id": 7, "price": 2})
    assert loop.time() - began == 5
    assert str(caught.value).splitlines() == [
        "expected a received frame with json={'type': 'filled', 'id': 7, 'price': 2}, "
        "but none came within 5000ms",
        f"nearest: ← '{FILLED}'",
        "    price: expected 2, is 1.5",
        f"nearest: ← '{HEARTBEAT}'",
        "    type: expected 'filled', is 'hb'",
        "    id: expected 7, is missing",
        "    price: expected 2, is missing",
        "passed:",
        f"    ← '{HEARTBEAT}' ×11",
        f"    ← '{FILLED}'",
        r"    → '\x1b[2J'",
        "socket: ws://example.test/live, open, 13 frames",
    ]


@in_virtual_time
async def test_failure_hides_secrets() -> None:
    feed = open_socket(url="ws://example.test/live?token=secret-1")
    receive(feed, '{"type": "hello", "token": "secret-2", "auth": {"password": {"old": "secret-3"}}}')
    with pytest.raises(AssertionError) as caught:
        await expect(feed.socket).to_have_received(
            json={"type": "bye", "token": "x", "auth": {"password": {"old": "y"}}}, timeout=5
        )
    assert "secret" not in str(caught.value)
    assert str(caught.value).splitlines()[2:5] == [
        "    type: expected 'bye', is 'hello'",
        "    token: expected 'x', is 'REDACTED'",
        "    auth.password.old: expected 'y', is 'REDACTED'",
    ]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 times, but it came 2 times"),
        (1, "once, but it came 2 times"),
        (3, "3 times, but it came 2 times within 100ms"),
    ],
)
@in_virtual_time
async def test_number_of_frames_is_exact(count: int, said: str) -> None:
    feed = open_socket()
    receive(feed, "a1", "b", "a2")
    assert await failure(expect(feed.socket).to_have_received("a", count=count, timeout=100)) == [
        f"expected a received frame that contains 'a' {said}",
        "    ← 'a1'",
        "    ← 'a2'",
    ]


@in_virtual_time
async def test_end_of_the_socket_ends_the_wait() -> None:
    feed = open_socket()
    in_a_second(receive, feed, "a")
    in_a_second(feed.closed, 1011, "restart", "server")
    with pytest.raises(AssertionError) as caught:
        await expect(feed.socket).to_have_received("b")
    assert str(caught.value).splitlines() == [
        "expected a received frame that contains 'b', but none came (Socket closed: 1011 'restart')",
        "passed:",
        "    ← 'a'",
        "socket: ws://example.test/live, closed 1011 'restart' by server, 1 frame",
    ]
    await expect(feed.socket).to_have_received("a", count=1)


@in_virtual_time
async def test_frame_that_is_not_expected_fails_the_assertion() -> None:
    feed = open_socket()
    ws = feed.socket
    send(feed, "buy")
    await expect(ws).not_to_have_sent(json={"type": "cancel"})
    await expect(ws).not_to_have_received("buy", within=1000)
    in_a_second(send, feed, '{"type": "cancel", "id": 1}')
    await expect(ws).not_to_have_sent(json={"type": "cancel"}, within=500)
    assert await failure(expect(ws).not_to_have_sent(json={"type": "cancel"}, within=1000)) == [
        "expected no sent frame with json={'type': 'cancel'}, but it came once",
        '    → \'{"type": "cancel", "id": 1}\'',
    ]


@in_virtual_time
async def test_nothing_comes_after_the_end() -> None:
    feed = open_socket()
    in_a_second(feed.closed, 1000, "")
    began = asyncio.get_running_loop().time()
    await expect(feed.socket).not_to_have_received(within=60_000)
    assert asyncio.get_running_loop().time() - began == 1


@in_virtual_time
async def test_nothing_is_known_after_the_end_of_the_proxy() -> None:
    proxy = Proxy()
    feed = open_socket(proxy)
    asyncio.get_running_loop().call_later(
        1, proxy._scope.start, proxy._scope.end("Proxy closed"), None, proxy
    )
    assert await failure(expect(feed.socket).not_to_have_received("a", within=60_000)) == [
        "expected no received frame that contains 'a', but the proxy ended before the time was up",
        "no frame passed",
    ]


@in_virtual_time
async def test_subprotocol_that_is_a_token_is_hidden() -> None:
    feed = begin_socket(Proxy())
    feed.answered(101, {"sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.c2VjcmV0LXRva2Vu"})
    feed.opened()
    assert await failure(expect(feed.socket).to_have_subprotocol("chat")) == [
        "expected the subprotocol 'chat', but it is 'REDACTED'"
    ]


@in_virtual_time
async def test_assertion_fails_if_it_would_need_forgotten_frames() -> None:
    feed = open_socket(limit=HistoryLimit(2, 100))
    ws = feed.socket
    receive(feed, *"abcde")
    await expect(ws).to_have_received("d")
    forgotten = "3 frames are no longer remembered (ws_history)"
    assert await failure(expect(ws).to_have_received("a", timeout=5)) == [
        f"expected a received frame that contains 'a', but none came within 5ms, and {forgotten}",
        "passed:",
        "    ← 'd'",
        "    ← 'e'",
    ]
    assert await failure(expect(ws).to_have_received("d", count=1)) == [
        f"expected a received frame that contains 'd' once, but it came once, and {forgotten}",
        "    ← 'd'",
    ]
    assert await failure(expect(ws).not_to_have_received("x")) == [
        f"expected no received frame that contains 'x', but {forgotten}",
        "passed:",
        "    ← 'd'",
        "    ← 'e'",
    ]


@in_virtual_time
async def test_async_function_that_does_not_answer_fails_the_assertion() -> None:
    feed = open_socket()
    receive(feed, "a")

    async def forever(_: Frame) -> bool:
        await asyncio.Event().wait()
        return True

    with pytest.raises(AssertionError, match=r"is true, but none came within 100ms\npassed:\n    ← 'a'\n"):
        await expect(feed.socket).to_have_received(forever, timeout=100)
    with pytest.raises(AssertionError, match=r"is true, but the function of match did not answer"):
        await expect(feed.socket).not_to_have_received(forever, within=100)


@in_virtual_time
async def test_functions_are_not_called_with_hidden_values() -> None:
    feed = open_socket()
    receive(feed, '{"token": 7}')
    with pytest.raises(AssertionError, match="is 'REDACTED'"):
        await expect(feed.socket).to_have_received(json={"token": lambda token: token > 9}, timeout=5)


@in_virtual_time
async def test_socket_is_awaited_until_it_is_open() -> None:
    feed = begin_socket(Proxy())
    ws = feed.socket
    assert await failure(expect(ws).to_be_open(timeout=100)) == ["expected the socket to be open"]
    assert await failure(expect(ws).to_have_subprotocol(None, timeout=100)) == [
        "expected no subprotocol, but the socket did not open"
    ]
    in_a_second(feed.answered, 101, {"sec-websocket-protocol": "chat"})
    in_a_second(feed.opened)
    await expect(ws).to_be_open()
    await expect(ws).to_have_subprotocol("chat")
    assert await failure(expect(ws).to_have_subprotocol(None)) == [
        "expected no subprotocol, but it is 'chat'"
    ]
    feed.closed(1000, "")
    assert await failure(expect(ws).to_be_open()) == ["expected the socket to be open"]


@in_virtual_time
async def test_refused_handshake_is_told() -> None:
    feed = begin_socket(Proxy())

    def refuse() -> None:
        feed.answered(403, {})
        feed.failed("Error during WebSocket handshake: Unexpected response code: 403")
        feed.closed()

    in_a_second(refuse)
    with pytest.raises(AssertionError) as caught:
        await expect(feed.socket).to_be_open()
    assert str(caught.value).splitlines()[-1] == (
        "socket: ws://example.test/live, failed with status 403 "
        "(Error during WebSocket handshake: Unexpected response code: 403), 0 frames"
    )


@in_virtual_time
async def test_end_is_awaited_with_its_code_and_reason() -> None:
    feed = open_socket()
    ws = feed.socket
    assert await failure(expect(ws).to_be_closed(timeout=5)) == ["expected the socket to be closed"]
    in_a_second(feed.failed, "Invalid frame header")
    in_a_second(in_a_second, feed.closed, 1002, "bad", "client")
    await expect(ws).to_be_closed()
    await expect(ws).to_be_closed(code=1002)
    await expect(ws).to_be_closed(code=1002, reason="bad")
    assert await failure(expect(ws).to_be_closed(code=1000, reason="bye")) == [
        "expected the socket to be closed with 1000 'bye'"
    ]
    assert await failure(expect(ws).to_be_closed(reason="")) == ["expected the socket to be closed with ''"]


@pytest.mark.parametrize("count", [-1, 1.5, True, "1"])
@in_virtual_time
async def test_count_that_is_no_number_of_frames_is_refused(count: Any) -> None:
    with pytest.raises(ValueError, match="count must be a number of frames"):
        await expect(open_socket().socket).to_have_sent("a", count=count)


@pytest.mark.parametrize("actual", [None, Proxy, "ws"])
def test_only_sockets_and_proxies_are_expected(actual: Any) -> None:
    with pytest.raises(TypeError, match="expect takes a WebSocket or a Proxy of the async API, not "):
        expect(actual)
