import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

import pytest

from support.model_sockets import (
    RecordingCarrier,
    begin_socket,
    in_virtual_time,
    left_behind,
    open_socket,
    receive,
)
from wirewright.model.errors import Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.model.proxy import Proxy
from wirewright.model.route import WebSocketRoute
from wirewright.model.websocket import WebSocket
from wirewright.values import ClosedBy, Payload

FrameEvent = Literal["framesent", "framereceived"]

both_directions = pytest.mark.parametrize("event", ["framesent", "framereceived"])


def logged(feed: Feed) -> list[object]:
    """What the socket emits from now on."""
    log: list[object] = []
    for event in WebSocket._EVENTS:
        feed.socket.on(event, lambda value, event=event: log.append((event, value)))  # type: ignore[call-overload]
    return log


@both_directions
@pytest.mark.parametrize("payload", ["text", "", b"binary", b""])
def test_frame_is_given_as_its_payload(event: FrameEvent, payload: Payload) -> None:
    feed = open_socket()
    log = logged(feed)
    feed.frames(event, [payload])
    assert log == [(event, payload)]


def test_socket_before_its_answer() -> None:
    flow = object()
    feed = begin_socket(
        Proxy(), "wss://example.test/", headers={"origin": "a"}, client_address=("10.0.0.1", 5), flow=flow
    )
    ws = feed.socket
    assert (ws.url, ws.client_address, ws.flow) == ("wss://example.test/", ("10.0.0.1", 5), flow)
    assert ws.request_headers == {"origin": "a"}
    assert not ws.is_closed()
    unknown = (ws.status, ws.response_headers, ws.subprotocol, ws.opened_at, ws.closed_at)
    assert unknown == (None,) * 5
    assert (ws.close_code, ws.close_reason, ws.closed_by) == (None, None, None)


def test_handshake_as_it_went_on(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = begin_socket(Proxy(), headers={"origin": "a"})
    ws = feed.socket
    feed.requested({"origin": "b"})
    assert ws.request_headers == {"origin": "b"}
    feed.answered(101, {"sec-websocket-protocol": "chat"})
    assert (ws.status, ws.subprotocol) == (101, "chat")
    assert ws.response_headers == {"sec-websocket-protocol": "chat"}
    assert ws.opened_at is None
    monkeypatch.setattr(time, "time", lambda: 1000.5)
    feed.opened()
    monkeypatch.setattr(time, "time", lambda: 1002.5)
    feed.opened()
    assert ws.opened_at == 1000.5


@pytest.mark.parametrize("name", ["url", "request_headers", "status", "flow", "closed_by", "close_code"])
def test_facts_are_read_only(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(open_socket().socket, name, None)


@pytest.mark.parametrize(
    ("code", "reason", "by"),
    [(1000, "bye", "client"), (1005, "", "server"), (1006, "", None), (None, None, "proxy")],
)
def test_end_of_a_socket_is_kept(
    monkeypatch: pytest.MonkeyPatch, code: int | None, reason: str | None, by: ClosedBy | None
) -> None:
    feed = open_socket()
    monkeypatch.setattr(time, "time", lambda: 1003.5)
    feed.closed(code, reason, by)
    ws = feed.socket
    assert ws.is_closed()
    assert (ws.close_code, ws.close_reason, ws.closed_by, ws.closed_at) == (code, reason, by, 1003.5)


def test_close_is_emitted_once_with_a_closed_socket() -> None:
    feed = open_socket()
    seen: list[object] = []
    feed.socket.on("close", lambda ws: seen.append((ws, ws.is_closed(), ws.close_code)))
    feed.closed(1000, "", "client")
    feed.closed(1006, "", "server")
    assert seen == [(feed.socket, True, 1000)]
    assert (feed.socket.close_code, feed.socket.closed_by) == (1000, "client")


def test_socket_is_still_open_when_it_fails() -> None:
    feed = open_socket()
    seen: list[object] = []
    feed.socket.on("socketerror", lambda text: seen.append((text, feed.socket.is_closed())))
    feed.failed("Unrecognized frame opcode: 3")
    feed.closed(1002)
    assert seen == [("Unrecognized frame opcode: 3", False)]


def test_nothing_is_emitted_after_the_end() -> None:
    feed = open_socket()
    feed.closed(1000)
    log = logged(feed)
    feed.frames("framesent", ["late"])
    receive(feed, "late")
    feed.failed("late")
    feed.closed(1000)
    assert log == []


def test_late_news_of_the_handshake_change_no_closed_socket() -> None:
    feed = begin_socket(Proxy(), headers={"origin": "a"})
    feed.closed()
    feed.requested({"origin": "late"})
    feed.answered(101, {"late": "1"})
    feed.opened()
    ws = feed.socket
    facts = (ws.request_headers, ws.status, ws.response_headers, ws.opened_at)
    assert facts == ({"origin": "a"}, None, None, None)


def test_failure_is_emitted_once() -> None:
    feed = open_socket()
    log = logged(feed)
    feed.failed("first")
    feed.failed("second")
    assert log == [("socketerror", "first")]


@pytest.mark.parametrize(
    ("event", "end", "message"),
    [
        ("framereceived", "close", "Socket closed: 1006"),
        ("framesent", "close", "Socket closed: 1006"),
        ("socketerror", "close", "Socket closed: 1006"),
        ("framereceived", "error", "Socket error: boom"),
        ("framesent", "error", "Socket error: boom"),
        ("close", "error", "Socket error: boom"),
    ],
)
@in_virtual_time
async def test_wait_fails_when_the_socket_ends_first(event: Any, end: str, message: str) -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event(event)
    expectation = feed.socket.expect_event(event)
    if end == "error":
        feed.failed("boom")
    feed.closed(1006)
    with pytest.raises(Error) as caught:
        await wait
    assert (caught.value.message, isinstance(caught.value, TimeoutError)) == (message, False)
    with pytest.raises(Error, match=f"^{message}$"):
        async with expectation:
            pass
    assert not left_behind(feed.socket)


@pytest.mark.parametrize("predicate", [None, lambda ws: ws.close_code == 1000])
@in_virtual_time
async def test_wait_for_close_is_given_the_socket(predicate: Callable[[WebSocket], bool] | None) -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event("close", predicate)
    feed.closed(1000)
    assert await wait is feed.socket


@in_virtual_time
async def test_wait_for_an_error_is_given_its_text() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event("socketerror")
    feed.failed("boom")
    feed.closed(1006)
    assert await wait == "boom"


@pytest.mark.parametrize("event", sorted(WebSocket._EVENTS - {"close"}))
@in_virtual_time
async def test_wait_on_a_closed_socket_fails_at_once(event: Any) -> None:
    feed = open_socket()
    receive(feed, "a")
    feed.closed(1000)
    with pytest.raises(Error, match=r"^Socket closed: 1000$"):
        await feed.socket.wait_for_event(event, timeout=0)
    with pytest.raises(Error, match=r"^Socket closed: 1000$"):
        async with feed.socket.expect_event(event, timeout=0) as info:
            assert info.is_done()
    assert asyncio.get_running_loop().time() == 0
    assert not left_behind(feed.socket)


@in_virtual_time
async def test_wait_for_the_close_of_a_closed_socket_returns_at_once() -> None:
    feed = open_socket()
    feed.closed(1000)
    assert await feed.socket.wait_for_event("close") is feed.socket
    async with feed.socket.expect_event("close", lambda ws: ws.close_code == 1000) as info:
        assert info.is_done()
    with pytest.raises(Error, match=r"^Socket closed: 1000\nthe predicate .* tried on 1 event$"):
        await feed.socket.wait_for_event("close", lambda ws: ws.close_code == 1001)
    assert asyncio.get_running_loop().time() == 0


async def is_b_later(payload: str | bytes) -> bool:
    await asyncio.sleep(1)
    return payload == "b"


@in_virtual_time
async def test_value_before_the_close_counts_though_its_predicate_is_slow() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event("framereceived", is_b_later)
    receive(feed, "a", "b")
    feed.closed(1000)
    assert await wait == "b"


@in_virtual_time
async def test_close_fails_a_wait_when_the_last_slow_predicate_says_no() -> None:
    feed = open_socket()
    wait = feed.socket.wait_for_event("framereceived", is_b_later)
    receive(feed, "a", "c")
    feed.failed("boom")
    feed.closed(1000)
    with pytest.raises(Error, match=r"^Socket error: boom\nthe predicate .* tried on 2 frames\n"):
        await wait
    assert not left_behind(feed.socket)


@both_directions
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("predicate", [lambda payload: payload == "b", is_b_later])
@in_virtual_time
async def test_history_also_offers_what_has_passed(
    event: FrameEvent, closed: bool, predicate: Callable[[str | bytes], Any]
) -> None:
    feed = open_socket()
    feed.frames("framesent" if event == "framereceived" else "framereceived", ["b"])
    for payload in "abc":
        feed.frames(event, [payload])
    if closed:
        feed.closed(1000)
    assert await feed.socket.wait_for_event(event, predicate, history=True) == "b"
    async with feed.socket.expect_event(event, history=True) as info:
        pass
    assert await info.value == "a"
    assert not left_behind(feed.socket)


@in_virtual_time
async def test_without_history_only_the_future_counts() -> None:
    feed = open_socket()
    receive(feed, "a")
    wait = feed.socket.wait_for_event("framereceived")
    receive(feed, "b")
    assert await wait == "b"


@in_virtual_time
async def test_history_goes_on_with_the_future() -> None:
    feed = open_socket()
    receive(feed, "a")
    wait = feed.socket.wait_for_event("framereceived", lambda payload: payload == "b", history=True)
    receive(feed, "b")
    assert await wait == "b"


@pytest.mark.parametrize("closed", [False, True])
@in_virtual_time
async def test_history_of_close_is_the_closed_socket(closed: bool) -> None:
    feed = open_socket()
    if closed:
        feed.closed(1000)
    wait = feed.socket.wait_for_event("close", history=True)
    feed.closed(1000)
    assert await wait is feed.socket


@pytest.mark.parametrize("predicate", [lambda payload: payload == "x", is_b_later])
@in_virtual_time
async def test_closed_socket_whose_history_will_not_do_fails_the_wait(
    predicate: Callable[[str | bytes], Any],
) -> None:
    feed = open_socket(limit=HistoryLimit(1, 100))
    receive(feed, "b", "c")
    feed.closed(1000)
    with pytest.raises(Error, match=r"^Socket closed: 1000\nthe predicate .* tried on 1 frame\n"):
        await feed.socket.wait_for_event("framereceived", predicate, history=True)


@pytest.mark.parametrize("closed", [False, True])
@in_virtual_time
async def test_time_limits_the_predicate_on_history(closed: bool) -> None:
    feed = open_socket()
    receive(feed, "a")
    if closed:
        feed.closed(1000)
    wait = feed.socket.wait_for_event("framereceived", lambda _: asyncio.Event().wait(), 200, history=True)
    with pytest.raises(TimeoutError, match=r"^Timeout 200ms exceeded"):
        await wait


Act = Callable[[WebSocket], object]

ACTS: dict[str, tuple[Act, tuple[object, ...]]] = {
    "text to the app": (lambda ws: ws.send_to_client("a"), ("send", "a", "client")),
    "bytes to the app": (lambda ws: ws.send_to_client(b"a"), ("send", b"a", "client")),
    "text to the server": (lambda ws: ws.send_to_server("a"), ("send", "a", "server")),
    "a bytearray to the app": (lambda ws: ws.send_to_client(bytearray(b"a")), ("send", b"a", "client")),
    "a memoryview to the server": (lambda ws: ws.send_to_server(memoryview(b"a")), ("send", b"a", "server")),
    "empty bytes to the server": (lambda ws: ws.send_to_server(b""), ("send", b"", "server")),
    "close": (lambda ws: ws.close(), ("close", 1000, "")),
    "close with a reason": (lambda ws: ws.close(4999, "é" * 61 + "!"), ("close", 4999, "é" * 61 + "!")),
    "close with a code of the protocol": (lambda ws: ws.close(1011, "x"), ("close", 1011, "x")),
    "close towards the app": (lambda ws: ws.close(1012, to="client"), ("close", 1012, "", "client")),
    "close towards the server": (lambda ws: ws.close(1001, to="server"), ("close", 1001, "", "server")),
    "abort": (lambda ws: ws.abort(), ("abort",)),
    "abort by a reset": (lambda ws: ws.abort("rst"), ("abort", "rst")),
    "close with the first own code": (lambda ws: ws.close(3000), ("close", 3000, "")),
}

every_act = pytest.mark.parametrize(("act", "asked"), ACTS.values(), ids=ACTS.keys())


@every_act
def test_open_socket_can_be_acted_on(act: Act, asked: tuple[object, ...]) -> None:
    feed = open_socket()
    log = logged(feed)
    act(feed.socket)
    assert isinstance(feed.carrier, RecordingCarrier)
    assert feed.carrier.asked == [asked]
    assert log == []  # what goes out is reported by the wire, not by the wish
    assert not feed.socket.is_closed()


@every_act
async def test_act_may_be_a_task(act: Act, asked: tuple[object, ...]) -> None:
    feed = open_socket()
    acting: Any = act(feed.socket)
    await asyncio.create_task(acting)  # noqa: TID251  what a user does
    assert isinstance(feed.carrier, RecordingCarrier)
    assert feed.carrier.asked == [asked]


@every_act
@pytest.mark.parametrize("closed", [False, True])
def test_socket_that_is_not_open_cannot_be_acted_on(
    act: Act, asked: tuple[object, ...], closed: bool
) -> None:
    feed = open_socket() if closed else begin_socket(Proxy())
    message = "Socket is not open yet: its handshake has not been answered"
    if closed:
        feed.closed(1000)
        message = "Socket closed: 1000"
    with pytest.raises(Error, match=f"^{message}$"):
        act(feed.socket)
    assert isinstance(feed.carrier, RecordingCarrier)
    assert feed.carrier.asked == []


@every_act
def test_socket_that_is_closing_closes_once_and_sends_nothing_more(
    act: Act, asked: tuple[object, ...]
) -> None:
    feed = open_socket()
    feed.socket.close(3001, "bye")
    if asked[0] == "send":
        with pytest.raises(Error, match=r"^Socket is closing$"):
            act(feed.socket)
    else:
        act(feed.socket)
    assert isinstance(feed.carrier, RecordingCarrier)
    assert feed.carrier.asked == [("close", 3001, "bye"), *([asked] if asked[0] == "abort" else [])]
    assert not feed.socket.is_closed()


@pytest.mark.parametrize("send", [WebSocket.send_to_client, WebSocket.send_to_server])
@pytest.mark.parametrize("message", [5, None, ["a"], 1.5])
def test_message_must_be_text_or_bytes(send: Callable[[WebSocket, Any], None], message: object) -> None:
    expected = rf"^message must be str \(text\) or bytes \(binary\), not {type(message).__name__}$"
    with pytest.raises(TypeError, match=expected):
        send(open_socket().socket, message)


@pytest.mark.parametrize("code", [0, -1, 999, 1004, 1005, 1006, 1015, 2999, 5000])
def test_close_code_must_be_one_that_may_stand_in_a_frame(code: int) -> None:
    with pytest.raises(ValueError, match=rf"^code must be 1000 to .* or 3000 to 4999, not {code}$"):
        open_socket().socket.close(code)


def test_end_and_way_must_exist() -> None:
    ws = open_socket().socket
    with pytest.raises(ValueError, match=r"^to must be 'both', 'client' or 'server', not 'app'$"):
        ws.close(to="app")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^how must be 'fin' or 'rst', not 'hard'$"):
        ws.abort("hard")  # type: ignore[arg-type]


def test_each_end_is_closed_once_and_may_get_a_code_of_its_own() -> None:
    feed = open_socket()
    ws = feed.socket
    ws.close(1011, to="client")
    ws.close(1012, to="client")
    with pytest.raises(Error, match=r"^Socket is closing$"):
        ws.send_to_client("a")
    ws.send_to_server("last words")
    ws.close(1001, to="server")
    ws.close(3000)
    assert isinstance(feed.carrier, RecordingCarrier)
    assert feed.carrier.asked == [
        ("close", 1011, "", "client"),
        ("send", "last words", "server"),
        ("close", 1001, "", "server"),
    ]


def test_close_of_both_ends_closes_the_other_one_too() -> None:
    feed = open_socket()
    feed.socket.close(1011, to="client")
    feed.socket.close(1000)
    assert isinstance(feed.carrier, RecordingCarrier)
    assert feed.carrier.asked == [("close", 1011, "", "client"), ("close", 1000, "")]


def test_close_that_is_not_possible_is_no_close(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise Error("not in this lane")

    feed = open_socket()
    monkeypatch.setattr(feed.carrier, "close", refuse)
    with pytest.raises(Error, match="not in this lane"):
        feed.socket.close(to="client")
    feed.socket.send_to_client("a")


@pytest.mark.parametrize(("reason", "size"), [("a" * 124, 124), ("é" * 62, 124)])
def test_close_reason_must_fit_a_control_frame(reason: str, size: int) -> None:
    with pytest.raises(ValueError, match=rf"^reason must be at most 123 bytes of UTF-8, not {size}$"):
        open_socket().socket.close(1000, reason)


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [("1000", "", "^code must be "), (3000.5, "", "^code must be "), (1000, b"bye", "^reason must be ")],
)
def test_close_of_the_wrong_type_is_told_so(code: Any, reason: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        open_socket().socket.close(code, reason)


def test_socket_says_which_one_it_is() -> None:
    assert repr(open_socket(url="ws://a.test/").socket) == "<WebSocket url='ws://a.test/' open, 0 frames>"


def test_repr_which_logs_have_does_not_show_the_query() -> None:
    socket = open_socket(url="ws://a.test/live?token=secret").socket
    route = WebSocketRoute(socket, None)  # type: ignore[arg-type]
    assert repr(socket) == "<WebSocket url='ws://a.test/live?…' open, 0 frames>"
    assert repr(route) == "<WebSocketRoute url='ws://a.test/live?…'>"


# The opening and the end


@in_virtual_time
async def test_opening_is_awaited() -> None:
    feed = begin_socket(Proxy())
    loop = asyncio.get_running_loop()
    loop.call_later(1, feed.answered, 101, {})
    loop.call_later(1, feed.opened)
    await feed.socket.wait_for_open()
    feed.closed(1000, "")
    await feed.socket.wait_for_open()
    assert left_behind(feed.socket) == []


@in_virtual_time
async def test_wait_for_the_opening_fails_with_the_reason() -> None:
    feed = begin_socket(Proxy())
    loop = asyncio.get_running_loop()
    refused = "Error during WebSocket handshake: Unexpected response code: 403"
    loop.call_later(1, feed.answered, 403, {})
    loop.call_later(1, feed.failed, refused)
    loop.call_later(2, feed.closed)
    for _ in range(2):
        with pytest.raises(Error) as caught:
            await feed.socket.wait_for_open()
        assert caught.value.message == f"Socket error: {refused}"
    assert feed.socket.error == refused


@in_virtual_time
async def test_wait_for_the_opening_has_a_time_limit() -> None:
    with pytest.raises(TimeoutError, match=r"^Timeout 200ms exceeded while waiting for the socket to open$"):
        await begin_socket(Proxy()).socket.wait_for_open(timeout=200)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda feed: feed.closed(1000, ""), "Socket closed: 1000"),
        (lambda feed: feed.closed(1011, "restart", "server"), "Socket closed: 1011 'restart'"),
        (lambda feed: feed.closed(None, "answered by block_list"), "Socket closed: 'answered by block_list'"),
        (lambda feed: feed.closed(), "Socket closed"),
        (lambda feed: feed.failed("net::ERR_FAILED"), "Socket error: net::ERR_FAILED"),
        (lambda feed: (feed.failed("boom"), feed.closed(1006, "")), "Socket error: boom"),
        (lambda feed: feed.closed(1008, "token=abc"), "Socket closed: 1008 'token=REDACTED'"),
        (lambda feed: feed.closed(1008, "\x1b[2J"), r"Socket closed: 1008 '\\x1b[2J'"),
    ],
)
@pytest.mark.parametrize("when", ["before", "during", "after"])
@in_virtual_time
async def test_error_says_how_the_socket_ended_whatever_the_timing(
    end: Callable[[Feed], object], message: str, when: str
) -> None:
    feed = open_socket()
    if when == "after":
        end(feed)
        feed.closed(1006, "")
    wait = feed.socket.wait_for_event("framereceived")
    if when == "before":
        end(feed)
    else:
        asyncio.get_running_loop().call_soon(end, feed)
    with pytest.raises(Error) as caught:
        await wait
    assert caught.value.message == message


def test_repr_has_state_code_and_number_of_frames() -> None:
    feed = begin_socket(Proxy())
    ws = feed.socket
    assert repr(ws) == "<WebSocket url='ws://example.test/live' opening, 0 frames>"
    feed.opened()
    receive(feed, "a")
    assert repr(ws) == "<WebSocket url='ws://example.test/live' open, 1 frame>"
    receive(feed, *"bcd")
    feed.closed(1011, "restart", "server")
    assert repr(ws) == "<WebSocket url='ws://example.test/live' closed 1011 'restart' by server, 4 frames>"
