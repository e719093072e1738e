"""The ceiling: mitmproxy with a WebSocket layer that forwards the bytes and does nothing else."""

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket


class ForwardingLayer(layer.Layer):
    def __init__(self, context: Context, flow: http.HTTPFlow) -> None:
        super().__init__(context)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.ConnectionEvent):
            from_client = event.connection is self.context.client
            other = self.context.server if from_client else self.context.client
            if isinstance(event, events.DataReceived):
                yield commands.SendData(other, event.data)
            elif isinstance(event, events.ConnectionClosed):
                yield commands.CloseConnection(other)


def load(_: object) -> None:
    websocket.WebsocketLayer = ForwardingLayer  # type: ignore[assignment,misc]
