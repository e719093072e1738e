"""The mitmproxy layer of a WebSocket: feeds the two streams, and sends what comes out of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from logging import WARNING
from typing import Protocol, cast

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.websocket import WebSocketMessage

from wirewright.wire.deflate import Agreement, parse_agreement
from wirewright.wire.frames import CloseCode, Opcode, ProtocolError, decode_close
from wirewright.wire.hooks_layer import CloseInjected, HooksLayer
from wirewright.wire.messages import Control, Event, MessageReader, TooLarge
from wirewright.wire.stream import Encoder, Mode, Received, Stream, content_of

Payload = str | bytes


class Observer(Protocol):
    """Whom the layer asks, and tells."""

    max_message: int
    """The largest message, in bytes, that is read or held."""

    def wanted(self, *, from_client: bool) -> int:
        """The largest message, in bytes, that anyone wants of this direction; 0 if nobody wants any."""

    def holds(self, *, from_client: bool) -> bool:
        """Whether anyone may change the messages of this direction."""

    def messages(self, payloads: list[Payload], *, from_client: bool, injected: bool) -> None:
        """Messages that have passed."""

    def too_large(self, *, from_client: bool) -> None:
        """A message has passed that is larger than what was wanted."""

    def failed(self, message: str) -> None:
        """An end violated the protocol."""


@dataclass
class _Leg:
    """One direction: from where, to where, and how far its closing is."""

    from_client: bool
    source: Connection
    destination: Connection
    stream: Stream
    closed: bool = False
    """Whether its close frame has passed."""
    violated: bool = False


@dataclass
class _End:
    """How the socket ended: by the first close frame, or by a TCP connection that was lost."""

    by_client: bool | None
    code: int = CloseCode.ABNORMAL
    reason: str | None = None


class WireLayer(websocket.WebsocketLayer):
    """PASS and HOLD for the two directions of a socket. It judges nothing that it may pass."""

    def __init__(self, context: Context, flow: http.HTTPFlow, observer: Observer) -> None:
        super().__init__(context, flow)
        self._observer = observer
        self._legs: dict[bool, _Leg] = {}
        self._mocked = False
        self._closing: _End | None = None
        self._ended = False

    def begin(self, _: events.Event) -> layer.CommandGenerator[None]:
        assert self.flow.response is not None
        agreement = parse_agreement(self.flow.response.headers.get("Sec-WebSocket-Extensions", ""))
        if agreement.unknown is not None:
            yield commands.Log(f"WebSocket extension {agreement.unknown!r} is passed on, but not understood.")
        self._mocked = not _has_upstream(self.context)
        self._legs = {from_client: self._leg(agreement, from_client) for from_client in (True, False)}
        yield websocket.WebsocketStartHook(self.flow)
        self._handle_event = self.relay  # type: ignore[method-assign, assignment]

    _handle_event = begin  # mitmproxy's way to change states is to put another method here

    def relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived):
            yield from self._data(self._legs[event.connection is self.context.client], event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._lost(from_client=event.connection is self.context.client)
        elif isinstance(event, websocket.WebSocketMessageInjected):
            yield from self._inject(event.message)
        elif isinstance(event, CloseInjected):
            yield from self._close(event.message.code, event.message.reason)

    def done(self, _: events.Event) -> layer.CommandGenerator[None]:
        yield from ()

    def _leg(self, agreement: Agreement, from_client: bool) -> _Leg:
        ends: tuple[Connection, Connection] = (self.context.client, self.context.server)
        compression = agreement.from_client if from_client else agreement.from_server
        reader = MessageReader(
            masked=from_client, compression=compression, max_message=self._observer.max_message
        )
        if agreement.unknown is not None:
            reader.failure = ProtocolError(f"unknown extension {agreement.unknown}")
        encoder = Encoder(masked=from_client, compression=compression)
        stream = Stream(reader, encoder, shared_window=compression is not None and compression.takeover)
        source, destination = ends if from_client else ends[::-1]
        return _Leg(from_client, source, destination, stream, violated=agreement.unknown is not None)

    def _data(self, leg: _Leg, data: bytes) -> layer.CommandGenerator[None]:
        observer, stream = self._observer, leg.stream
        self._wish(leg)
        holding = Mode.HOLD in (stream.mode, stream.wished)
        stream.reader.limit = (
            observer.max_message if holding else observer.wanted(from_client=leg.from_client)
        )
        received = stream.receive(data)
        if received.mode is Mode.HOLD:
            yield from self._held(leg, received.events)
        else:
            yield from self._passed(leg, received)
        failure = stream.reader.failure
        if failure is not None and not leg.violated:
            yield from self._violation(leg, failure)

    def _wish(self, leg: _Leg) -> None:
        """Have the direction in the mode that the other addons call for now."""
        held = self._observer.holds(from_client=leg.from_client)
        leg.stream.wish(Mode.HOLD if held else Mode.PASS)

    def _passed(self, leg: _Leg, received: Received) -> layer.CommandGenerator[None]:
        for piece in received.forward:
            yield from self._send(leg, piece)
        if leg.stream.reader.only_messages:
            messages = cast("list[Payload]", received.events)
        else:
            messages = [event for event in received.events if isinstance(event, (str, bytes))]
        if messages:
            self._observer.messages(messages, from_client=leg.from_client, injected=False)
        if received.injected:
            self._observer.messages(received.injected, from_client=leg.from_client, injected=True)
        if len(messages) == len(received.events):
            return
        for event in received.events:
            if isinstance(event, TooLarge):
                self._observer.too_large(from_client=leg.from_client)
            elif isinstance(event, Control):
                yield from self._control_passed(leg, event)

    def _control_passed(self, leg: _Leg, control: Control) -> layer.CommandGenerator[None]:
        if control.opcode == Opcode.CLOSE:
            yield from self._close_frame(leg, control.payload)
        elif self._mocked and control.opcode == Opcode.PING:
            answer = self._legs[False].stream.encoder.control(Opcode.PONG, control.payload)
            yield commands.SendData(self.context.client, answer)

    def _held(self, leg: _Leg, received: list[Event]) -> layer.CommandGenerator[None]:
        for event in received:
            if isinstance(event, TooLarge):
                yield from self._violation(leg, ProtocolError("Message too large", CloseCode.TOO_BIG))
                return
            if isinstance(event, Control):
                if event.opcode == Opcode.CLOSE and (broken := _broken_close(event.payload)):
                    yield from self._violation(leg, broken)
                    return
                yield from self._send(leg, leg.stream.encoder.control(event.opcode, event.payload))
                yield from self._control_passed(leg, event)
            else:
                yield from self._offer(leg, event, injected=False)

    def _offer(self, leg: _Leg, payload: Payload, *, injected: bool) -> layer.CommandGenerator[None]:
        """Let the other addons see a held message, and send on what they make of it."""
        assert self.flow.websocket is not None
        opcode, content = content_of(payload)
        message = WebSocketMessage(opcode, leg.from_client, content, injected=injected)
        self.flow.websocket.messages.append(message)
        yield websocket.WebsocketMessageHook(self.flow)
        if not message.dropped:
            changed = message.content
            if opcode == Opcode.TEXT and changed != content:
                changed = changed.decode(errors="replace").encode()  # as mitmproxy mends it
            yield from self._send(leg, leg.stream.encoder.message(opcode, changed))

    def _inject(self, message: WebSocketMessage) -> layer.CommandGenerator[None]:
        leg = self._legs[message.from_client]
        if self._ended or leg.closed or (self._mocked and leg.from_client):
            return
        payload = message.content.decode(errors="replace") if message.is_text else message.content
        self._wish(leg)
        if leg.stream.reader.failure is not None:
            yield commands.Log(
                "A WebSocket message is not sent: nothing fits into what cannot be read.", WARNING
            )
            return
        if leg.stream.mode is Mode.HOLD:
            yield from self._offer(leg, payload, injected=True)
        elif frame := leg.stream.send(payload):
            yield from self._send(leg, frame)
            self._observer.messages([payload], from_client=leg.from_client, injected=True)

    def _close_frame(self, leg: _Leg, payload: bytes) -> layer.CommandGenerator[None]:
        try:
            code, reason = decode_close(payload)
        except ProtocolError as failure:
            yield from self._violation(leg, failure)
            return
        leg.closed = True
        if self._closing is None:
            self._closing = _End(leg.from_client, code, reason)
        if self._mocked:
            yield commands.SendData(
                self.context.client, self._legs[False].stream.encoder.control(Opcode.CLOSE, payload)
            )
            yield from self._lost(from_client=True)
        elif self._legs[not leg.from_client].closed:
            yield from self._end(self._closing)

    def _violation(self, leg: _Leg, failure: ProtocolError) -> layer.CommandGenerator[None]:
        leg.violated = True
        self._observer.failed(failure.message)
        if leg.stream.mode is Mode.HOLD and not leg.closed:
            # What cannot be read cannot be passed on: RFC 6455, 7.1.7. After a close frame it is discarded.
            yield from self._close(failure.code, "")

    def _close(self, code: int, reason: str) -> layer.CommandGenerator[None]:
        """Close both sides with a frame of ours, where one fits."""
        if self._ended:
            return
        for leg in self._legs.values():
            if not leg.closed and (frame := leg.stream.close(code, reason)):
                yield from self._send(leg, frame)
        self._closing = self._closing or _End(None, code, reason)
        yield from self._lost(from_client=None)

    def _lost(self, *, from_client: bool | None) -> layer.CommandGenerator[None]:
        """End both TCP connections, as one is lost or the proxy itself closes."""
        self._handle_event = self.done  # type: ignore[method-assign]
        if not self._mocked:
            yield commands.CloseConnection(self.context.server)
        yield commands.CloseConnection(self.context.client)
        if not self._ended:
            yield from self._end(self._closing or _End(from_client))

    def _end(self, end: _End) -> layer.CommandGenerator[None]:
        assert self.flow.websocket is not None
        self._ended = True
        self.flow.websocket.timestamp_end = time.time()
        self.flow.websocket.closed_by_client = end.by_client
        self.flow.websocket.close_code = end.code
        self.flow.websocket.close_reason = end.reason
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False

    def _send(self, leg: _Leg, data: bytes) -> layer.CommandGenerator[None]:
        if not (self._mocked and leg.from_client):
            yield commands.SendData(leg.destination, data)


def _broken_close(payload: bytes) -> ProtocolError | None:
    try:
        decode_close(payload)
    except ProtocolError as failure:
        return failure
    return None


def _has_upstream(context: Context) -> bool:
    """Whether the handshake went to a server: an addon may have answered it in its stead."""
    return any(
        isinstance(below, HttpLayer) and context.server in below.connections for below in context.layers
    )


_stock_layer = websocket.WebsocketLayer


def install(observe: Callable[[http.HTTPFlow], Observer | None]) -> None:
    """New sockets get our layers: the wire's if they have an observer, else mitmproxy's with what it lacks.

    mitmproxy's HTTP layer looks the class up in its module, each time that it needs one.
    """

    def make_layer(context: Context, flow: http.HTTPFlow) -> layer.Layer:
        observer = observe(flow)
        return HooksLayer(context, flow) if observer is None else WireLayer(context, flow, observer)

    websocket.WebsocketLayer = make_layer  # type: ignore[misc, assignment]


def is_installed() -> bool:
    """Whether new sockets get our layers."""
    return websocket.WebsocketLayer is not _stock_layer


def uninstall() -> None:
    """New sockets get mitmproxy's own layer again."""
    websocket.WebsocketLayer = _stock_layer  # type: ignore[misc]
