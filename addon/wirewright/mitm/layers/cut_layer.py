"""The layer of a WebSocket that must not open: it closes both connections and forwards nothing."""

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context


class CutLayer(layer.Layer):
    """Closes the connections of the app and of the server. The bytes that they send are dropped."""

    def __init__(self, context: Context, flow: http.HTTPFlow) -> None:
        super().__init__(context)
        self.flow = flow

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            self.flow.live = False
            for connection in (self.context.server, self.context.client):
                if connection.connected:  # the server of a mock is not
                    yield commands.CloseConnection(connection)
