"""What carries a socket's messages inside mitmproxy, and can be asked to send."""

import logging
import time
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addonmanager import traverse
from mitmproxy.addons.dumper import Dumper
from mitmproxy.addons.intercept import Intercept
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.events import MessageInjected
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from wirewright.model.errors import Error
from wirewright.model.history import HistoryLimit, Payload, Window
from wirewright.model.websocket import Feed, FrameEvent
from wirewright.state import control
from wirewright.wire.hooks_layer import Close, CloseInjected
from wirewright.wire.stream import content_of

logger = logging.getLogger(__name__)

WIREWRIGHT = "wirewright"
"""The name of our own addon among mitmproxy's."""
LOOK_AGAIN = 0.5
"""Seconds after which a socket notices that an addon came or went."""


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
        self._inject(CloseInjected(self._flow, Close(code, reason)))

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


class WiredSocket(HookedSocket):
    """One socket of the wire. What is held goes through the hooks, what passes is reported here."""

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit, max_message: int) -> None:
        super().__init__(flow, limit)
        self.max_message = max_message
        self._limit = limit
        self._addons = OtherAddons()
        self._told_too_large = False

    def wanted(self, *, from_client: bool) -> int:
        feed = control.feed(self._flow.id)
        if feed is not None and feed.is_heard(_event(from_client)):
            return self.max_message
        if self._addons.keep_all or self._addons.dumper:
            return self.max_message
        return min(self._limit.size, self.max_message) if self._limit.messages else 0

    def holds(self, *, from_client: bool) -> bool:
        self._addons.refresh()
        return self._addons.may_change

    def messages(self, payloads: list[Payload], *, from_client: bool, injected: bool) -> None:
        if (feed := control.feed(self._flow.id)) is None:
            return
        feed.frames(_event(from_client), payloads)
        self._record(feed, payloads, from_client, injected)

    def too_large(self, *, from_client: bool) -> None:
        if self.wanted(from_client=from_client) < self.max_message or self._told_too_large:
            return
        self._told_too_large = True
        logger.warning(
            "%s: a message is larger than ws_max_message (%d bytes); it passes, but is not read",
            self._flow.request.pretty_url,
            self.max_message,
        )

    def failed(self, message: str) -> None:
        if feed := control.feed(self._flow.id):
            feed.failed(message)

    def _record(self, feed: Feed, payloads: list[Payload], from_client: bool, injected: bool) -> None:
        """Have mitmproxy's own list, and mitmdump's own printing, as they would be without us."""
        assert self._flow.websocket is not None
        for payload in payloads:
            opcode, content = content_of(payload)
            message = WebSocketMessage(int(opcode), from_client, content, injected=injected)
            self._flow.websocket.messages.append(message)
            if self._addons.dumper:
                self._addons.dumper.websocket_message(self._flow)
            if not self._addons.keep_all:
                self._trim(len(content))


class OtherAddons:
    """What the other addons of this mitmproxy want of WebSocket messages. They come and go with scripts."""

    may_change: bool
    """One has a hook that may change or drop a message, or intercepts."""
    keep_all: bool
    """mitmproxy is asked to save whole flows."""
    dumper: Dumper | None
    """mitmdump's own printing, if it prints messages."""

    def __init__(self) -> None:
        self._looked_at = -LOOK_AGAIN
        self.refresh()

    def refresh(self) -> None:
        """Look again, but not for each message."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_AGAIN:
            return
        self._looked_at = now
        options = ctx.options
        self.keep_all = bool(options.save_stream_file or options.hardump)
        self.dumper, self.may_change = None, False
        for addon in traverse(ctx.master.addons.chain):
            if not callable(getattr(addon, "websocket_message", None)):
                continue
            if isinstance(addon, Dumper):
                self.dumper = addon if options.flow_detail else None
            elif isinstance(addon, Intercept):
                self.may_change |= bool(options.intercept and options.intercept_active)
            elif getattr(addon, "name", None) != WIREWRIGHT:
                self.may_change = True


def proxyserver() -> Proxyserver:
    """mitmproxy's addon that owns the ports and the connections."""
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    return server


def _payload(message: WebSocketMessage) -> Payload:
    return message.content.decode(errors="replace") if message.is_text else message.content


def _event(from_client: bool) -> FrameEvent:
    return "framesent" if from_client else "framereceived"
