"""mitmproxy's WebSocket layer, which can also be told to close."""

import time
from dataclasses import dataclass

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import websocket
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection


@dataclass(frozen=True)
class Close:
    """A close frame that the proxy itself sends to both sides."""

    code: int
    reason: str


class CloseInjected(events.MessageInjected[Close]):
    """Somebody asked the proxy to close a socket."""


class HooksLayer(websocket.WebsocketLayer):
    """The hooks lane: messages are relayed by mitmproxy's own code and reported by its hooks.

    What mitmproxy lacks is a way to close a socket from outside.
    """

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, CloseInjected):
            yield from self._close(event.message)
        else:
            yield from super().relay_messages(event)

    def done(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, CloseInjected):
            yield from super().done(event)

    def _close(self, close: Close) -> layer.CommandGenerator[None]:
        assert self.flow.websocket is not None
        self.flow.websocket.timestamp_end = time.time()
        self.flow.websocket.close_code = close.code
        self.flow.websocket.close_reason = close.reason
        for end in (self.server_ws, self.client_ws):
            if end.state in {ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING}:
                yield end.send2(CloseConnection(close.code, close.reason))
            yield commands.CloseConnection(end.conn)
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done


_stock_layer = websocket.WebsocketLayer


def install() -> None:
    """New sockets get our layer. mitmproxy's HTTP layer looks the class up in its module."""
    websocket.WebsocketLayer = HooksLayer  # type: ignore[misc]


def uninstall() -> None:
    """New sockets get mitmproxy's own layer again."""
    websocket.WebsocketLayer = _stock_layer  # type: ignore[misc]
