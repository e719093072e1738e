"""The mitmproxy layer of the wire: feeds the two streams, in PASS and in HOLD, and sends what comes out."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from enum import Enum
from itertools import groupby
from logging import WARNING
from typing import Any, TypeGuard, cast

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import websocket

from wirewright.mitm.layers.events import Aborted, CloseInjected, DecidedEvent, Ordered
from wirewright.mitm.layers.leg import End, Held, HeldQueue, Injected, Leg, Lost, weight_of
from wirewright.mitm.layers.socket_layer import HELD_WORK, TURN_WORK, SocketLayer
from wirewright.printable import printable, shown_url
from wirewright.values import Direction, Payload
from wirewright.wire.frames import CloseCode, FrameCutter, Opcode, ProtocolError, decode_close
from wirewright.wire.lazy import Unread
from wirewright.wire.observer import UNDECIDED
from wirewright.wire.reader import Control, Deflated, Event, TooLarge, Violation
from wirewright.wire.stream import Close, Mode, Ours, Received, content_of


class WireLayer(SocketLayer):
    """PASS and HOLD for the two directions of a socket. It judges nothing that it may pass."""

    def relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        for command in self._relay(event):
            if self._outgoing:
                yield from self._flush()
            yield command
        if self._outgoing:
            yield from self._flush()
        if self._may_be_full:
            self._update_pauses()

    def _relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            yield from self._data(self._leg_from(event.connection), event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._lost(self._leg_from(event.connection))
        elif isinstance(event, websocket.WebSocketMessageInjected):
            message = event.message
            text = message.content.decode(errors="replace") if message.is_text else message.content
            yield from self._inject(
                self._legs[Direction.SENT if message.from_client else Direction.RECEIVED], text
            )
        elif isinstance(event, DecidedEvent):
            yield from self._decided(self._legs[event.message.direction], event.message.payload)
        elif isinstance(event, Ordered):
            self._observer.orders.append(event.message)
            yield from self._obey()
        elif isinstance(event, CloseInjected):
            yield from self._close(event.message)
        elif isinstance(event, Aborted):
            yield from self._abort(event.message)
        elif isinstance(event, events.Wakeup):
            if self._network is not None and self._network.is_timer(event.command):
                yield from self._advance(self._network)
            else:
                yield from self._time_is_up(event.command)
        if self._may_be_full:
            for leg in self._legs.values():
                if leg.unread:
                    yield from self._data(leg, b"")

    # What comes

    def _data(self, leg: Leg, data: bytes) -> layer.CommandGenerator[None]:
        reader = leg.stream.reader
        data, leg.unread = leg.unread + data, b""
        while data and not self._finished:
            if self._work >= TURN_WORK:
                yield from self._let_others_run()
            if self._may_be_full and self._is_full(leg):
                leg.unread = data
                return
            yield from self._read(leg, data)
            self._work += reader.work
            data = reader.rest

    def _read(self, leg: Leg, data: bytes) -> layer.CommandGenerator[None]:
        """Read data of a source until the work of this turn is done. `reader.rest` has the unread data."""
        stream = leg.stream
        if leg.bad_frame is not None:
            self._send(leg, leg.bad_frame.take(data))
            return
        demand = self._observer.demand(direction=leg.direction)
        if demand is not leg.demand or Mode.HOLD in (stream.mode, stream.wished):
            self._adopt(leg)
        received = stream.receive(data, TURN_WORK - self._work)
        if received.mode is Mode.HOLD:
            yield from self._take_in(leg, received.events)
        elif leg.is_cut and not received.forward:
            yield from self._after_our_close(leg, received.events)
        else:
            if received.forward and leg.destination is not None:
                yield commands.SendData(leg.destination, received.forward)
            if received.events or received.ours:
                yield from self._passed(leg, received)
        failure = stream.reader.failure
        if failure is not None and not leg.violated:
            leg.violated = True
            if stream.mode is Mode.HOLD and stream.reader.violation is not None:
                yield from self._take_in(leg, [stream.reader.violation])
            else:
                self._observer.failed(failure.message)
                yield from self._end_if_over()

    def _adopt(self, leg: Leg) -> None:
        stream, reader = leg.stream, leg.stream.reader
        demand = leg.demand = self._observer.demand(direction=leg.direction)
        holds = demand.holds or leg.held or leg.undecided or self._has_conditions(leg)
        if self._legs[leg.direction.opposite].ordered_close is not None:
            holds = True  # the source's answer is not to be copied
        if self._mocked and leg.direction is Direction.SENT:
            holds = True  # frames end here, and are judged as a server does
        stream.wish(Mode.HOLD if holds else Mode.PASS)
        if Mode.HOLD in (stream.mode, stream.wished):
            reader.limit, reader.lazy = self._observer.max_message, False
        else:
            reader.limit, reader.lazy = demand.limit, not demand.heard

    def _passed(self, leg: Leg, received: Received) -> layer.CommandGenerator[None]:
        """Report forwarded messages and frames to the observer."""
        close = None
        if leg.stream.reader.only_messages:
            self._messages_passed(leg, received.events)
        else:
            for kind, events_of_kind in groupby(received.events, _kind):
                if kind is _Kind.MESSAGE:
                    self._messages_passed(leg, list(events_of_kind))
                elif kind is _Kind.PING:
                    self._pings_passed(leg, cast("list[Control]", list(events_of_kind)))
                elif kind is _Kind.TOO_LARGE:
                    for _ in events_of_kind:
                        self._observer.too_large(direction=leg.direction)
                else:
                    (close,) = cast("Iterable[Control]", events_of_kind)
        if received.ours:
            yield from self._ours_passed(leg, received.ours)
        if close is not None:
            yield from self._close_passed(leg, close)

    def _messages_passed(self, leg: Leg, received: list[Event]) -> None:
        if leg.destination is None and not self._mocked:
            return  # the server has gone: this has gone nowhere
        if leg.stream.reader.lazy:
            for event in received:
                if isinstance(event, Unread):
                    self._observer.passed_unheard(event, direction=leg.direction)
        elif received:
            messages = cast("list[Payload]", received)
            self._observer.passed(messages, direction=leg.direction, injected=False)

    def _ours_passed(self, leg: Leg, ours: Sequence[Ours]) -> layer.CommandGenerator[None]:
        if leg.stream.mode is Mode.HOLD:
            yield from self._hold(leg, map(Injected, ours))
            return
        if sent := [each for each in ours if not isinstance(each, Close)]:
            self._observer.passed(sent, direction=leg.direction, injected=True)
        for each in ours:
            if isinstance(each, Close):
                self._report_close(leg, each.payload, injected=True)

    def _pings_passed(self, leg: Leg, pings: Sequence[Control]) -> None:
        """Report pings and pongs. A server that is not there has its pings answered here (5.5.2)."""
        self._observer.controls(pings, direction=leg.direction, injected=False)
        if leg.destination is None:
            server = self._legs[Direction.RECEIVED]
            pongs = [Control(Opcode.PONG, each.payload) for each in pings if each.opcode == Opcode.PING]
            if pongs and not server.told:
                self._observer.controls(pongs, direction=Direction.RECEIVED, injected=True)
                self._send(server, *server.stream.encoder.controls(pongs))

    def _close_passed(self, leg: Leg, close: Control) -> layer.CommandGenerator[None]:
        self._report_close(leg, close.payload, injected=False)
        try:
            code, reason = decode_close(close.payload)
        except ProtocolError as failure:
            leg.violated = True
            self._observer.failed(failure.message)
        else:
            yield from self._source_closed(leg, End(leg.direction, code, reason))

    # HOLD

    def _take_in(self, leg: Leg, received: Sequence[Held]) -> layer.CommandGenerator[None]:
        """Hold what has come, once it has come through the app's network."""
        if self._may_be_full and self._is_overfull(leg):
            received = yield from self._drop_messages(leg, received)
        if leg.direction is Direction.SENT and self._network is not None and self._has_conditions(leg):
            self._network.receive(received)
            yield from self._advance(self._network)
        else:
            yield from self._hold(leg, received)

    def _drop_messages(
        self, leg: Leg, received: Sequence[Held]
    ) -> Generator[commands.Command, Any, list[Held]]:
        """Drop messages of a source that is read for its end alone. The value is what is left."""
        if not leg.has_dropped_messages:
            leg.has_dropped_messages = True
            source = "app" if leg.direction is Direction.SENT else "server"
            yield commands.Log(
                f"{printable(shown_url(self.flow.request.pretty_url))}: the socket is closing, and more than "
                f"{self._observer.max_held:,} bytes of messages (ws_max_held) wait for a route or an addon. "
                f"Further messages of the {source} are dropped.",
                WARNING,
            )
        return [each for each in received if not isinstance(each, (str, bytes, Deflated))]

    def _arrived(self, received: list[Held]) -> layer.CommandGenerator[None]:
        app = self._legs[Direction.SENT]
        yield from self._hold(app, (event for event in received if event is not Lost.LOST))
        if Lost.LOST in received and not self._finished:
            yield from self._lost(app)

    def _hold(self, leg: Leg, received: Iterable[Held]) -> layer.CommandGenerator[None]:
        if leg.undecided:
            received = self._let_pings_pass(leg, received)
        leg.held.extend(received)
        if not leg.undecided:
            yield from self._offer_held(leg)
            if leg.undecided:
                leg.held = HeldQueue(self._let_pings_pass(leg, leg.held))

    def _offer_held(self, leg: Leg) -> layer.CommandGenerator[None]:
        """Offer one held message after another, and send on what becomes of them, until one is undecided."""
        held, encode, offer = leg.held, leg.stream.encoder.message, self._observer.offer
        direction = leg.direction
        while held and not leg.undecided and not leg.is_cut:
            if self._work >= TURN_WORK:
                yield from self._let_others_run()
            self._work += HELD_WORK
            event = held.popleft()
            compress = not isinstance(event, (str, bytes))
            if isinstance(event, (str, bytes)):
                decision = offer(event, direction=direction, injected=False)
            elif isinstance(event, Deflated):
                decision = offer(event.payload, direction=direction, injected=False)
            elif isinstance(event, Injected) and leg.told:
                continue
            elif isinstance(event, Injected) and not isinstance(event.ours, Close):
                decision = offer(event.ours, direction=direction, injected=True)
            elif _is_ping(event):
                self._send_pings(leg, [event, *_take_pings(held)])
                continue
            else:
                yield from self._held_other(leg, event)
                continue
            if decision is UNDECIDED:
                leg.undecided, leg.compresses = True, compress
                leg.undecided_size = weight_of(event)
                self._may_be_full = True
            elif decision is not None:
                self._send(leg, encode(*content_of(decision), compress=compress))
            if self._observer.orders:
                yield from self._obey(leg)
            if decision is None:
                self._observer.offer_over(direction=direction)
        if leg.is_cut and not self._ended:
            rest = list(held)
            held.clear()
            yield from self._after_our_close(leg, rest)

    def _held_other(self, leg: Leg, event: Held) -> layer.CommandGenerator[None]:
        """Handle a queued item that is not a message, a ping or a pong."""
        if event is Lost.LOST:
            yield from self._source_lost(leg)
        elif isinstance(event, TooLarge):
            yield from self._refuse_large(leg, event)
        elif isinstance(event, Violation):
            yield from self._fail(leg, event.error, leg.stream.encoder.violation(event))
            if event.frame and leg.failure is not None:
                leg.bad_frame = FrameCutter()
                leg.bad_frame.take(event.frame)
        elif isinstance(event, Injected):
            assert isinstance(event.ours, Close)
            self._send_close(leg, event.ours, leg.stream.end(event.ours))
        elif isinstance(event, Control):
            yield from self._held_close(leg, event)
        else:
            raise TypeError(event)  # messages are offered, and none is unread

    def _send_pings(self, leg: Leg, pings: Sequence[Control]) -> None:
        """Send pings and pongs on, all that follow each other at once."""
        if not leg.told:
            self._send(leg, *leg.stream.encoder.controls(pings))
        self._pings_passed(leg, pings)

    def _held_close(self, leg: Leg, close: Control) -> layer.CommandGenerator[None]:
        # Where the close frame is not sent on, we are the endpoint that judges it.
        is_endpoint = leg.destination is None or self._keeps(leg)
        if broken := _broken_close(close.payload, as_endpoint=is_endpoint):
            yield from self._fail(leg, broken, leg.stream.encoder.control(Opcode.CLOSE, close.payload))
            return
        if self._legs[leg.direction.opposite].violated and self._our_close is not None:
            # The answer to a close frame of ours. The source of the message that was too large gets the same
            # one: some libraries answer with 1000 to every close frame.
            self._send_close(leg, self._our_close, leg.stream.end(self._our_close))
        elif not self._keeps(leg):
            meant = self._legs[leg.direction.opposite].ordered_close or close
            self._send(leg, leg.stream.encoder.control(Opcode.CLOSE, meant.payload))
        yield from self._close_passed(leg, close)

    def _let_pings_pass(self, leg: Leg, received: Iterable[Held]) -> list[Held]:
        """A ping or pong may go before a message that is held, and its sender waits for the answer (5.5.2).

        The value is what has to wait.
        """
        waiting: list[Held] = []
        pings: list[Control] = []
        for event in received:
            if _is_ping(event):
                pings.append(event)
            else:
                waiting.append(event)
        if pings:
            self._send_pings(leg, pings)
        return waiting

    def _decided(self, leg: Leg, payload: Payload | None) -> layer.CommandGenerator[None]:
        leg.undecided, leg.undecided_size = False, 0
        if payload is not None and not leg.stream.ended:
            message = leg.stream.encoder.message(*content_of(payload), compress=leg.compresses)
            self._send(leg, message)
        yield from self._obey()
        if payload is None:
            self._observer.offer_over(direction=leg.direction)
        self._adopt(leg)
        yield from self._offer_held(leg)

    def _fail(self, leg: Leg, failure: ProtocolError, frames: bytes) -> layer.CommandGenerator[None]:
        """Have the destination fail the socket, as in PASS: it is sent the violation itself (7.1.7).

        Nothing follows the violation: no bytes may bypass the route that holds this direction. A destination
        that does not fail the socket has its connection cut.
        """
        leg.violated = True
        self._observer.failed(failure.message)
        if leg.stream.ended or (leg.closed and not leg.copied):
            return  # nothing follows a close frame of ours
        if leg.destination is not None and not self._keeps(leg):
            leg.failure, leg.stream.ended = failure, True
            self._send(leg, frames)
            yield from self._set_timer(leg)
            yield from self._end_if_over()
            return
        back, close = self._legs[leg.direction.opposite], Close(failure.code)
        if not back.told:
            self._send_close(back, close, back.stream.end(close))
        self._our_close = None
        yield from self._source_lost(leg, End(None, failure.code, failure.message))

    def _refuse_large(self, leg: Leg, message: TooLarge) -> layer.CommandGenerator[None]:
        """Close both sides, as a message is too large to be held, or as memory is short.

        The destination first: messages that it sends until it closes are still forwarded.
        """
        leg.violated = True
        if message.lacks_memory:
            failure = "Not enough memory for a message"
            reason = "no memory for this message: others take all of ws_memory"
        else:
            failure = "Message too large"
            reason = f"message of more than {self._observer.max_message} bytes (ws_max_message)"
        self._observer.failed(failure)
        if leg.closed or leg.told:
            return
        self._is_closing = True
        close = Close(CloseCode.TOO_BIG, reason)
        yield from self._begin_closing(close, leg)
        if leg.destination is None:
            yield from self._finish()
            return
        self._send_close(leg, close, leg.stream.end(close))
        yield from self._end_if_over()

    # What we say

    def _inject(self, leg: Leg, payload: Payload) -> layer.CommandGenerator[None]:
        if leg.destination is None:
            return
        if leg.closed or leg.told or self._is_closing:
            yield commands.Log("A WebSocket message is not sent: its socket is closing.", WARNING)
            return
        self._adopt(leg)
        if leg.stream.reader.failure is not None:
            yield commands.Log(
                "A WebSocket message is not sent: nothing fits into what cannot be read.", WARNING
            )
        elif leg.stream.mode is Mode.HOLD:
            yield from self._hold(leg, [Injected(payload)])
        elif frame := leg.stream.send(payload):
            self._send(leg, frame)
            self._observer.passed([payload], direction=leg.direction, injected=True)

    # The end

    def _close(self, close: Close) -> layer.CommandGenerator[None]:
        """Close both sides with a frame of ours, after what was to be sent before it."""
        if self._ended or self._is_closing:
            return
        self._is_closing = True
        yield from self._begin_closing(close, *self._legs.values())
        for leg in self._legs.values():
            if leg.told or leg.destination is None:
                continue
            if leg.stream.reader.failure is not None:
                leg.stream.ended = True  # nothing fits into what cannot be read
            elif leg.stream.mode is Mode.HOLD:
                yield from self._hold(leg, [Injected(close)])
            else:
                self._send_close(leg, close, leg.stream.send(close))
        yield from self._end_if_over()

    def _after_our_close(self, leg: Leg, received: Iterable[Held]) -> layer.CommandGenerator[None]:
        """Nothing follows our own close frame: of what comes, only the source's end counts."""
        for event in received:
            if event is Lost.LOST:
                yield from self._source_lost(leg)
            elif isinstance(event, Control) and event.opcode == Opcode.CLOSE and not leg.closed:
                yield from self._close_passed(leg, event)


class _Kind(Enum):
    """Events of one kind that follow each other are reported together."""

    MESSAGE = "message"
    PING = "ping"
    TOO_LARGE = "too large"
    CLOSE = "close"


def _kind(event: Event) -> _Kind:
    if isinstance(event, Control):
        return _Kind.CLOSE if event.opcode == Opcode.CLOSE else _Kind.PING
    return _Kind.TOO_LARGE if isinstance(event, TooLarge) else _Kind.MESSAGE


def _is_ping(event: Held) -> TypeGuard[Control]:
    """True for a ping and a pong."""
    return isinstance(event, Control) and event.opcode != Opcode.CLOSE


def _take_pings(held: HeldQueue) -> Iterator[Control]:
    """Take out the pings and pongs at the beginning of a queue."""
    while held and _is_ping(held[0]):
        yield cast("Control", held.popleft())


def _broken_close(payload: bytes, *, as_endpoint: bool) -> ProtocolError | None:
    try:
        decode_close(payload, as_endpoint=as_endpoint)
    except ProtocolError as failure:
        return failure
    return None
