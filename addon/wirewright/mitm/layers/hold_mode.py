"""HOLD: each message of a direction is held whole, offered, and sent on as it comes out."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from logging import WARNING
from typing import Any, TypeGuard, cast

from mitmproxy.proxy import commands, layer

from wirewright.mitm.layers.app_network import AppNetwork
from wirewright.mitm.layers.leg import Held, HeldQueue, Injected, Leg, Lost, weight_of
from wirewright.mitm.layers.open_socket import OpenSocket
from wirewright.mitm.layers.reading_limits import ReadingLimits
from wirewright.mitm.layers.turns import HELD_WORK
from wirewright.printable import printable, shown_url
from wirewright.values import Direction, Payload
from wirewright.wire.closing_actions import SendClose
from wirewright.wire.frames import CloseCode, FrameCutter, Opcode, ProtocolError, decode_close
from wirewright.wire.observer import UNDECIDED
from wirewright.wire.reader_events import ControlFrame, Deflated, TooLarge, Violation
from wirewright.wire.stream import Close, content_of


class HoldMode:
    """Offers held messages, and handles the items between them in their turn."""

    __slots__ = ("_limits", "_socket")

    def __init__(self, socket: OpenSocket, limits: ReadingLimits) -> None:
        self._socket, self._limits = socket, limits

    def take_in(self, leg: Leg, received: Sequence[Held]) -> layer.CommandGenerator[None]:
        """Hold what a source has sent, once it has come through the app's network."""
        socket = self._socket
        if socket.has_waited and self._limits.is_overfull(leg):
            received = yield from self._drop_messages(leg, received)
        if leg.direction is Direction.SENT and socket.network is not None and socket.has_conditions(leg):
            socket.network.receive(received)
            yield from self.advance(socket.network)
        else:
            yield from self.hold(leg, received)

    def _drop_messages(
        self, leg: Leg, received: Sequence[Held]
    ) -> Generator[commands.Command, Any, list[Held]]:
        """Drop messages of a source that is read for its end alone. The value is what is left."""
        if not leg.has_dropped_messages:
            leg.has_dropped_messages = True
            source = "app" if leg.direction is Direction.SENT else "server"
            request = self._socket.flow.request
            yield commands.Log(
                f"{printable(shown_url(request.pretty_url))}: the socket is closing, and more than "
                f"{self._socket.observer.max_held:,} bytes of messages (ws_max_held) wait for a route or an "
                f"addon. Further messages of the {printable(source)} are dropped.",
                WARNING,
            )
        return [each for each in received if not isinstance(each, (str, bytes, Deflated))]

    def advance(self, network: AppNetwork) -> layer.CommandGenerator[None]:
        """Handle and forward the messages that have arrived by now."""
        received, app = (yield from network.advance()), self._socket.legs[Direction.SENT]
        yield from self.hold(app, (event for event in received if event is not Lost.LOST))
        if Lost.LOST in received and not self._socket.closing.is_finished:
            yield from self._socket.loss_arrived(app)

    def hold(self, leg: Leg, received: Iterable[Held]) -> layer.CommandGenerator[None]:
        """Put items behind those that are held, and offer them unless an earlier message is undecided."""
        if leg.undecided:
            received = self._let_pings_pass(leg, received)
        leg.held.extend(received)
        if not leg.undecided:
            yield from self._offer_held(leg)
            if leg.undecided:
                leg.held = HeldQueue(self._let_pings_pass(leg, leg.held))

    def decided(self, leg: Leg, payload: Payload | None) -> layer.CommandGenerator[None]:
        """The message that was undecided is sent on as this, or (None) dropped."""
        leg.undecided, leg.undecided_size = False, 0
        if payload is not None and not self._socket.closing.is_cut(leg.direction):
            message = leg.stream.encoder.message(*content_of(payload), compress=leg.compresses)
            self._socket.send(leg, message)
        self._socket.adopt(leg)
        yield from self._offer_held(leg)

    def _offer_held(self, leg: Leg) -> layer.CommandGenerator[None]:
        """Offer one held message after another, and send the decisions on, until a message is undecided."""
        socket, held, direction = self._socket, leg.held, leg.direction
        encode, offer = leg.stream.encoder.message, socket.observer.offer
        is_cut = socket.closing.is_cut(direction)
        while held and not leg.undecided and not is_cut:
            if socket.turn.is_over:
                yield from socket.let_others_run()
            socket.turn.work += HELD_WORK
            event = held.popleft()
            compress = not isinstance(event, (str, bytes))
            if isinstance(event, (str, bytes)):
                decision, orders = offer(event, direction=direction, injected=False)
            elif isinstance(event, Deflated):
                decision, orders = offer(event.payload, direction=direction, injected=False)
            elif isinstance(event, Injected) and socket.closing.nothing_may_follow(direction):
                continue
            elif isinstance(event, Injected) and not isinstance(event.ours, Close):
                decision, orders = offer(event.ours, direction=direction, injected=True)
            elif _is_ping(event):
                self._send_pings(leg, [event, *_take_pings(held)])
                continue
            else:
                yield from self._handle_other(leg, event)
                if socket.closing.is_finished:
                    return
                is_cut = socket.closing.is_cut(direction)
                continue
            if decision is UNDECIDED:
                leg.undecided, leg.compresses = True, compress
                leg.undecided_size = weight_of(event)
                socket.has_waited = True
            elif decision is not None:
                socket.send(leg, encode(*content_of(decision), compress=compress))
            if orders:
                yield from socket.obey(orders, leg)
                is_cut = socket.closing.is_cut(direction)
        if is_cut and not socket.closing.is_end_reported:
            rest = list(held)
            held.clear()
            yield from socket.after_our_close(leg, rest)

    def _handle_other(self, leg: Leg, event: Held) -> layer.CommandGenerator[None]:
        """Handle a queued item that is not a message, a ping or a pong."""
        socket, closing = self._socket, self._socket.closing
        if event is Lost.LOST:
            yield from socket.carry_out(closing.lost(leg.direction))
        elif isinstance(event, TooLarge):
            yield from self._refuse(leg, event)
        elif isinstance(event, Violation):
            frames = leg.stream.encoder.violation(event)
            yield from socket.carry_out(closing.violated(leg.direction, event.error), frames)
            if event.frame and leg.direction in closing.failures:
                leg.bad_frame = FrameCutter()
                leg.bad_frame.take(event.frame)
        elif isinstance(event, Injected):
            assert isinstance(event.ours, Close)
            if closing.has_destination(leg.direction):
                socket.send_close(SendClose(leg.direction, event.ours))
        elif isinstance(event, ControlFrame):
            yield from self._handle_close(leg, event)
        else:
            raise TypeError(event)  # messages are offered, and none is unread

    def _handle_close(self, leg: Leg, close: ControlFrame) -> layer.CommandGenerator[None]:
        closing, direction = self._socket.closing, leg.direction
        # Where the close frame is not sent on, we are the endpoint that judges it.
        is_endpoint = not closing.has_destination(direction) or closing.is_kept(direction)
        try:
            decode_close(close.payload, as_endpoint=is_endpoint)
        except ProtocolError as failure:
            frame = leg.stream.encoder.control(Opcode.CLOSE, close.payload)
            yield from self._socket.carry_out(closing.violated(direction, failure), frame)
        else:
            yield from self._socket.close_arrived(leg, close)

    def _refuse(self, leg: Leg, message: TooLarge) -> layer.CommandGenerator[None]:
        """Close both sides, as a message is too large to be held, or as memory is short."""
        if message.lacks_memory:
            failure = "Not enough memory for a message"
            reason = "no memory for this message: others take all of ws_memory"
        else:
            failure = "Message too large"
            reason = f"message of more than {self._socket.observer.max_message} bytes (ws_max_message)"
        close = Close(CloseCode.TOO_BIG, reason)
        yield from self._socket.carry_out(self._socket.closing.refused(leg.direction, failure, close))

    def _send_pings(self, leg: Leg, pings: Sequence[ControlFrame]) -> None:
        """Send pings and pongs on, all that follow each other at once."""
        if not self._socket.closing.nothing_may_follow(leg.direction):
            self._socket.send(leg, *leg.stream.encoder.controls(pings))
        self._socket.report_pings(leg, pings)

    def _let_pings_pass(self, leg: Leg, received: Iterable[Held]) -> list[Held]:
        """A ping or pong may go before a message that is held, and its sender waits for the answer (5.5.2).

        The value is what has to wait.
        """
        received = list(received)
        if pings := [event for event in received if _is_ping(event)]:
            self._send_pings(leg, pings)
        return [event for event in received if not _is_ping(event)]


def _is_ping(event: Held) -> TypeGuard[ControlFrame]:
    """True for a ping and a pong."""
    return isinstance(event, ControlFrame) and event.opcode != Opcode.CLOSE


def _take_pings(held: HeldQueue) -> Iterator[ControlFrame]:
    """Take out the pings and pongs at the beginning of a queue."""
    while held and _is_ping(held[0]):
        yield cast("ControlFrame", held.popleft())
