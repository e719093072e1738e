"""One open socket: its two directions, the bytes that are written to its ends, and how it closes."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from logging import WARNING

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import HttpLayer

from wirewright.mitm.layers.app_network import AppNetwork
from wirewright.mitm.layers.leg import Held, Injected, Leg, Lost
from wirewright.mitm.layers.turns import NextTurn, Turn
from wirewright.mitm.patches import back_pressure
from wirewright.values import Conditions, Direction
from wirewright.wire import closing_actions as act
from wirewright.wire.closing import Closing
from wirewright.wire.closing_actions import CLOSING_SECONDS, Action, End, Place, SendClose, Timer
from wirewright.wire.deflate import Agreement, parse_agreement
from wirewright.wire.frames import Opcode, ProtocolError, decode_close
from wirewright.wire.observer import Observer, Order
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import ControlFrame, Violation
from wirewright.wire.stream import Close, Encoder, Mode, Stream, content_of


class OpenSocket:
    """Writes to both ends, and carries out what the closing machine and the routes demand."""

    def __init__(self, context: Context, flow: http.HTTPFlow, observer: Observer) -> None:
        assert flow.response is not None
        self.context, self.flow, self.observer = context, flow, observer
        self.agreement = parse_agreement(flow.response.headers.get("Sec-WebSocket-Extensions", ""))
        self.is_mocked = not _has_upstream(context)
        self.closing = Closing(
            has_server=not self.is_mocked,
            handles_close=lambda direction: observer.handles_close(direction=direction),
        )
        self.legs = {each: self._leg(self.agreement, each) for each in Direction}
        self.network: AppNetwork | None = None
        """The network between the app and the proxy, if it is, or was, under conditions."""
        self.has_waited = False
        """True once a message had to wait. Until then nothing is weighed, as for most sockets."""
        self.outgoing: defaultdict[Direction, list[bytes]] = defaultdict(list)
        """Frames that are written together, by direction."""
        self.has_written = False
        """True once frames of this event were written. The first order of a route is written before it is
        reported, so that an answer does not wait; further ones are written together, at the end."""
        self.turn = Turn()
        self._timers: dict[commands.RequestWakeup, Timer] = {}

    def _leg(self, agreement: Agreement, direction: Direction) -> Leg:
        is_sent = direction is Direction.SENT
        compression = agreement.sent if is_sent else agreement.received
        reader = MessageReader(masked=is_sent, compression=compression, max_message=self.observer.max_message)
        if agreement.unknown is not None:
            reader.failure = ProtocolError(f"unknown extension {agreement.unknown}")
            self.closing.unreadable(direction)
        encoder = Encoder(masked=is_sent, compression=compression)
        stream = Stream(reader, encoder, shared_window=compression is not None and compression.takeover)
        return Leg(direction, self.context.server if is_sent else self.context.client, stream)

    def leg_from(self, source: Connection) -> Leg:
        """The direction of the messages from a connection."""
        return self.legs[Direction.SENT if source is self.context.client else Direction.RECEIVED]

    # Writing

    def send(self, leg: Leg, *frames: bytes) -> None:
        """Send whole frames to a direction's destination, with all others of this event in one write."""
        if self.closing.has_server or leg.direction is Direction.RECEIVED:
            self.outgoing[leg.direction] += frames

    def flush(self) -> layer.CommandGenerator[None]:
        """Write the frames that were sent since the last write."""
        outgoing, self.outgoing, self.has_written = self.outgoing, defaultdict(list), True
        for direction, frames in outgoing.items():
            is_sent = direction is Direction.SENT
            if not (is_sent or self.network is None or self.network.received.is_perfect):
                yield from self.network.send(frames)
            elif data := b"".join(frames):
                yield commands.SendData(self.legs[direction].destination, data)

    def let_others_run(self) -> layer.CommandGenerator[None]:
        """Wait for the next turn of the event loop. Until then events of this socket are queued, and neither
        end is read."""
        ends = self.context.client, self.context.server
        for end in ends:
            back_pressure.pause(end, back_pressure.PauseReason.TURN)
        try:
            yield NextTurn()
        finally:
            for end in ends:
                back_pressure.resume(end, back_pressure.PauseReason.TURN)
        self.turn.begin()

    def adopt(self, leg: Leg) -> None:
        """Apply the current demand to a direction: the messages to read, and PASS or HOLD."""
        stream, wanted = leg.stream, leg.stream.reader.wanted
        demand = leg.demand = self.observer.demand(direction=leg.direction)
        holds = demand.holds or leg.held or leg.undecided or self.has_conditions(leg)
        if leg.direction in self.closing.closes_to_answer:
            holds = True  # the source's answer is not to be copied
        if self.is_mocked and leg.direction is Direction.SENT:
            holds = True  # frames end here, and are judged as a server does
        stream.wish(Mode.HOLD if holds else Mode.PASS)
        if Mode.HOLD in (stream.mode, stream.wished):
            wanted.limit, wanted.lazy = self.observer.max_message, False
        else:
            wanted.limit, wanted.lazy = demand.limit, not demand.heard

    # Orders of routes

    def obey(self, orders: Iterable[Order], offering: Leg | None = None) -> layer.CommandGenerator[None]:
        """Carry out what a route has ordered, perhaps for a message of a direction that was offered to it."""
        for order in orders:
            leg, ours = self.legs[order.direction], order.ours
            if isinstance(ours, Conditions):
                yield from self._put_under(ours, leg)
            elif isinstance(ours, Close):
                for action in self.closing.close_ordered(leg.direction, ours):
                    yield from self._carry_out(action)
            elif self.closing.has_destination(leg.direction) and not self.closing.nothing_may_follow(
                leg.direction
            ):
                yield from self._send_ordered(leg, ours, is_offered=leg is offering)

    def _send_ordered(
        self, leg: Leg, payload: str | bytes, *, is_offered: bool
    ) -> layer.CommandGenerator[None]:
        if is_offered:
            frame: bytes | None = leg.stream.encoder.message(*content_of(payload), compress=True)
        else:
            self.adopt(leg)  # a route that holds this direction may speak first
            frame = leg.stream.send(payload)
        if frame:
            self.send(leg, frame)
            if not self.has_written:
                yield from self.flush()
            self.observer.ordered(payload, direction=leg.direction)

    def _put_under(self, conditions: Conditions, leg: Leg) -> layer.CommandGenerator[None]:
        """From now on a direction's messages go under these conditions between the app and us."""
        yield from self.flush()
        if self.network is None:
            self.network, self.has_waited = AppNetwork(self.context.client), True
        if leg.stream.reader.failure is not None:
            yield commands.Log("A WebSocket that cannot be read cannot be put under conditions.", WARNING)
            return
        yield from self.network.set_conditions(conditions, direction=leg.direction)
        self.adopt(leg)

    def has_conditions(self, leg: Leg) -> bool:
        """True if the messages of a direction go through a simulated network."""
        return self.network is not None and not self.network.link(leg.direction).is_perfect

    # Closing

    def close_arrived(
        self, leg: Leg, close: ControlFrame, *, is_forwarded: bool = False
    ) -> layer.CommandGenerator[None]:
        """The close frame of a source has its turn. In PASS it may have gone on already."""
        self.report_close(leg, close.payload, injected=False)
        try:
            code, reason = decode_close(close.payload)
        except ProtocolError as failure:
            yield from self.carry_out(self.closing.broken(leg.direction, failure))
        else:
            actions = self.closing.close_received(leg.direction, code, reason, is_forwarded=is_forwarded)
            yield from self.carry_out(actions, close.payload)

    def loss_arrived(self, leg: Leg) -> layer.CommandGenerator[None]:
        """The loss of a source's connection is next behind the messages that wait."""
        waiting = leg.end_of_source if leg.held or leg.undecided else None
        is_handled = leg.demand is not None and leg.demand.routed
        yield from self.carry_out(self.closing.loss_arrived(leg.direction, waiting, is_handled=is_handled))

    def after_our_close(self, leg: Leg, received: Iterable[Held]) -> layer.CommandGenerator[None]:
        """Nothing follows our own close frame: only the source's end counts."""
        for event in received:
            if event is Lost.LOST:
                yield from self.carry_out(self.closing.lost(leg.direction))
            elif isinstance(event, Violation):
                yield from self.carry_out(self.closing.violated(leg.direction, event.error))
            elif isinstance(event, ControlFrame) and event.opcode == Opcode.CLOSE:
                yield from self.close_arrived(leg, event)

    def wake(self, timer: commands.RequestWakeup) -> layer.CommandGenerator[None]:
        """A timer of the closing has run out."""
        if (limit := self._timers.pop(timer, None)) is not None:
            yield from self.carry_out(self.closing.time_is_up(limit))

    def carry_out(self, actions: Sequence[Action], content: bytes = b"") -> layer.CommandGenerator[None]:
        """Do what the closing demands, and end the socket if it is over.

        `content` is what is forwarded: the payload of a close frame, or the bytes of a violation.
        """
        for action in actions:
            yield from self._carry_out(action, content)
        for action in self.closing.conclude():
            yield from self._carry_out(action)

    def _carry_out(self, action: Action, content: bytes = b"") -> layer.CommandGenerator[None]:
        match action:
            case act.SendClose():
                self.send_close(action)
            case act.ForwardClose(direction, instead):
                payload = content if instead is None else instead.payload
                frame = self.legs[direction].stream.encoder.control(Opcode.CLOSE, payload)
                self.outgoing[direction].append(frame)
            case act.ForwardViolation(direction):
                self.legs[direction].stream.ended = True
                self.outgoing[direction].append(content)
            case act.StopForwarding(direction):
                self.legs[direction].stream.ended = True
            case act.QueueLoss(direction):
                self.legs[direction].held.append(Lost.LOST)
            case act.DropHeld(direction):
                self.legs[direction].held.clear()
            case act.StartTimer(timer):
                wakeup = commands.RequestWakeup(CLOSING_SECONDS)
                self._timers[wakeup] = timer
                yield wakeup
            case act.ReportFailure(message):
                self.observer.failed(message)
            case act.NotifyRoute(direction, code, reason):
                yield from self.obey(self.observer.closed(code, reason, direction=direction))
            case act.ReportEnd(end):
                yield from self._report_end(end)
            case act.EndConnection(direction):
                yield from self._end_connection(direction)

    def send_close(self, action: SendClose) -> None:
        """Send a close frame of ours, or have it sent when its place comes."""
        leg, close = self.legs[action.direction], action.close
        if action.place is Place.LAST and leg.undecided:
            leg.held.append(Injected(close))
            return
        if action.place is Place.NEXT:
            self.adopt(self.legs[leg.direction.opposite])
        frame = leg.stream.end(close) if action.place is Place.NOW else leg.stream.send(close)
        if frame:
            self.outgoing[leg.direction].append(frame)
            self.close_was_sent(leg, close)

    def report_pings(self, leg: Leg, pings: Sequence[ControlFrame]) -> None:
        """Report pings and pongs. A server that is not there has its pings answered here (5.5.2)."""
        self.observer.controls(pings, direction=leg.direction, injected=False)
        if not self.closing.has_destination(leg.direction):
            pongs = [ControlFrame(Opcode.PONG, each.payload) for each in pings if each.opcode == Opcode.PING]
            if pongs and not self.closing.nothing_may_follow(Direction.RECEIVED):
                self.observer.controls(pongs, direction=Direction.RECEIVED, injected=True)
                server = self.legs[Direction.RECEIVED]
                self.send(server, *server.stream.encoder.controls(pongs))

    def close_was_sent(self, leg: Leg, close: Close) -> None:
        """A close frame of ours has gone out."""
        self.closing.close_sent(leg.direction)
        self.report_close(leg, close.payload, injected=True)

    def report_close(self, leg: Leg, payload: bytes, *, injected: bool) -> None:
        """Report a close frame, which is ours or the source's."""
        close = ControlFrame(Opcode.CLOSE, payload)
        self.observer.controls([close], direction=leg.direction, injected=injected)

    def cut(self, reason: str) -> layer.CommandGenerator[None]:
        """End both connections without a close frame."""
        self.network = None
        self.closing.cut(reason)
        yield from self.carry_out(())

    # The end

    def _end_connection(self, direction: Direction) -> layer.CommandGenerator[None]:
        yield from self.flush()
        if direction is Direction.RECEIVED:
            if not self.is_mocked:
                yield commands.CloseConnection(self.context.server)
        elif self.network is not None and Direction.SENT not in self.closing.lost_sources:
            self.network.forget_received()
            yield from self.end_app_when_all_has_arrived(self.network)
        else:
            yield from self.end_app()

    def end_app_when_all_has_arrived(self, network: AppNetwork) -> layer.CommandGenerator[None]:
        """End the app's connection, if it has all that was sent to it."""
        if network.received.is_empty and not network.received.is_stalled:
            yield from self.end_app()

    def end_app(self) -> layer.CommandGenerator[None]:
        """End the app's connection."""
        self.network = None
        yield commands.CloseConnection(self.context.client)

    def _report_end(self, end: End) -> layer.CommandGenerator[None]:
        assert self.flow.websocket is not None
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
