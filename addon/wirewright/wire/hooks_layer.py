"""The hooks lane: mitmproxy's own WebSocket layer, with what it lacks."""

import time

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.websocket import WebSocketMessage
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection
from wsproto.frame_protocol import CloseReason

from wirewright.wire.frames import CloseCode
from wirewright.wire.stream import content_of
from wirewright.wire.told import Aborted, CloseInjected, Ordered

NO_FRAGMENT = [b""]
"""What mitmproxy has of a message while none has begun."""


class HooksLayer(websocket.WebsocketLayer):
    """Messages are relayed by mitmproxy's own code and reported by its hooks.

    Three things are other than there: a socket can be closed or cut from outside; a TCP connection that is
    lost on one side is lost on the other, where mitmproxy makes a clean close 1000 of it; what is injected
    waits for the end of a message that has come by half, where mitmproxy makes one of both.
    """

    def __init__(self, context: Context, flow: http.HTTPFlow) -> None:
        super().__init__(context, flow)
        self._injections: list[Ordered | websocket.WebSocketMessageInjected] = []

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
        elif isinstance(event, (Ordered, websocket.WebSocketMessageInjected)):
            self._injections.append(event)
            yield from self._inject()
        else:
            yield from super().relay_messages(event)
            if self._injections:
                yield from self._inject()

    def done(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, (Aborted, CloseInjected, Ordered)):
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
            if isinstance(injection, Ordered):
                injection.is_relayed = True
            yield from super().relay_messages(websocket.WebSocketMessageInjected(self.flow, message))
            if isinstance(injection, Ordered):
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
            yield commands.CloseConnection(end.conn)
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done


def _message(injection: Ordered | websocket.WebSocketMessageInjected) -> WebSocketMessage:
    if isinstance(injection, websocket.WebSocketMessageInjected):
        return injection.message
    ours = injection.message.ours
    assert isinstance(ours, (str, bytes))
    opcode, content = content_of(ours)
    return WebSocketMessage(opcode, not injection.message.to_client, content)
