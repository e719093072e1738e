"""The mitmproxy layer of the wire: reads from both ends, in PASS and in HOLD, and answers events."""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from itertools import chain
from logging import WARNING
from time import monotonic

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket

from wirewright.mitm.layers.events import Aborted, CloseInjected, Continued, DecisionInjected, OrderInjected
from wirewright.mitm.layers.hold_mode import HoldMode
from wirewright.mitm.layers.leg import Injected, Leg
from wirewright.mitm.layers.open_socket import OpenSocket
from wirewright.mitm.layers.pass_mode import PassMode
from wirewright.mitm.layers.reading_limits import ReadingLimits
from wirewright.mitm.layers.turns import NextTurn, TurnBegan
from wirewright.values import Conditions, Direction, Payload
from wirewright.wire.observer import Observer
from wirewright.wire.reader_events import ControlFrame
from wirewright.wire.stream import Mode, Ours


class Rest(Enum):
    """The result of `WireLayer.handle_directly`: whether events are left, and where they are handled."""

    NOTHING = "nothing"
    NEXT_TURN = "next turn"
    """The layer is to go on in the next turn of the event loop."""
    LAYERS = "layers"
    """The rest has to go through mitmproxy's layers: at the next event, which may be `Continued`."""


class WireLayer(websocket.WebsocketLayer):
    """Carries one socket. Frames that need no decision are forwarded unchanged, even invalid ones.

    A close frame is copied. If one connection is lost, the other is ended, too, unless a route handles that.
    """

    def __init__(
        self,
        context: Context,
        flow: http.HTTPFlow,
        observer: Observer,
        opened: Callable[["WireLayer"], None] = lambda _: None,
    ) -> None:
        """`opened` is called once messages may come."""
        super().__init__(context, flow)
        self._observer, self._opened = observer, opened
        self._socket: OpenSocket
        self._passing: PassMode
        self._holding: HoldMode
        self._limits: ReadingLimits
        self._begun: list[Iterator[commands.Command]] = []
        """The handling of events that is not finished, or not begun, in their order."""
        self._is_direct = False

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and isinstance(event.command, NextTurn):
            event = TurnBegan(event.command)
        return super().handle_event(event)

    def begin(self, _: events.Event) -> layer.CommandGenerator[None]:
        socket = self._socket = OpenSocket(self.context, self.flow, self._observer)
        self._passing, self._limits = PassMode(socket), ReadingLimits(socket)
        self._holding = HoldMode(socket, self._limits)
        if (unknown := socket.agreement.unknown) is not None:
            yield commands.Log(f"WebSocket extension {unknown!r} is passed on, but not understood.")
        yield websocket.WebsocketStartHook(self.flow)
        self._handle_event = self.relay  # type: ignore[method-assign, assignment]
        yield from socket.obey(self._observer.opened())
        yield from socket.flush()
        self._opened(self)

    _handle_event = begin  # mitmproxy's way to change states is to put another method here

    @property
    def is_finished(self) -> bool:
        """True if the socket is over."""
        return self._socket.closing.is_finished

    def add(self, event: events.Event) -> None:
        """Add an event that does not come through mitmproxy's layers. `handle_directly` handles it."""
        self._begun.append(self._handled(event))

    def handle_directly(self, send: Callable[[commands.SendData], object]) -> Rest:
        """Handle the events that were added, as far as they only send data.

        So are events that come meanwhile: mitmproxy's tasks are eager, and an answer of a route is an event.
        """
        if self._paused:
            return Rest.LAYERS
        self._is_direct = True
        try:
            while self._begun:
                begun = self._begun[0]
                for command in begun:
                    if isinstance(command, commands.SendData):
                        send(command)
                    elif isinstance(command, NextTurn):
                        return Rest.NEXT_TURN
                    else:
                        self._begun[0] = chain([command], begun)
                        return Rest.LAYERS
                self._begun.pop(0)
        finally:
            self._is_direct = False
        return Rest.NOTHING

    def relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Handle an event of an open socket."""
        if self._is_direct:
            self._begun.append(self._handled(event))
            return
        while self._begun:
            yield from self._begun.pop(0)
        yield from self._handled(event)

    def _handled(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Continued):
            return
        socket = self._socket
        socket.turn.event_came()
        socket.has_written = False
        if socket.closing.is_finished:
            yield from self._drain(event)
            return
        for command in self._relay(event):
            if socket.outgoing:
                yield from socket.flush()
            yield command
        if socket.outgoing:
            yield from socket.flush()
        if socket.has_waited:
            self._limits.update_pauses()

    def _relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        socket = self._socket
        if isinstance(event, events.DataReceived):
            yield from self._data(socket.leg_from(event.connection), event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._connection_closed(socket.leg_from(event.connection))
        elif isinstance(event, websocket.WebSocketMessageInjected):
            message = event.message
            text = message.content.decode(errors="replace") if message.is_text else message.content
            direction = Direction.SENT if message.from_client else Direction.RECEIVED
            yield from self._inject(socket.legs[direction], text)
        elif isinstance(event, DecisionInjected):
            yield from self._holding.decided(socket.legs[event.message.direction], event.message.payload)
        elif isinstance(event, OrderInjected):
            yield from socket.obey([event.message])
            yield from socket.carry_out(())
        elif isinstance(event, CloseInjected):
            yield from socket.carry_out(socket.closing.close_requested(event.message))
        elif isinstance(event, Aborted):
            yield from socket.cut(event.message)
        elif isinstance(event, events.Wakeup):
            if socket.network is not None and socket.network.is_timer(event.command):
                yield from self._holding.advance(socket.network)
            else:
                yield from socket.wake(event.command)
        if socket.has_waited:
            for leg in socket.legs.values():
                if leg.unread:
                    yield from self._data(leg, b"")

    def _data(self, leg: Leg, data: bytes) -> layer.CommandGenerator[None]:
        socket, reader = self._socket, leg.stream.reader
        data, leg.unread = leg.unread + data, b""
        while data and not socket.closing.is_finished:
            if socket.turn.is_over:
                yield from socket.let_others_run()
            if socket.has_waited and self._limits.is_full(leg):
                leg.unread = data
                return
            yield from self._read(leg, data)
            socket.turn.work += reader.work
            data = reader.rest

    def _read(self, leg: Leg, data: bytes) -> layer.CommandGenerator[None]:
        """Read data of a source until the work of this turn is done. `reader.rest` has the unread data."""
        socket, stream, direction = self._socket, leg.stream, leg.direction
        if leg.bad_frame is not None:
            socket.send(leg, leg.bad_frame.take(data))
            return
        demand = self._observer.demand(direction=direction)
        if demand is not leg.demand or Mode.HOLD in (stream.mode, stream.wished):
            socket.adopt(leg)
        was_readable = stream.reader.failure is None
        began = monotonic()
        received = stream.receive(data, socket.turn.work_of_read)
        if received.mode is Mode.HOLD:
            yield from self._holding.take_in(leg, received.events)
        elif not received.forward and socket.closing.is_cut(direction):
            yield from socket.after_our_close(leg, received.events)
        else:
            if received.forward and socket.closing.has_destination(direction):
                yield commands.SendData(leg.destination, received.forward)
            close = self._passing.passed(leg, received.events) if received.events else None
            socket.turn.measure(stream.reader.work, monotonic() - began)
            if received.ours or close is not None:
                yield from self._ours_or_close_passed(leg, received.ours, close)
        failure = stream.reader.failure
        if failure is not None and was_readable:
            if stream.mode is Mode.HOLD and stream.reader.violation is not None:
                yield from self._holding.take_in(leg, [stream.reader.violation])
            else:
                yield from socket.carry_out(socket.closing.broken(direction, failure))

    def _ours_or_close_passed(
        self, leg: Leg, ours: Sequence[Ours], close: ControlFrame | None
    ) -> layer.CommandGenerator[None]:
        """Handle what followed the messages that have passed: what is ours, and the source's close frame."""
        if ours and leg.stream.mode is Mode.HOLD:
            yield from self._holding.hold(leg, map(Injected, ours))
        elif ours:
            self._passing.ours_passed(leg, ours)
        if close is not None:
            is_forwarded = not leg.stream.ended and self._socket.closing.has_destination(leg.direction)
            yield from self._socket.close_arrived(leg, close, is_forwarded=is_forwarded)

    def _inject(self, leg: Leg, payload: Payload) -> layer.CommandGenerator[None]:
        """Send a message of the proxy's user in a direction, as if its source had sent it."""
        socket, direction = self._socket, leg.direction
        closing, stream = socket.closing, leg.stream
        if not closing.has_destination(direction):
            return
        if closing.has_closed(direction) or closing.nothing_may_follow(direction) or closing.is_closing:
            yield commands.Log("A WebSocket message is not sent: its socket is closing.", WARNING)
            return
        socket.adopt(leg)
        if stream.reader.failure is not None:
            yield commands.Log(
                "A WebSocket message is not sent: its socket's frames cannot be parsed.", WARNING
            )
        elif stream.mode is Mode.HOLD:
            yield from self._holding.hold(leg, [Injected(payload)])
        elif frame := stream.send(payload):
            socket.send(leg, frame)
            self._observer.passed([payload], direction=direction, injected=True)

    def _connection_closed(self, leg: Leg) -> layer.CommandGenerator[None]:
        """Handle the loss of a source: the destination is lost, too, after all earlier messages were sent."""
        socket = self._socket
        socket.closing.hung_up(leg.direction)
        if leg.direction is Direction.SENT and socket.network is not None and socket.network.lose_app():
            yield from self._holding.advance(socket.network)
        else:
            yield from socket.loss_arrived(leg)

    def _drain(self, event: events.Event) -> layer.CommandGenerator[None]:
        """The socket is over, and frames may still be under way to the app."""
        socket, network = self._socket, self._socket.network
        if network is None:
            return
        app_has_left = isinstance(event, events.ConnectionClosed) and event.connection is self.context.client
        if app_has_left or isinstance(event, Aborted):
            yield from socket.end_app()
            return
        if isinstance(event, events.Wakeup) and network.is_timer(event.command):
            yield from network.advance()
        elif isinstance(event, OrderInjected) and isinstance(event.message.ours, Conditions):
            yield from network.set_conditions(event.message.ours, direction=event.message.direction)
        yield from socket.end_app_when_all_has_arrived(network)
