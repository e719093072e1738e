"""The hooks lane: mitmproxy's own WebSocket layer, with what it lacks."""

import time

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.websocket import WebSocketMessage
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection
from wsproto.frame_protocol import CloseReason

from wirewright.mitm.layers.events import Aborted, CloseInjected, OrderInjected
from wirewright.values import Direction
from wirewright.wire.closing_actions import CLOSING_SECONDS
from wirewright.wire.frames import CloseCode
from wirewright.wire.stream import content_of

NO_FRAGMENT = [b""]
"""mitmproxy's buffer of a message's frames while no message has begun."""


class HooksLayer(websocket.WebsocketLayer):
    """Messages are relayed by mitmproxy's own code and reported by its hooks.

    It differs from mitmproxy's layer in four ways. A socket can be closed or cut from outside. If one side
    loses its TCP connection, the other one is cut, too; mitmproxy sends it a close frame 1000. An injected
    message waits for the end of a message of which only some frames have come; mitmproxy joins the two. And
    connections are ended after both ends have answered a close frame. mitmproxy ends them at once: a TCP
    connection that is closed before the peer's answer is read is reset (RFC 9112, 9.6).
    """

    def __init__(self, context: Context, flow: http.HTTPFlow) -> None:
        super().__init__(context, flow)
        self._injections: list[OrderInjected | websocket.WebSocketMessageInjected] = []
        self._unanswered: set[Connection] = set()
        """The ends that have been sent a close frame, and not answered it yet."""
        self._timer: commands.RequestWakeup | None = None

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, CloseInjected):
            code: int = event.message.code
            if code == CloseCode.NO_STATUS:
                code = CloseReason.NO_STATUS_RCVD  # wsproto knows it by its identity
            yield from self._end(CloseConnection(code, event.message.reason), None)
        elif isinstance(event, Aborted):
            yield from self._end(None, None, event.message)
        elif isinstance(event, events.ConnectionClosed):
            # After a close frame the layer is `done`, so there was none.
            yield from self._end(None, event.connection is self.context.client)
        elif isinstance(event, (OrderInjected, websocket.WebSocketMessageInjected)):
            self._injections.append(event)
            yield from self._inject()
        else:
            yield from self._relay(event)
            if self._injections:
                yield from self._inject()

    def _relay(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Let mitmproxy relay, but for its ending the connections after a close frame."""
        relaying, reply = super().relay_messages(event), None
        is_closing = False
        while True:
            try:
                command = relaying.send(reply)
            except StopIteration:
                break
            if isinstance(command, commands.CloseConnection):
                is_closing, reply = True, None
            else:
                reply = yield command
        if is_closing:
            assert isinstance(event, events.DataReceived)
            yield from self._await_answers({self.client_ws.conn, self.server_ws.conn} - {event.connection})

    def _await_answers(self, ends: set[Connection]) -> layer.CommandGenerator[None]:
        self._unanswered = ends
        self._timer = commands.RequestWakeup(CLOSING_SECONDS)
        self._handle_event = self.closing
        yield self._timer

    def closing(self, event: events.Event) -> layer.CommandGenerator[None]:
        """End the connections once close frames are answered, or the time for that is up."""
        if isinstance(event, (events.Wakeup, Aborted)):
            self._unanswered.clear()
        elif isinstance(event, events.ConnectionClosed):
            self._unanswered.discard(event.connection)
        elif isinstance(event, events.DataReceived) and event.connection in self._unanswered:
            end = self.client_ws if event.connection is self.client_ws.conn else self.server_ws
            end.receive_data(event.data)
            if any(isinstance(each, CloseConnection) for each in end.events()):
                self._unanswered.discard(event.connection)
        if not self._unanswered:
            self._handle_event = self.done
            for end in (self.server_ws, self.client_ws):
                yield commands.CloseConnection(end.conn)

    def done(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, (Aborted, CloseInjected, OrderInjected, events.Wakeup)):
            yield from super().done(event)

    def _inject(self) -> layer.CommandGenerator[None]:
        """Send what is injected, each as a message of one side that is not in the middle of another."""
        waiting, self._injections = self._injections, []
        for injection in waiting:
            message = _message(injection)
            source = self.client_ws if message.from_client else self.server_ws
            if source.frame_buf != NO_FRAGMENT:
                self._injections.append(injection)
                continue
            if isinstance(injection, OrderInjected):
                injection.is_relayed = True
            yield from super().relay_messages(websocket.WebSocketMessageInjected(self.flow, message))
            if isinstance(injection, OrderInjected):
                injection.is_relayed = False

    def _end(
        self, close: CloseConnection | None, closed_by_client: bool | None, reason: str | None = None
    ) -> layer.CommandGenerator[None]:
        """End both connections, after this close frame, or (without one) for this reason."""
        assert self.flow.websocket is not None
        self.flow.websocket.timestamp_end = time.time()
        self.flow.websocket.closed_by_client = closed_by_client
        self.flow.websocket.close_code = close.code if close else CloseReason.ABNORMAL_CLOSURE
        self.flow.websocket.close_reason = close.reason if close else reason
        for end in (self.server_ws, self.client_ws):
            if close and end.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
                yield end.send2(close)
            if not close:
                yield commands.CloseConnection(end.conn)
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done
        if close:
            yield from self._await_answers({self.client_ws.conn, self.server_ws.conn})


def _message(injection: OrderInjected | websocket.WebSocketMessageInjected) -> WebSocketMessage:
    if isinstance(injection, websocket.WebSocketMessageInjected):
        return injection.message
    ours = injection.message.ours
    assert isinstance(ours, (str, bytes))
    opcode, content = content_of(ours)
    return WebSocketMessage(opcode, injection.message.direction is Direction.SENT, content)
