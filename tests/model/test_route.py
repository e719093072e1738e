"""The two sides of a routed socket, and what a handler may do with them."""

import asyncio
from array import array
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from support.model_sockets import RecordingCarrier
from wirewright.model.errors import Error
from wirewright.model.handshake import HandshakeRequest, Headers
from wirewright.model.history import HistoryLimit
from wirewright.model.route import Abort, Connect, Mock, Reject, WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.model.scope import Scope
from wirewright.model.websocket import WebSocket
from wirewright.values import Conditions, Direction, Payload

Change = Any


@dataclass
class Orders:
    """A carrier that notes its orders."""

    noted: list[tuple[object, ...]] = field(default_factory=list)
    changes: int = 0
    cannot: str | None = None

    def check_can(self, what: str) -> None:
        if self.cannot:
            raise Error(f"{what}: {self.cannot}")

    def order(self, message: Payload, *, direction: Direction) -> None:
        self.noted.append(("app" if direction is Direction.RECEIVED else "server", message))

    def order_close(self, code: int, reason: str, *, direction: Direction) -> None:
        self.noted.append(("app" if direction is Direction.RECEIVED else "server", code, reason))

    def abort(self, how: str) -> None:
        self.noted.append(("abort", *([] if how == "fin" else [how])))

    def handlers_changed(self) -> None:
        self.changes += 1


@pytest.fixture
def orders() -> Orders:
    return Orders()


@pytest.fixture
def socket() -> WebSocket:
    headers = {"sec-websocket-protocol": "chat.v2, chat.v1"}
    return WebSocket(
        HandshakeRequest("wss://host/live", headers), RecordingCarrier(), Scope(), HistoryLimit()
    )


@pytest.fixture
def route(socket: WebSocket, orders: Orders) -> WebSocketRoute:
    return WebSocketRoute(socket, orders)


@pytest.fixture(params=["app", "server"])
def side(route: WebSocketRoute, request: pytest.FixtureRequest) -> WebSocketRoute:
    return route if request.param == "app" else route._server


def name_of(side: WebSocketRoute) -> str:
    return "server" if side is side._server else "app"


def test_both_sides_tell_url_and_protocols(side: WebSocketRoute) -> None:
    assert (side.url, side.protocols) == ("wss://host/live", ["chat.v2", "chat.v1"])


def test_each_side_is_sent_what_is_meant_for_it(side: WebSocketRoute, orders: Orders) -> None:
    side.send("text")
    side.send(b"\x00")
    side.close(3000, "bye")
    name = name_of(side)
    assert orders.noted == [(name, "text"), (name, b"\x00"), (name, 3000, "bye")]


@pytest.mark.parametrize(
    "message", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a-b-")[::2], array("B", b"ab")]
)
def test_bytes_of_any_kind_are_sent_as_they_are_now(
    side: WebSocketRoute, orders: Orders, message: Any
) -> None:
    changing = bytearray(message)
    side.send(changing)
    changing.clear()
    side.send(message)
    assert orders.noted == [(name_of(side), b"ab")] * 2
    assert {type(each) for _, each in orders.noted} == {bytes}


@pytest.mark.parametrize("message", [5, None, ["a"], 1.5])
def test_message_must_be_text_or_bytes(side: WebSocketRoute, orders: Orders, message: Any) -> None:
    with pytest.raises(TypeError, match=r"^message must be str \(text\) or bytes \(binary\), not "):
        side.send(message)
    assert orders.noted == []


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [((), (1005, "")), ((1000,), (1000, "")), ((None, "x"), (1000, "x")), ((4999, None), (4999, ""))],
)
def test_close_without_a_code_or_a_reason(
    side: WebSocketRoute, orders: Orders, arguments: Any, asked: Any
) -> None:
    side.close(*arguments)
    assert orders.noted == [(name_of(side), *asked)]


async def test_close_may_be_awaited_or_be_a_task(side: WebSocketRoute, orders: Orders) -> None:
    await side.close()
    side.close(3000)
    assert len(orders.noted) == 2  # what is not awaited is done all the same
    await asyncio.create_task(side.close())  # noqa: TID251  what a user does
    await asyncio.gather(side.close(), asyncio.wait_for(side.close(), 10))
    assert len(orders.noted) == 5


def test_both_sides_are_routes(route: WebSocketRoute) -> None:
    server = route.connect_to_server()
    assert isinstance(server, WebSocketRoute)
    assert server is route._server is server._server
    assert [repr(each) for each in (route, server)] == ["<WebSocketRoute url='wss://host/live'>"] * 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_handlers_take_as_many_values_as_they_like(
    side: WebSocketRoute, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    called: list[object] = []

    async def note_all(*values: object) -> None:
        called.extend(values)

    async def note_none() -> None:
        called.append("none")

    side.on_message(note_none if is_async else lambda: called.append("none"))
    await (RouteControl(side).receive("a") or side.close())
    side.on_close(lambda code: called.append(code))
    await (RouteControl(side).closed(3000, "bye") or side.close())
    side.on_close(note_none if is_async else lambda: called.append("none"))
    await (RouteControl(side).closed(3001, "bye") or side.close())
    side.on_close(note_all)
    await (RouteControl(side).closed(3002, "bye") or side.close())
    assert called == ["none", 3000, "none", 3002, "bye"]
    assert not caplog.messages


def test_each_side_is_closed_with_every_code_of_a_close_frame(route: WebSocketRoute, orders: Orders) -> None:
    route.close(1011)
    route._server.close(1001)
    assert orders.noted == [("app", 1011, ""), ("server", 1001, "")]
    with pytest.raises(ValueError, match="or 3000 to 4999, not 1006"):
        route._server.close(1006)
    for each in (route, route._server):
        with pytest.raises(ValueError, match="123 bytes"):
            each.close(1000, "é" * 62)


def test_messages_and_ends_are_given_to_the_newest_handler(side: WebSocketRoute, orders: Orders) -> None:
    got: list[object] = []
    control = RouteControl(side)
    assert (control.handles_messages, control.handles_close) == (False, False)
    side.on_message(lambda message: got.append("old"))
    side.on_message(got.append)
    side.on_close(lambda code, reason: got.append((code, reason)))
    assert (control.handles_messages, control.handles_close, orders.changes) == (True, True, 3)
    assert control.receive("text") is None
    assert control.closed(1001, "away") is None
    assert got == ["text", (1001, "away")]


async def test_async_handler_is_to_be_awaited(side: WebSocketRoute) -> None:
    got: list[object] = []

    async def handler(message: Payload) -> None:
        await asyncio.sleep(0)
        got.append(message)

    side.on_message(handler)
    handling = RouteControl(side).receive("text")
    assert handling is not None
    assert got == []
    await handling
    assert got == ["text"]


@pytest.mark.ws_allow_errors
@pytest.mark.parametrize("late", [True, False])
async def test_handler_that_raises_is_logged_and_counted(
    side: WebSocketRoute, socket: WebSocket, late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def at_once(message: Payload) -> None:
        raise ValueError("a mistake")

    async def later(message: Payload) -> None:
        raise ValueError("a mistake")

    side.on_message(later if late else at_once)
    handling = RouteControl(side).receive("text")
    assert (handling is not None) is late
    if handling is not None:
        await handling
    assert socket.route_errors == 1
    assert "ValueError: a mistake" in caplog.text


@pytest.mark.parametrize("handler", [None, "handler", 7])
def test_handler_must_be_callable(side: WebSocketRoute, handler: Any) -> None:
    for register in (side.on_message, side.on_close):
        with pytest.raises(TypeError, match=r"^handler must be callable, not "):
            register(handler)


# The handshake


@pytest.mark.parametrize(
    ("decide", "answer"),
    [
        (lambda route: None, Mock("chat.v2")),
        (lambda route: route.accept("chat.v1"), Mock("chat.v1")),
        (lambda route: route.accept(None), Mock(None)),
        (lambda route: route.connect_to_server(), Connect()),
        (
            lambda route: route.connect_to_server({"A": "b", "C": None}),
            Connect((("C", None), ("A", "b"))),
        ),
        (lambda route: route.reject(403), Reject(403, Headers(), b"")),
        (
            lambda route: route.reject(302, {"Location": "/"}, "é"),
            Reject(302, Headers({"Location": "/"}), "é".encode()),
        ),
        (lambda route: route.reject(403, body=bytearray(b"no")), Reject(403, Headers(), b"no")),
        (lambda route: route.abort(), Abort()),
    ],
)
def test_handler_decides_on_the_handshake(route: WebSocketRoute, decide: Change, answer: object) -> None:
    decide(route)
    assert RouteControl(route).decide() == answer
    assert RouteControl(route).is_connected is isinstance(answer, Connect)


def test_only_a_protocol_that_was_asked_for_is_accepted(route: WebSocketRoute) -> None:
    with pytest.raises(ValueError, match=r"^protocol must be one of \['chat.v2', 'chat.v1'\], or None"):
        route.accept("chat.v3")
    route.accept("chat.v1")


def test_handshake_is_decided_once(route: WebSocketRoute) -> None:
    assert route.connect_to_server() is route._server
    for decide in (route.connect_to_server, lambda: route.reject(403)):
        with pytest.raises(Error, match=r"^Already connected to the server$"):
            decide()


def test_answered_handshake_is_not_decided_again(route: WebSocketRoute, orders: Orders) -> None:
    RouteControl(route).decide()
    for decide in (route.connect_to_server, lambda: route.reject(403)):
        with pytest.raises(Error, match="must be called before the route's handler returns"):
            decide()
    route.abort()
    assert orders.noted == [("abort",)]

    connected = WebSocketRoute(route._socket, orders)
    connected.connect_to_server()
    RouteControl(connected).decide()
    with pytest.raises(Error, match=r"^Already connected to the server$"):
        connected.connect_to_server()


def test_only_the_apps_side_decides(route: WebSocketRoute, orders: Orders) -> None:
    server = route._server
    with pytest.raises(Error, match=r"^connectToServer must be called on the page-side WebSocketRoute$"):
        server.connect_to_server()
    for decide in (
        lambda: server.redirect("ws://other"),
        lambda: server.accept(None),
        lambda: server.reject(403),
        server.conditions,
    ):
        with pytest.raises(Error, match=r"^\w+ must be called on the app's side of the route$"):
            decide()
    assert orders.noted == []


def test_either_side_cuts_both_connections(route: WebSocketRoute, orders: Orders) -> None:
    route._server.abort()
    assert RouteControl(route).side._answer == Abort()
    route.abort("rst")
    assert RouteControl(route).decide() == Abort("rst")
    route._server.abort()
    route._server.abort("rst")
    assert orders.noted == [("abort",), ("abort", "rst")]
    with pytest.raises(ValueError, match="how must be 'fin' or 'rst', not 'hard'"):
        route.abort("hard")  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [101, 199, 600, "403"])
def test_refusal_must_be_one(route: WebSocketRoute, status: Any) -> None:
    with pytest.raises(ValueError, match="status must be 200 to 599"):
        route.reject(status)


# Conditions


def test_conditions_are_those_of_the_socket(route: WebSocketRoute, socket: WebSocket) -> None:
    conditions = route.conditions(latency=20, jitter=timedelta(seconds=1), drop=0.5, seed=7)
    assert conditions == Conditions(latency=20, jitter=1000, drop=0.5, seed=7)
    assert isinstance(socket._carrier, RecordingCarrier)
    assert socket._carrier.asked == [(Direction.SENT, conditions), (Direction.RECEIVED, conditions)]


def test_preset_is_that_of_the_socket(route: WebSocketRoute) -> None:
    assert route.conditions("offline", seed=1) == Conditions(stall_after=0, seed=1)
