"""What carries a socket's messages inside mitmproxy, and can be asked to send."""

import asyncio
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.events import MessageInjected
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage

from wirewright.model.errors import Error
from wirewright.model.history import HistoryLimit, Payload, Window
from wirewright.model.websocket import Feed, FrameEvent
from wirewright.wire import installing
from wirewright.wire.stream import Close, content_of
from wirewright.wire.told import Aborted, CloseInjected


class InjectingCarrier:
    """Sends by telling the layer of a socket, from whatever thread, in the order of the calls."""

    def __init__(self, flow: http.HTTPFlow) -> None:
        self.flow = flow

    def end(self, feed: Feed) -> None:
        """Nothing follows."""

    def send(self, payload: Payload, *, to_client: bool) -> None:
        message = new_message(payload, from_client=not to_client)
        self.inject(WebSocketMessageInjected(self.flow, message))

    def close(self, code: int, reason: str) -> None:
        if not installing.is_installed():
            raise Error("this mitmproxy cannot close a socket from outside: see its warning at the start")
        self.inject(CloseInjected(self.flow, Close(code, reason)))

    def abort(self) -> None:
        if not installing.is_installed():
            raise Error("this mitmproxy cannot cut a socket from outside: see its warning at the start")
        self.inject(Aborted(self.flow, None))

    def inject(self, event: MessageInjected[Any]) -> None:
        """Have the layer handle an event. Raises Error if its connection is gone."""
        loop = ctx.master.event_loop
        if running_loop() is not loop:
            loop.call_soon_threadsafe(self.inject, event)
            return
        try:
            proxyserver().inject_event(event)
        except ValueError:
            raise Error("Socket closed") from None


class HookedSocket(InjectingCarrier):
    """One socket of the hooks lane: what mitmproxy's hooks tell of it."""

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit) -> None:
        super().__init__(flow)
        self._kept = Window(limit)
        self._undecided: WebSocketMessage | None = None

    def message(self, feed: Feed) -> None:
        """The newest message of the flow is on its way.

        What the server sent is reported as it came. What the app sent is reported as it goes on, which is
        known only when every other addon had its say: see `message_decided`.
        """
        self.flush(feed)
        assert self.flow.websocket is not None
        messages = self.flow.websocket.messages
        message = messages[-1]
        if message.from_client:
            self._undecided = message
        else:
            self._report(feed, message)
        if not (ctx.options.save_stream_file or ctx.options.hardump):
            self._kept.push(len(message.content))
            trim(messages, self._kept)

    def message_decided(self, feed: Feed) -> None:
        """mitmproxy triggers `update` when all addons have seen the message; it may be held even then."""
        if not self.flow.intercepted:
            self.flush(feed)
        elif self._undecided is not None:
            feed.run(self._once_resumed(feed, self._undecided))

    async def _once_resumed(self, feed: Feed, message: WebSocketMessage) -> None:
        await self.flow.wait_for_resume()
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

    def _report(self, feed: Feed, message: WebSocketMessage) -> None:
        feed.frame(event_of(message.from_client), payload_of(message), len(message.content))


def proxyserver() -> Proxyserver:
    """mitmproxy's addon that owns the ports and the connections."""
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    return server


def trim(messages: list[WebSocketMessage], kept: Window) -> None:
    """Drop the oldest messages beyond what is to be kept; the newest stays, as others find it with `[-1]`."""
    surplus = list.__len__(messages) - max(1, len(kept))
    if surplus > 0:  # somebody else may have taken some out
        del messages[:surplus]


def new_message(payload: Payload, *, from_client: bool, injected: bool = False) -> WebSocketMessage:
    """A message as mitmproxy has it."""
    opcode, content = content_of(payload)
    return WebSocketMessage(opcode, from_client, content, injected=injected)


def payload_of(message: WebSocketMessage) -> Payload:
    """Its payload; broken text is mended as mitmproxy does it."""
    return message.content.decode(errors="replace") if message.is_text else message.content


def event_of(from_client: bool) -> FrameEvent:
    """The event that tells of a message."""
    return "framesent" if from_client else "framereceived"


def running_loop() -> asyncio.AbstractEventLoop | None:
    """That of the caller, or None in a thread without one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
