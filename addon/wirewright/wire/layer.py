"""The mitmproxy layer of the wire: feeds the two streams, in PASS and in HOLD, and sends what comes out."""

from collections.abc import Generator, Iterable, Sequence
from logging import WARNING
from typing import Any, cast

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import websocket

from wirewright.wire.frames import CloseCode, FrameCutter, Opcode, ProtocolError, decode_close
from wirewright.wire.leg import End, Held, HeldQueue, Injected, Leg, Lost, weight_of
from wirewright.wire.messages import Control, Deflated, Event, TooLarge, Violation
from wirewright.wire.observing import UNDECIDED, Payload
from wirewright.wire.socket_layer import SocketLayer
from wirewright.wire.stream import Close, Mode, Ours, Received, content_of
from wirewright.wire.told import Aborted, CloseInjected, DecidedEvent, Ordered
from wirewright.wire.unread import Unread


class WireLayer(SocketLayer):
    """PASS and HOLD for the two directions of a socket. It judges nothing that it may pass."""

    def relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            yield from self._data(self._legs[event.connection is self.context.client], event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._lost(self._legs[event.connection is self.context.client])
        elif isinstance(event, websocket.WebSocketMessageInjected):
            message = event.message
            text = message.content.decode(errors="replace") if message.is_text else message.content
            yield from self._inject(self._legs[message.from_client], text)
        elif isinstance(event, DecidedEvent):
            yield from self._decided(self._legs[event.message.from_client], event.message.payload)
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
        self._regulate()

    # What comes

    def _data(self, leg: Leg, data: bytes) -> layer.CommandGenerator[None]:
        stream = leg.stream
        if leg.bad_frame is not None:
            yield from self._send(leg, [leg.bad_frame.take(data)])
            return
        demand = self._observer.demand(from_client=leg.from_client)
        if demand is not leg.demand or Mode.HOLD in (stream.mode, stream.wished):
            self._adopt(leg)
        received = stream.receive(data)
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
        demand = leg.demand = self._observer.demand(from_client=leg.from_client)
        holds = demand.holds or leg.held or leg.undecided or self._has_conditions(leg)
        if self._legs[not leg.from_client].ordered_close is not None:
            holds = True  # the source's answer is not to be copied
        stream.wish(Mode.HOLD if holds else Mode.PASS)
        if Mode.HOLD in (stream.mode, stream.wished):
            reader.limit, reader.lazy = self._observer.max_message, False
        else:
            reader.limit, reader.lazy = demand.limit, not demand.heard

    def _passed(self, leg: Leg, received: Received) -> layer.CommandGenerator[None]:
        """What has been forwarded is told."""
        close = None
        if leg.stream.reader.only_messages:
            self._messages_passed(leg, received.events)
        else:
            messages: list[Event] = []
            for event in received.events:
                if not isinstance(event, (Control, TooLarge)):
                    messages.append(event)
                    continue
                self._messages_passed(leg, messages)
                messages = []
                if isinstance(event, TooLarge):
                    self._observer.too_large(from_client=leg.from_client)
                elif event.opcode == Opcode.CLOSE:
                    close = event
                else:
                    yield from self._control_passed(leg, event)
            self._messages_passed(leg, messages)
        if received.ours:
            yield from self._ours_passed(leg, received.ours)
        if close is not None:
            yield from self._control_passed(leg, close)

    def _messages_passed(self, leg: Leg, received: list[Event]) -> None:
        if leg.destination is None and not self._mocked:
            return  # the server has gone: this has gone nowhere
        if leg.stream.reader.lazy:
            for event in received:
                if isinstance(event, Unread):
                    self._observer.passed_unheard(event, from_client=leg.from_client)
        elif received:
            messages = cast("list[Payload]", received)
            self._observer.passed(messages, from_client=leg.from_client, injected=False)

    def _ours_passed(self, leg: Leg, ours: Sequence[Ours]) -> layer.CommandGenerator[None]:
        if leg.stream.mode is Mode.HOLD:
            yield from self._hold(leg, map(Injected, ours))
            return
        if sent := [each for each in ours if not isinstance(each, Close)]:
            self._observer.passed(sent, from_client=leg.from_client, injected=True)
        for each in ours:
            if isinstance(each, Close):
                self._observer.control(Opcode.CLOSE, each.payload, from_client=leg.from_client, injected=True)

    def _control_passed(self, leg: Leg, control: Control) -> layer.CommandGenerator[None]:
        self._observer.control(control.opcode, control.payload, from_client=leg.from_client, injected=False)
        if control.opcode == Opcode.CLOSE:
            try:
                code, reason = decode_close(control.payload)
            except ProtocolError as failure:
                leg.violated = True
                self._observer.failed(failure.message)
            else:
                yield from self._source_closed(leg, End(leg.from_client, code, reason))
        elif leg.destination is None and control.opcode == Opcode.PING:
            server = self._legs[False]
            if not server.told:
                self._observer.control(Opcode.PONG, control.payload, from_client=False, injected=True)
                yield from self._send(server, [server.stream.encoder.control(Opcode.PONG, control.payload)])

    # HOLD

    def _take_in(self, leg: Leg, received: Sequence[Held]) -> layer.CommandGenerator[None]:
        """Hold what has come, once it has come through the app's network."""
        if self._has_to_drop(leg):
            received = yield from self._drop_messages(leg, received)
        if leg.from_client and self._network is not None and self._has_conditions(leg):
            self._network.receive(received)
            yield from self._advance(self._network)
        else:
            yield from self._hold(leg, received)

    def _drop_messages(
        self, leg: Leg, received: Sequence[Held]
    ) -> Generator[commands.Command, Any, list[Held]]:
        """Drop messages of a source that is read for its end alone. The value is what is left."""
        if not leg.is_cut_short:
            leg.is_cut_short = True
            source = "app" if leg.from_client else "server"
            yield commands.Log(
                f"{self.flow.request.pretty_url}: the socket is closing, and more than "
                f"{self._observer.max_held} bytes of messages (ws_max_held) wait for a route or an addon: "
                f"further messages of the {source} are dropped",
                WARNING,
            )
        return [each for each in received if not isinstance(each, (str, bytes, Deflated))]

    def _arrived(self, received: list[Held]) -> layer.CommandGenerator[None]:
        app = self._legs[True]
        yield from self._hold(app, (event for event in received if event is not Lost.LOST))
        if Lost.LOST in received and not self._finished:
            yield from self._lost(app)

    def _hold(self, leg: Leg, received: Iterable[Held]) -> layer.CommandGenerator[None]:
        if leg.undecided:
            received = yield from self._let_pings_pass(leg, received)
        leg.held.extend(received)
        if not leg.undecided:
            yield from self._offer_held(leg)
            if leg.undecided:
                leg.held = HeldQueue((yield from self._let_pings_pass(leg, leg.held)))

    def _offer_held(self, leg: Leg) -> layer.CommandGenerator[None]:
        """Offer one held message after another, and send on what becomes of them, until one is undecided."""
        held, encode, offer = leg.held, leg.stream.encoder.message, self._observer.offer
        from_client = leg.from_client
        sent: list[bytes] = []
        while held and not leg.undecided and not leg.is_cut:
            event = held.popleft()
            if held.weight:
                held.unweigh()
            compress = not isinstance(event, (str, bytes))
            if isinstance(event, (str, bytes)):
                decision = offer(event, from_client=from_client, injected=False)
            elif isinstance(event, Deflated):
                decision = offer(event.payload, from_client=from_client, injected=False)
            elif isinstance(event, Injected) and leg.told:
                continue
            elif isinstance(event, Injected) and not isinstance(event.ours, Close):
                decision = offer(event.ours, from_client=from_client, injected=True)
            else:
                yield from self._send(leg, sent)
                sent.clear()
                yield from self._held_other(leg, event)
                continue
            if decision is UNDECIDED:
                leg.undecided, leg.compresses = True, compress
                leg.undecided_size = weight_of(event)
            elif decision is not None:
                sent.append(encode(*content_of(decision), compress=compress))
            if self._observer.orders:
                yield from self._obey(leg, sent)
            if decision is None:
                self._observer.offer_over(from_client=from_client)
        yield from self._send(leg, sent)
        if leg.is_cut and not self._ended:
            rest = list(held)
            held.clear()
            yield from self._after_our_close(leg, rest)

    def _held_other(self, leg: Leg, event: Held) -> layer.CommandGenerator[None]:
        """What is no message has its turn."""
        if event is Lost.LOST:
            yield from self._source_lost(leg)
        elif isinstance(event, TooLarge):
            yield from self._refuse_large(leg)
        elif isinstance(event, Violation):
            yield from self._fail(leg, event.error, leg.stream.encoder.violation(event))
            if event.frame and leg.failure is not None:
                leg.bad_frame = FrameCutter()
                leg.bad_frame.take(event.frame)
        elif isinstance(event, Injected):
            assert isinstance(event.ours, Close)
            yield from self._send_close(leg, event.ours, leg.stream.end(event.ours))
        elif not isinstance(event, Control):
            raise TypeError(event)  # messages are offered, and none is unread
        elif event.opcode == Opcode.CLOSE:
            yield from self._held_close(leg, event)
        else:
            if not leg.told:
                yield from self._send(leg, [leg.stream.encoder.control(event.opcode, event.payload)])
            yield from self._control_passed(leg, event)

    def _held_close(self, leg: Leg, close: Control) -> layer.CommandGenerator[None]:
        if broken := _broken_close(close.payload):
            yield from self._fail(leg, broken, leg.stream.encoder.control(Opcode.CLOSE, close.payload))
            return
        if self._legs[not leg.from_client].violated and self._our_close is not None:
            # The answer to a close frame of ours. The source of the message that was too large gets the same
            # one: some libraries answer with 1000 to every close frame.
            yield from self._send_close(leg, self._our_close, leg.stream.end(self._our_close))
        elif not self._keeps(leg):
            meant = self._legs[not leg.from_client].ordered_close or close
            yield from self._send(leg, [leg.stream.encoder.control(Opcode.CLOSE, meant.payload)])
        yield from self._control_passed(leg, close)

    def _let_pings_pass(
        self, leg: Leg, received: Iterable[Held]
    ) -> Generator[commands.Command, Any, list[Held]]:
        """A ping or pong may go before a message that is held, and its sender waits for the answer (5.5.2).

        The value is what has to wait.
        """
        waiting: list[Held] = []
        for event in received:
            if isinstance(event, Control) and event.opcode != Opcode.CLOSE:
                yield from self._held_other(leg, event)
            else:
                waiting.append(event)
        return waiting

    def _decided(self, leg: Leg, payload: Payload | None) -> layer.CommandGenerator[None]:
        leg.undecided, leg.undecided_size = False, 0
        if payload is not None and not leg.stream.ended:
            message = leg.stream.encoder.message(*content_of(payload), compress=leg.compresses)
            yield from self._send(leg, [message])
        yield from self._obey()
        if payload is None:
            self._observer.offer_over(from_client=leg.from_client)
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
            yield from self._send(leg, [frames])
            yield from self._set_timer(leg)
            yield from self._end_if_over()
            return
        back, close = self._legs[not leg.from_client], Close(failure.code)
        if not back.told:
            yield from self._send_close(back, close, back.stream.end(close))
        self._our_close = None
        yield from self._source_lost(leg, End(None, failure.code, failure.message))

    def _refuse_large(self, leg: Leg) -> layer.CommandGenerator[None]:
        """Close both sides, as a message is too large to be held.

        The destination first: messages that it sends until it closes are still forwarded.
        """
        leg.violated = True
        reason = f"message of more than {self._observer.max_message} bytes (ws_max_message)"
        self._observer.failed("Message too large")
        if leg.closed or leg.told:
            return
        self._is_closing = True
        close = Close(CloseCode.TOO_BIG, reason)
        yield from self._begin_closing(close, leg)
        if leg.destination is None:
            yield from self._finish()
            return
        yield from self._send_close(leg, close, leg.stream.end(close))
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
            yield from self._send(leg, [frame])
            self._observer.passed([payload], from_client=leg.from_client, injected=True)

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
                yield from self._send_close(leg, close, leg.stream.send(close))
        yield from self._end_if_over()

    def _after_our_close(self, leg: Leg, received: Iterable[Held]) -> layer.CommandGenerator[None]:
        """Nothing follows our own close frame: of what comes, only the source's end counts."""
        for event in received:
            if event is Lost.LOST:
                yield from self._source_lost(leg)
            elif isinstance(event, Control) and event.opcode == Opcode.CLOSE and not leg.closed:
                yield from self._control_passed(leg, event)


def _broken_close(payload: bytes) -> ProtocolError | None:
    try:
        decode_close(payload)
    except ProtocolError as failure:
        return failure
    return None
