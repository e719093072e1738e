"""What carries a socket's messages inside mitmproxy, and can be asked to send."""

from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.events import MessageInjected
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from wirewright.model.errors import Error
from wirewright.model.history import HistoryLimit, Payload, Window
from wirewright.model.websocket import Feed
from wirewright.wire import layer


class HookedSocket:
    """One socket of the hooks lane: what mitmproxy keeps of it, and how to send through mitmproxy."""

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit) -> None:
        self._flow = flow
        self._kept = Window(limit)
        self._undecided: WebSocketMessage | None = None

    def message(self, feed: Feed) -> None:
        """The newest message of the flow is on its way.

        What the server sent is reported as it came. What the app sent is reported as it goes on, which is
        known only when every other addon had its say: see `message_decided`.
        """
        self.flush(feed)
        assert self._flow.websocket is not None
        message = self._flow.websocket.messages[-1]
        if message.from_client:
            self._undecided = message
        else:
            feed.frame("framereceived", _payload(message), len(message.content))
        if not (ctx.options.save_stream_file or ctx.options.hardump):
            self._trim(len(message.content))

    def message_decided(self, feed: Feed) -> None:
        """mitmproxy triggers `update` when all addons have seen the message; it may be held even then."""
        if not self._flow.intercepted:
            self.flush(feed)
        elif self._undecided is not None:
            feed.run(self._once_resumed(feed, self._undecided))

    async def _once_resumed(self, feed: Feed, message: WebSocketMessage) -> None:
        await self._flow.wait_for_resume()
        if self._undecided is message:
            self.flush(feed)

    def flush(self, feed: Feed) -> None:
        """Report the message from the app that was waiting, unless it was dropped."""
        message, self._undecided = self._undecided, None
        if message is not None and not message.dropped:
            feed.frame("framesent", _payload(message), len(message.content))

    def send(self, payload: Payload, *, to_client: bool) -> None:
        opcode, content = (
            (Opcode.TEXT, payload.encode()) if isinstance(payload, str) else (Opcode.BINARY, payload)
        )
        self._inject(WebSocketMessageInjected(self._flow, WebSocketMessage(opcode, not to_client, content)))

    def close(self, code: int, reason: str) -> None:
        self._inject(layer.CloseInjected(self._flow, layer.Close(code, reason)))

    def _inject(self, event: MessageInjected[Any]) -> None:
        try:
            proxyserver().inject_event(event)
        except ValueError:
            raise Error("Socket closed") from None

    def _trim(self, size: int) -> None:
        # The newest one stays in any case: the other addons find it with `messages[-1]`.
        assert self._flow.websocket is not None
        self._kept.push(size)
        messages = self._flow.websocket.messages
        del messages[: len(messages) - max(1, len(self._kept))]


def proxyserver() -> Proxyserver:
    """mitmproxy's addon that owns the ports and the connections."""
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    return server


def _payload(message: WebSocketMessage) -> Payload:
    return message.content.decode(errors="replace") if message.is_text else message.content
