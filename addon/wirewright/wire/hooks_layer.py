"""The hooks lane: mitmproxy's own WebSocket layer, with what it lacks."""

import time

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import websocket
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection
from wsproto.frame_protocol import CloseReason

from wirewright.wire.told import Aborted, CloseInjected


class HooksLayer(websocket.WebsocketLayer):
    """Messages are relayed by mitmproxy's own code and reported by its hooks.

    Two things are other than there: a socket can be closed or cut from outside, and a TCP connection that is
    lost on one side is lost on the other, where mitmproxy makes a clean close 1000 of it.
    """

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, CloseInjected):
            yield from self._end(CloseConnection(event.message.code, event.message.reason), None)
        elif isinstance(event, Aborted):
            yield from self._end(None, None)
        elif isinstance(event, events.ConnectionClosed):
            # After a close frame the layer is `done`, so there was none.
            yield from self._end(None, event.connection is self.context.client)
        else:
            yield from super().relay_messages(event)

    def done(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, (Aborted, CloseInjected)):
            yield from super().done(event)

    def _end(
        self, close: CloseConnection | None, closed_by_client: bool | None
    ) -> layer.CommandGenerator[None]:
        """End both connections, after this close frame if there is one."""
        assert self.flow.websocket is not None
        self.flow.websocket.timestamp_end = time.time()
        self.flow.websocket.closed_by_client = closed_by_client
        self.flow.websocket.close_code = close.code if close else CloseReason.ABNORMAL_CLOSURE
        self.flow.websocket.close_reason = close.reason if close else None
        for end in (self.server_ws, self.client_ws):
            if close and end.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
                yield end.send2(close)
            yield commands.CloseConnection(end.conn)
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done
