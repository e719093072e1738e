"""A flood on one socket takes a bounded part of each turn of the event loop, counted in frames."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from support.event_log import Recordings, eventually
from support.raw_peers import RawEnd, RawSocket, raw_socket
from wirewright import Proxy, WebSocket, WebSocketRoute
from wirewright.mitm.layers.turns import TURN_WORK
from wirewright.mitm.patches import back_pressure
from wirewright.mitm.wire_socket import WireSocket
from wirewright.wire.frames import Opcode

pytestmark = [
    pytest.mark.wire("mitmproxy's own layer handles all that it has read at once"),
    pytest.mark.layers,
]

COUNT = 50_000
"""Frames of a flood."""
MOST = 5 * TURN_WORK
"""Frames of one turn, and to spare: two that nobody reads are as much work as one that is read, and the
callback that counts runs a turn later."""


class Turns:
    """Counts what sockets report between two turns of the loop."""

    def __init__(self) -> None:
        self.total = self.most = self._now = 0
        self._handle: asyncio.Handle | None = None

    def add(self, count: int) -> None:
        self.total += count
        self._now += count
        self.most = max(self.most, self._now)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._now, self._handle = 0, None


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    counted = Turns()

    def count(name: str, size: Callable[[Any], int]) -> None:
        report = getattr(WireSocket, name)

        def counting(self: WireSocket, what: Any, **rest: Any) -> Any:
            counted.add(size(what))
            return report(self, what, **rest)

        monkeypatch.setattr(WireSocket, name, counting)

    count("passed", len)
    count("passed_unread", len)
    count("controls", len)
    count("offer", lambda _: 1)
    return counted


def frames(opcode: int, payload: bytes = b"", **bits: bool) -> Callable[[RawEnd], bytes]:
    return lambda end: end.encode(opcode, payload, **bits) * COUNT


def in_turn(end: RawEnd) -> bytes:
    return (end.encode(Opcode.BINARY) + end.encode(Opcode.PING)) * (COUNT // 2)


FLOODS = {"pings": frames(Opcode.PING), "messages": frames(Opcode.BINARY), "in turn": in_turn}


@pytest.fixture(params=["unheard", "heard", "held"])
async def socket(proxy: Proxy, request: pytest.FixtureRequest) -> AsyncIterator[RawSocket]:
    if request.param == "heard":
        proxy.on("websocket", listen)
    elif request.param == "held":
        proxy.route_web_socket("**", pass_on)
    async with raw_socket(proxy.port) as opened:
        yield opened


def listen(ws: WebSocket) -> None:
    for event in ("framesent", "framereceived"):
        ws.on(event, lambda payload: None)


def pass_on(route: WebSocketRoute) -> None:
    server = route.connect_to_server()
    route.on_message(server.send)
    server.on_message(route.send)


@pytest.mark.once("it counts what our own layer does")
@pytest.mark.parametrize("by_app", [True, False], ids=["by the app", "by the server"])
@pytest.mark.parametrize("flood", FLOODS)
async def test_flood_has_a_bounded_part_of_a_turn(
    socket: RawSocket, turns: Turns, flood: str, by_app: bool
) -> None:
    source, destination = socket.legs()[not by_app]
    data = FLOODS[flood](source)
    writing = asyncio.ensure_future(source.write(data))
    await destination.read(len(data))
    await writing
    assert turns.total == COUNT
    assert turns.most <= MOST < COUNT


async def test_other_socket_goes_on_during_a_flood(proxy: Proxy, turns: Turns) -> None:
    async with raw_socket(proxy.port) as flooded, raw_socket(proxy.port) as other:
        flood = FLOODS["pings"](flooded.server) * 4
        writing = asyncio.ensure_future(flooded.server.write(flood))
        reading = asyncio.ensure_future(flooded.app.read(len(flood)))
        await eventually(lambda: turns.total > 0)
        for source, destination in other.legs():
            await source.send("still there")
            assert await destination.message() == "still there"
        assert turns.total < 4 * COUNT
        await writing
        assert await reading == flood
    assert turns.most <= MOST


@pytest.mark.parametrize("by_app", [True, False], ids=["the app leaves", "the server leaves"])
async def test_end_is_reported_of_a_socket_that_is_lost_during_a_flood(
    proxy: Proxy, recordings: Recordings, turns: Turns, by_app: bool
) -> None:
    async with raw_socket(proxy.port) as socket:
        for source, _ in socket.legs():
            source.writer.write(FLOODS["pings"](source) * 4)
        await eventually(lambda: turns.total > 0)
        leaving, _ = socket.legs()[not by_app]
        leaving.writer.transport.abort()
        await recordings.only.closed.wait()
    assert recordings.only.ws.is_closed()
    await eventually(lambda: not back_pressure._pauses)
