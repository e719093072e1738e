"""A socket as a mitmproxy layer: its two directions, what we say on them, and how they end."""

import time
from abc import abstractmethod
from collections import defaultdict
from dataclasses import dataclass
from logging import WARNING

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import HttpLayer

from wirewright.memory import MemoryUse, budget
from wirewright.mitm.layers.client_network import AppNetwork
from wirewright.mitm.layers.events import Aborted, Ordered
from wirewright.mitm.layers.leg import End, Held, Leg, Lost
from wirewright.mitm.patches import back_pressure
from wirewright.values import Conditions, Direction
from wirewright.wire.deflate import Agreement, parse_agreement
from wirewright.wire.frames import CloseCode, Opcode, ProtocolError
from wirewright.wire.observer import Observer
from wirewright.wire.reader import Control, MessageReader
from wirewright.wire.stream import Close, Encoder, Ours, Stream, content_of

CLOSING_SECONDS = 2.0
"""Seconds that the ends may take to answer a close frame of ours."""
TURN_WORK = 8192
"""Units of work for one socket in a turn of the event loop: about five milliseconds. A short message of one
frame that is read is one unit."""
HELD_WORK = 12
"""The work of a held message."""


class NextTurn(commands.RequestWakeup):
    """The layer waits for the next turn of the event loop."""

    blocking = True

    def __init__(self) -> None:
        super().__init__(0.0)


@dataclass(repr=False)
class TurnBegan(events.CommandCompleted):
    """The next turn has begun: the reply to NextTurn. A mitmproxy `Wakeup` is not a reply to a command."""

    command: NextTurn
    reply: None = None


class SocketLayer(websocket.WebsocketLayer):
    """The beginning and the end of a socket.

    A close frame is copied, and a lost connection is lost on the other side, too, unless a route handles it.
    """

    def __init__(self, context: Context, flow: http.HTTPFlow, observer: Observer) -> None:
        super().__init__(context, flow)
        self._observer = observer
        self._legs: dict[Direction, Leg] = {}
        self._mocked = False
        self._network: AppNetwork | None = None
        """The simulated network between the client and the proxy; None if no route set conditions."""
        self._may_be_full = False
        """True once a message had to wait. Until then nothing is weighed, as for most sockets."""
        self._closing: End | None = None
        self._our_close: Close | None = None
        """Our newest close frame. At the end it is sent to a side that has had none."""
        self._is_closing = False
        """True if the proxy closes both sides."""
        self._ended = False
        """True once the end was reported."""
        self._finished = False
        """True once both connections are closed, or about to be."""
        self._outgoing: defaultdict[Direction, list[bytes]] = defaultdict(list)
        """Frames that are written together, by direction."""
        self._work = 0
        """Units of work since the last NextTurn."""

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and isinstance(event.command, NextTurn):
            event = TurnBegan(event.command)
        return super().handle_event(event)

    def begin(self, _: events.Event) -> layer.CommandGenerator[None]:
        assert self.flow.response is not None
        agreement = parse_agreement(self.flow.response.headers.get("Sec-WebSocket-Extensions", ""))
        if agreement.unknown is not None:
            yield commands.Log(f"WebSocket extension {agreement.unknown!r} is passed on, but not understood.")
        self._mocked = not _has_upstream(self.context)
        self._legs = {each: self._leg(agreement, each) for each in Direction}
        yield websocket.WebsocketStartHook(self.flow)
        self._handle_event = self.relay  # type: ignore[method-assign, assignment]
        yield from self._obey()
        yield from self._flush()
        self._observer.opened()

    _handle_event = begin  # mitmproxy's way to change states is to put another method here

    @abstractmethod
    def relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Handle what happens to an open socket."""

    @abstractmethod
    def _arrived(self, received: list[Held]) -> layer.CommandGenerator[None]:
        """Handle items that have arrived from the client through its simulated network."""

    @abstractmethod
    def _adopt(self, leg: Leg) -> None:
        """Apply the current demand to a direction: the messages to read, and PASS or HOLD."""

    def done(self, _: events.Event) -> layer.CommandGenerator[None]:
        yield from ()

    def _leg(self, agreement: Agreement, direction: Direction) -> Leg:
        compression = agreement.sent if direction is Direction.SENT else agreement.received
        masked = direction is Direction.SENT
        reader = MessageReader(
            masked=masked,
            compression=compression,
            max_message=self._observer.max_message,
        )
        if agreement.unknown is not None:
            reader.failure = ProtocolError(f"unknown extension {agreement.unknown}")
        encoder = Encoder(masked=masked, compression=compression)
        stream = Stream(reader, encoder, shared_window=compression is not None and compression.takeover)
        if direction is Direction.SENT:
            destination: Connection | None = None if self._mocked else self.context.server
        else:
            destination = self.context.client
        return Leg(direction, destination, stream, violated=agreement.unknown is not None)

    def _leg_from(self, source: Connection) -> Leg:
        return self._legs[Direction.SENT if source is self.context.client else Direction.RECEIVED]

    # Sending

    def _send(self, leg: Leg, *frames: bytes) -> None:
        """Send whole frames to a direction's destination, with all others of this event in one write."""
        if leg.destination is not None:
            self._outgoing[leg.direction] += frames

    def _flush(self) -> layer.CommandGenerator[None]:
        """Write the frames that were sent since the last write."""
        outgoing, self._outgoing = self._outgoing, defaultdict(list)
        for direction, frames in outgoing.items():
            is_sent = direction is Direction.SENT
            if not (is_sent or self._network is None or self._network.received.is_perfect):
                yield from self._network.send(frames)
            elif data := b"".join(frames):
                yield commands.SendData(self.context.server if is_sent else self.context.client, data)

    def _let_others_run(self) -> layer.CommandGenerator[None]:
        """Wait for the next turn of the event loop. Until then events of this socket are queued, and neither
        end is read."""
        self._work = 0
        ends = self.context.client, self.context.server
        for end in ends:
            back_pressure.pause(end, back_pressure.PauseReason.TURN)
        try:
            yield NextTurn()
        finally:
            for end in ends:
                back_pressure.resume(end, back_pressure.PauseReason.TURN)

    def _say(self, leg: Leg, ours: Ours) -> layer.CommandGenerator[None]:
        """Send one side a message or a close frame, without other addons. Nothing after a close frame."""
        if leg.destination is None or leg.told:
            return
        back = self._legs[leg.direction.opposite]
        if isinstance(ours, Close) and not back.closed:
            leg.ordered_close = ours
            self._adopt(back)
            yield from self._begin_closing(ours, leg)
        elif not isinstance(ours, Close):
            self._adopt(leg)  # a route that holds this direction may speak first
        frame = leg.stream.send(ours)
        if isinstance(ours, Close):
            self._send_close(leg, ours, frame)
        elif frame:
            self._send(leg, frame)
            self._observer.ordered(ours, direction=leg.direction)

    def _send_close(self, leg: Leg, close: Close, frame: bytes | None) -> None:
        """Send a close frame of ours, if it goes now."""
        if frame and leg.destination is not None:
            self._report_close(leg, close.payload, injected=True)
            self._send(leg, frame)

    def _report_close(self, leg: Leg, payload: bytes, *, injected: bool) -> None:
        close = Control(Opcode.CLOSE, payload)
        self._observer.controls([close], direction=leg.direction, injected=injected)

    def _obey(self, offering: Leg | None = None) -> layer.CommandGenerator[None]:
        """Carry out the orders of a route. `offering` is the direction whose messages are offered to it."""
        while self._observer.orders:
            order = self._observer.orders.pop(0)
            target, ours = self._legs[order.direction], order.ours
            if isinstance(ours, Conditions):
                yield from self._put_under(ours, target)
            elif target is not offering or isinstance(ours, Close):
                yield from self._say(target, ours)
            elif target.destination is not None and not target.told:
                self._send(target, target.stream.encoder.message(*content_of(ours), compress=True))
                self._observer.ordered(ours, direction=target.direction)

    # The app's network

    def _put_under(self, conditions: Conditions, leg: Leg) -> layer.CommandGenerator[None]:
        """From now on a direction's messages go under these conditions between the app and us."""
        yield from self._flush()
        if self._network is None:
            self._network, self._may_be_full = AppNetwork(self.context.client), True
        if leg.stream.reader.failure is not None:
            yield commands.Log("A WebSocket that cannot be read cannot be put under conditions.", WARNING)
            return
        yield from self._network.change(conditions, direction=leg.direction)
        self._adopt(leg)

    def _advance(self, network: AppNetwork) -> layer.CommandGenerator[None]:
        """Handle and forward the messages that have arrived by now."""
        received = yield from network.advance()
        yield from self._arrived(received)

    def _has_conditions(self, leg: Leg) -> bool:
        """True if the messages of a direction go through a simulated network."""
        if self._network is None:
            return False
        return not self._network.link(leg.direction).is_perfect

    # Back-pressure

    def _update_pauses(self) -> None:
        """Pause reading from a source above `max_held` waiting bytes, and resume below a quarter of it."""
        for leg in self._legs.values():
            if leg.undecided or leg.held or leg.share is not None or self._network is not None:
                self._report_memory(leg)
                self._pause(leg, self._is_full(leg))

    def _report_memory(self, leg: Leg) -> None:
        if leg.share is None:
            leg.share = budget.share(MemoryUse.HELD)
        leg.share.follow(0 if self._finished else leg.undecided_size + self._waiting(leg))

    def _is_full(self, leg: Leg) -> bool:
        """True if reading from the source has to pause, because more than `max_held` bytes of it wait."""
        waiting = self._waiting(leg)
        if not (waiting or leg.undecided) or self._must_see_end(leg):
            return False
        most = self._observer.max_held
        return waiting > (most // 4 if leg.is_paused else most) or not budget.has_room(MemoryUse.HELD)

    def _pause(self, leg: Leg, is_paused: bool) -> None:
        if is_paused is not leg.is_paused:
            leg.is_paused = is_paused
            source = self.context.client if leg.direction is Direction.SENT else self.context.server
            (back_pressure.pause if is_paused else back_pressure.resume)(source)

    def _waiting(self, leg: Leg) -> int:
        """About how many bytes of memory a direction's messages take, here and in the app's network."""
        if leg.held:
            leg.held.weigh()
        if self._network is None:
            return leg.held.weight
        link = self._network.link(leg.direction)
        return leg.held.weight + link.weight

    def _must_see_end(self, leg: Leg) -> bool:
        """True if the source is about to close: it must be read, as a paused connection reports no end."""
        back = self._legs[leg.direction.opposite]
        has_lost_end = leg.destination is not None and (back.closed or back.lost)
        return self._finished or has_lost_end or back.told

    def _is_overfull(self, leg: Leg) -> bool:
        """True if more than `max_held` bytes wait, and the source is read only to notice its end."""
        return self._waiting(leg) > self._observer.max_held and self._must_see_end(leg)

    # The end

    def _begin_closing(self, close: Close, *legs: Leg) -> layer.CommandGenerator[None]:
        """Start the closing timer for a close frame of ours that is sent, or will be, in these directions."""
        self._our_close = close
        self._closing = self._closing or End(None, close.code, close.reason)
        yield from self._set_timer(*legs)

    def _set_timer(self, *legs: Leg) -> layer.CommandGenerator[None]:
        timer = commands.RequestWakeup(CLOSING_SECONDS)
        for leg in legs:
            leg.timer = timer
        yield timer

    def _keeps(self, leg: Leg) -> bool:
        """True if a route handles the end of a direction's source, so that the other side stays open."""
        return (
            self._observer.keeps_close(direction=leg.direction)
            and not self._legs[leg.direction.opposite].closed
        )

    def _source_closed(self, leg: Leg, end: End) -> layer.CommandGenerator[None]:
        """Handle a close frame of the source. It was forwarded to the other side, or is answered here."""
        kept = self._keeps(leg)
        leg.closed = True
        self._closing = self._closing or end
        if kept or leg.destination is None or leg.stream.ended:
            yield from self._say(self._legs[leg.direction.opposite], Close(end.code, end.reason or ""))
        else:
            leg.copied = True
        if kept and leg.direction is Direction.SENT:
            # It waits for the end of its connection, with which mitmproxy ends the server's, too.
            yield from self._set_timer(self._legs[Direction.RECEIVED])
        elif kept:
            self._legs[Direction.SENT].destination = None  # the app's side goes on without a server
        yield from self._tell_end(leg, end.code, end.reason or "")
        yield from self._end_if_over()

    def _tell_end(self, leg: Leg, code: int, reason: str) -> layer.CommandGenerator[None]:
        if self._observer.keeps_close(direction=leg.direction):
            self._observer.closed(code, reason, direction=leg.direction)
            yield from self._obey()

    def _end_if_over(self) -> layer.CommandGenerator[None]:
        """The socket is over once both sides have closed; we end the connections if we had a part in it."""
        to_server, to_client = self._legs[Direction.SENT], self._legs[Direction.RECEIVED]
        if self._ended or not (to_client.told and to_server.is_over):
            return
        if to_server.destination is not None and not (to_server.told and to_client.is_over):
            return
        # A violation that was sent on counts as its source's close: the ends then end their connections.
        if all(leg.copied or leg.failure is not None for leg in (to_server, to_client)):
            assert self._closing is not None
            yield from self._end(self._closing)
        else:
            yield from self._finish()

    def _time_is_up(self, timer: object) -> layer.CommandGenerator[None]:
        """Stop waiting for the answer to a close frame of ours, for a server that a route has kept after its
        client closed, or for a handler whose client is lost."""
        for leg in self._legs.values():
            if leg.timer is not timer:
                continue
            if leg.lost and Lost.LOST in leg.held:
                leg.held.clear()
                yield from self._source_lost(leg)
                return
            answered = leg.destination is None or self._legs[leg.direction.opposite].closed
            if (
                not answered
                or leg.failure is not None
                or (leg.stream.ended and leg.direction is Direction.RECEIVED)
            ):
                if leg.failure is not None:
                    self._closing = self._closing or End(None, leg.failure.code, leg.failure.message)
                    self._our_close = self._our_close or Close(leg.failure.code)
                yield from self._finish()
                return

    def _lost(self, leg: Leg) -> layer.CommandGenerator[None]:
        """Handle the loss of a source: the destination is lost, too, after all earlier messages were sent."""
        leg.lost = True
        if leg.direction is Direction.SENT and self._network is not None and self._network.lose_app():
            yield from self._advance(self._network)
            return
        waits = (leg.held or leg.undecided) and leg.destination is not None and not leg.stream.ended
        if waits and not self._legs[leg.direction.opposite].lost:
            self._closing = self._closing or leg.end_of_source
            leg.held.append(Lost.LOST)
            if leg.demand is not None and leg.demand.routed:
                yield from self._set_timer(leg)  # a handler may wait for just this end
        else:
            yield from self._source_lost(leg)

    def _source_lost(self, leg: Leg, end: End | None = None) -> layer.CommandGenerator[None]:
        """Handle the end of a direction's source.

        `end` is how the socket ended by that; None for the loss of the connection.
        """
        kept = (
            self._keeps(leg) and leg.direction is Direction.RECEIVED and not self._legs[Direction.SENT].lost
        )
        if not leg.closed:
            leg.closed = True
            yield from self._tell_end(leg, CloseCode.ABNORMAL, "")
        if kept and not self._ended:
            self._legs[Direction.SENT].destination = None  # the app's side goes on without a server
            yield commands.CloseConnection(self.context.server)
            yield from self._end_if_over()
            return
        self._closing = self._closing or end or End(leg.direction)
        yield from self._finish()

    def _abort(self, reason: str) -> layer.CommandGenerator[None]:
        self._our_close = self._network = None
        self._closing = self._closing or End(None, reason=reason)
        yield from self._finish()

    def _finish(self) -> layer.CommandGenerator[None]:
        """Close both TCP connections, after a close frame to each side that has had none."""
        self._finished = True
        self._handle_event = self.done  # type: ignore[method-assign]
        if self._our_close is not None:
            for leg in self._legs.values():
                if not leg.told and not self._legs[leg.direction.opposite].lost:
                    self._send_close(leg, self._our_close, leg.stream.end(self._our_close))
            yield from self._flush()
        if not self._mocked:
            yield commands.CloseConnection(self.context.server)
        if self._network is not None and not self._legs[Direction.SENT].lost:
            self._handle_event = self.drain  # type: ignore[method-assign, assignment]
            self._network.forget_received()
            yield from self._end_app_when_all_has_arrived(self._network)
        else:
            yield commands.CloseConnection(self.context.client)
        if not self._ended:
            assert self._closing is not None
            yield from self._end(self._closing)

    def drain(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Handle events after the end, while messages to the client are still in the simulated network."""
        assert self._network is not None
        app_has_left = isinstance(event, events.ConnectionClosed) and event.connection is self.context.client
        if app_has_left or isinstance(event, Aborted):
            yield from self._end_app()
            return
        if isinstance(event, events.Wakeup) and self._network.is_timer(event.command):
            yield from self._network.advance()
        elif isinstance(event, Ordered) and isinstance(event.message.ours, Conditions):
            yield from self._network.change(event.message.ours, direction=event.message.direction)
        yield from self._end_app_when_all_has_arrived(self._network)

    def _end_app_when_all_has_arrived(self, network: AppNetwork) -> layer.CommandGenerator[None]:
        if network.received.is_empty and not network.received.is_stalled:
            yield from self._end_app()

    def _end_app(self) -> layer.CommandGenerator[None]:
        self._handle_event = self.done  # type: ignore[method-assign]
        yield commands.CloseConnection(self.context.client)

    def _end(self, end: End) -> layer.CommandGenerator[None]:
        assert self.flow.websocket is not None
        self._ended = True
        self.flow.websocket.timestamp_end = time.time()
        self.flow.websocket.closed_by_client = (
            None if end.direction is None else end.direction is Direction.SENT
        )
        self.flow.websocket.close_code = end.code
        self.flow.websocket.close_reason = end.reason
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False


def _has_upstream(context: Context) -> bool:
    """True if the handshake was sent to a server, and not answered by an addon.

    Of several HTTP layers the last one has sent it, or not; below it there may be one for CONNECT.
    """
    http_layer = next(below for below in reversed(context.layers) if isinstance(below, HttpLayer))
    return context.server in http_layer.connections
