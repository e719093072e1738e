"""The wire's layer with nothing around it: an app's and a server's connection, and somebody who observes."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mitmproxy import connection
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, context, events
from mitmproxy.proxy.commands import CloseConnection, RequestWakeup, SendData
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from mitmproxy.proxy.layers.websocket import (
    WebsocketEndHook,
    WebSocketMessageInjected,
    WebsocketStartHook,
)
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketData, WebSocketMessage

from support.frames import Peer
from support.layer_conversation import Talk, done
from wirewright.mitm.layers.events import CloseInjected, DecisionInjected
from wirewright.mitm.layers.turns import NextTurn
from wirewright.mitm.layers.wire_layer import WireLayer
from wirewright.values import Direction, Payload
from wirewright.wire.closing_actions import CLOSING_SECONDS
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode
from wirewright.wire.observer import UNDECIDED, Decision, Demand, LateDecision, Order
from wirewright.wire.reader_events import ControlFrame, LazyBatch
from wirewright.wire.stream import Close

Offer = tuple[Payload, Direction, bool]
"""A message, its direction, and whether it is ours."""


def undecided(_: Payload) -> Decision:
    """Nobody knows yet what becomes of it."""
    return UNDECIDED


def turns(talk: Talk) -> Iterator[list[commands.Command]]:
    """What the layer says in each turn, from now until it waits for nothing more."""
    while True:
        talk, said = talk.take()
        yield said
        if not (said and isinstance(said[-1], NextTurn)):
            return
        talk = talk >> events.Wakeup(said[-1])


def written(said: Iterable[commands.Command]) -> bytes:
    """The bytes that it writes, to whatever end."""
    return b"".join(each.data for each in said if isinstance(each, SendData))


@dataclass
class FakeObserver:
    """Notes what it is told."""

    max_message: int = 100_000
    max_held: int = 100_000
    wants: int = 100_000
    hears: bool = True
    holding: bool = False
    passing: Direction | None = None
    """A direction that passes though the other one is held."""
    told: list[tuple[object, ...]] = field(default_factory=list)
    offered: list[Offer] = field(default_factory=list)
    decide: Callable[[Payload], Decision] = lambda payload: payload
    """What becomes of a message that is held."""
    orders: list[Order] = field(default_factory=list)
    reported: list[tuple[int, bytes, Direction, bool]] = field(default_factory=list)
    """Control frames: opcode, payload, direction, and whether it is ours."""
    keeps: bool = False
    routed: bool = False

    def opened(self) -> list[Order]:
        return self._take_orders()

    def _take_orders(self) -> list[Order]:
        orders, self.orders = self.orders, []
        return orders

    def handles_close(self, *, direction: Direction) -> bool:
        return self.keeps

    def closed(self, code: int, reason: str, *, direction: Direction) -> list[Order]:
        self.told.append(("closed", code, reason))
        return self._take_orders()

    def demand(self, *, direction: Direction) -> Demand:
        holds = self.holding and direction is not self.passing
        return Demand(holds, self.wants, self.hears, self.routed)

    def offer(
        self, payload: Payload, *, direction: Direction, injected: bool
    ) -> tuple[Decision, list[Order]]:
        self.offered.append((payload, direction, injected))
        return self.decide(payload), self._take_orders()

    def passed(self, payloads: Sequence[Payload], *, direction: Direction, injected: bool) -> None:
        source = "ours to" if injected else "from"
        end = "server" if (direction is Direction.SENT) is injected else "client"
        self.told += [(f"{source} {end}", payload) for payload in payloads]

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        self.passed([payload], direction=direction, injected=True)

    def passed_unread(self, messages: LazyBatch, *, direction: Direction) -> None:
        self.told.append(("unheard", *messages))

    def too_large(self, *, direction: Direction) -> None:
        self.told.append(("too large",))

    def controls(self, frames: Sequence[ControlFrame], *, direction: Direction, injected: bool) -> None:
        self.reported += [(each.opcode, each.payload, direction, injected) for each in frames]

    def failed(self, message: str) -> None:
        self.told.append(("failed", message))


class Wire:
    """A socket of which the layer carries the messages."""

    def __init__(self, options: object) -> None:
        self.flow = tflow.twebsocketflow()
        self.flow.websocket = WebSocketData()
        self.flow.live = True
        self.client, self.server = self.flow.client_conn, self.flow.server_conn
        self.client.state = self.server.state = connection.ConnectionState.OPEN
        self.observer = FakeObserver()
        self.app, self.backend = Peer(client=True), Peer()
        self._context = context.Context(self.client, options)  # type: ignore[arg-type]
        self._context.server = self.server

    def open(self, extensions: str = "", *, mocked: bool = False) -> Talk:
        """The layer, its socket open; a mocked one has no connection to a server."""
        assert self.flow.response is not None
        if extensions:
            self.flow.response.headers["Sec-WebSocket-Extensions"] = extensions
            compression = Compression(takeover="no_context_takeover" not in extensions)
            self.app, self.backend = Peer(client=True, compression=compression), Peer(compression=compression)
        below = HttpLayer(self._context, HTTPMode.regular)
        if not mocked:
            below.connections[self.server] = below
        self.layer = WireLayer(self._context, self.flow, self.observer)
        return Talk(self.layer) >> events.Start()

    def started(self, extensions: str = "", *, mocked: bool = False, holding: bool = False) -> Talk:
        self.observer.holding = holding
        return self.open(extensions, mocked=mocked) << WebsocketStartHook(self.flow) >> done

    # What the ends say

    def from_app(self, data: bytes) -> events.Event:
        return events.DataReceived(self.client, data)

    def from_server(self, data: bytes) -> events.Event:
        return events.DataReceived(self.server, data)

    def inject(self, payload: Payload, *, direction: Direction) -> events.Event:
        opcode = Opcode.TEXT if isinstance(payload, str) else Opcode.BINARY
        content = payload.encode() if isinstance(payload, str) else payload
        message = WebSocketMessage(opcode, direction is Direction.SENT, content)
        return WebSocketMessageInjected(self.flow, message)

    @property
    def time_is_up(self) -> events.Event:
        """The ends have had the time to answer."""
        limits, timers = self.layer._socket.closing._timers, self.layer._socket._timers
        limit = next(limits[each] for each in Direction if each in limits)
        return events.Wakeup(next((timer for timer, each in timers.items() if each is limit), self._spent))

    _spent = RequestWakeup(CLOSING_SECONDS)
    """A timer that has run out already."""

    def close(self, code: int = 3000, reason: str = "bye") -> events.Event:
        return CloseInjected(self.flow, Close(code, reason))

    # What the layer says

    def to_app(self, data: bytes) -> commands.Command:
        return SendData(self.client, data)

    def to_server(self, data: bytes) -> commands.Command:
        return SendData(self.server, data)

    @property
    def start(self) -> commands.Command:
        return WebsocketStartHook(self.flow)

    @property
    def timer(self) -> commands.Command:
        """That of a close frame of ours."""
        return RequestWakeup(CLOSING_SECONDS)

    @property
    def end(self) -> commands.Command:
        return WebsocketEndHook(self.flow)

    @property
    def drop_server(self) -> commands.Command:
        return CloseConnection(self.server)

    @property
    def drop_app(self) -> commands.Command:
        return CloseConnection(self.client)

    @property
    def ended(self) -> tuple[int | None, str | None, bool | None]:
        data = self.flow.websocket
        assert data is not None
        assert data.timestamp_end is not None
        assert self.flow.live is False
        return data.close_code, data.close_reason, data.closed_by_client

    def stored(self) -> list[WebSocketMessage]:
        assert self.flow.websocket is not None
        return self.flow.websocket.messages


@dataclass
class Leg:
    """One direction of a socket, so that a test can be about both."""

    wire: Wire
    direction: Direction

    @property
    def client(self) -> bool:
        """True if the client is its source."""
        return self.direction is Direction.SENT

    @property
    def source(self) -> Connection:
        return self.wire.client if self.client else self.wire.server

    @property
    def peer(self) -> Peer:
        return self.wire.app if self.client else self.wire.backend

    def says(self, data: bytes) -> events.Event:
        return events.DataReceived(self.source, data)

    def gets(self, data: bytes) -> commands.Command:
        """What the other end gets."""
        return self.wire.to_server(data) if self.client else self.wire.to_app(data)

    def inject(self, payload: Payload) -> events.Event:
        return self.wire.inject(payload, direction=self.direction)

    def decided(self, payload: Payload | None) -> events.Event:
        return DecisionInjected(self.wire.flow, LateDecision(self.direction, payload))

    def offers(self, *payloads: Payload, injected: bool = False) -> list[Offer]:
        return [(payload, self.direction, injected) for payload in payloads]

    def told(self, *payloads: Payload) -> list[tuple[object, ...]]:
        return [(f"from {'client' if self.client else 'server'}", payload) for payload in payloads]

    def told_ours(self, *payloads: Payload) -> list[tuple[object, ...]]:
        return [(f"ours to {'server' if self.client else 'client'}", payload) for payload in payloads]

    def close_frame(self, code: int = 1000, reason: str = "") -> bytes:
        return self.peer.frame(Opcode.CLOSE, struct.pack("!H", code) + reason.encode())

    @property
    def back(self) -> "Leg":
        return Leg(self.wire, self.direction.opposite)


class Clock:
    """The time that the network goes by, and the wakeups that come of it."""

    def __init__(self, wire: Wire) -> None:
        self.now = 1000.0
        self._wire = wire

    def after(self, milliseconds: float) -> events.Event:
        """The network is woken so much later."""
        self.now += milliseconds / 1000 + 1e-6
        network = self._wire.layer._socket.network
        assert network is not None
        return events.Wakeup(min(network._timers, key=lambda timer: network._timers[timer]))
