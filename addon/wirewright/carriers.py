"""What carries a socket's messages inside mitmproxy, and can be asked to send."""

import asyncio
import logging
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.hooks import UpdateHook
from mitmproxy.proxy.events import MessageInjected
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from wirewright.lazy_messages import LazyMessages
from wirewright.model.errors import Error
from wirewright.model.history import HistoryLimit, Payload, Window
from wirewright.model.websocket import Feed, FrameEvent
from wirewright.neighbours import OtherAddons
from wirewright.wire import layer
from wirewright.wire.hooks_layer import Close, CloseInjected
from wirewright.wire.stream import content_of

logger = logging.getLogger(__name__)

UPDATE_SECONDS = 0.1
"""A user interface is told no more often that messages have passed."""


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
            self._report(feed, message)
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
            self._report(feed, message)

    def end(self, feed: Feed) -> None:
        """Nothing follows."""
        self.flush(feed)

    def send(self, payload: Payload, *, to_client: bool) -> None:
        opcode, content = (
            (Opcode.TEXT, payload.encode()) if isinstance(payload, str) else (Opcode.BINARY, payload)
        )
        self._inject(WebSocketMessageInjected(self._flow, WebSocketMessage(opcode, not to_client, content)))

    def close(self, code: int, reason: str) -> None:
        if not layer.is_installed():
            raise Error("this mitmproxy cannot close a socket from outside: see its warning at the start")
        self._inject(CloseInjected(self._flow, Close(code, reason)))

    def _report(self, feed: Feed, message: WebSocketMessage) -> None:
        feed.frame(_event(message.from_client), _payload(message), len(message.content))

    def _inject(self, event: MessageInjected[Any]) -> None:
        loop = ctx.master.event_loop
        if _running_loop() is not loop:
            loop.call_soon_threadsafe(self._inject, event)
            return
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
        self._feed: Feed | None = None
        self._seen = 0
        self._addons = OtherAddons()
        self._told_too_large = False
        self._update_handle: asyncio.TimerHandle | None = None

    def start(self, feed: Feed) -> None:
        """The socket is open: mitmproxy's list of its messages is filled when somebody looks at it."""
        assert self._flow.websocket is not None
        self._feed = feed
        self._flow.websocket.messages = LazyMessages(self._catch_up)

    def end(self, feed: Feed) -> None:
        super().end(feed)
        assert self._flow.websocket is not None
        self._flow.websocket.messages = list(self._flow.websocket.messages)
        if self._update_handle is not None:
            self._update_handle.cancel()

    def wanted(self, *, from_client: bool) -> int:
        if self._feed is None:
            return 0
        if self._feed.is_heard(_event(from_client)) or self._addons.keep_all or self._addons.dumper:
            return self.max_message
        return min(self._limit.size, self.max_message) if self._limit.messages else 0

    def holds(self, *, from_client: bool) -> bool:
        self._addons.refresh()
        return self._addons.may_change

    def messages(self, payloads: list[Payload], *, from_client: bool, injected: bool) -> None:
        if self._feed is None:
            return
        if self._addons.keep_all or self._addons.dumper or injected:
            self._record(payloads, from_client, injected)
            self._feed.frames(_event(from_client), payloads)
            self._seen = self._feed.history.total
        else:
            self._feed.frames(_event(from_client), payloads)
        if self._addons.is_viewed and self._update_handle is None:
            loop = ctx.master.event_loop
            self._update_handle = loop.call_later(UPDATE_SECONDS, self._update)

    def too_large(self, *, from_client: bool) -> None:
        if self.wanted(from_client=from_client) < self.max_message or self._told_too_large:
            return
        self._told_too_large = True
        logger.warning(
            "%s: a message is larger than ws_max_message (%d bytes): it passes, and is not read",
            self._flow.request.pretty_url,
            self.max_message,
        )

    def failed(self, message: str) -> None:
        if self._feed is not None:
            self._feed.failed(message)

    def _report(self, feed: Feed, message: WebSocketMessage) -> None:
        super()._report(feed, message)
        self._seen = feed.history.total  # the hooks have put it into mitmproxy's list already

    def _record(self, payloads: list[Payload], from_client: bool, injected: bool) -> None:
        """Put messages into mitmproxy's list, and have mitmdump print them if it does."""
        assert self._flow.websocket is not None
        for payload in payloads:
            opcode, content = content_of(payload)
            message = WebSocketMessage(int(opcode), from_client, content, injected=injected)
            self._flow.websocket.messages.append(message)
            if self._addons.dumper:
                self._addons.dumper.websocket_message(self._flow)
            if not self._addons.keep_all:
                self._trim(len(content))

    def _catch_up(self, messages: list[WebSocketMessage]) -> None:
        """Add what has passed since somebody looked last, as far as the socket remembers it."""
        if self._feed is None:
            return
        history = self._feed.history
        frames, self._seen = history.since(self._seen), history.total
        for frame in frames:
            opcode, content = content_of(frame.payload)
            sent = frame.event == "framesent"
            messages.append(WebSocketMessage(int(opcode), sent, content, frame.timestamp))
            self._kept.push(len(content))
        if frames:
            del messages[: len(messages) - max(1, len(self._kept))]

    def _update(self) -> None:
        self._update_handle = None
        ctx.master.addons.trigger(UpdateHook([self._flow]))


def proxyserver() -> Proxyserver:
    """mitmproxy's addon that owns the ports and the connections."""
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    return server


def _payload(message: WebSocketMessage) -> Payload:
    return message.content.decode(errors="replace") if message.is_text else message.content


def _event(from_client: bool) -> FrameEvent:
    return "framesent" if from_client else "framereceived"


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
