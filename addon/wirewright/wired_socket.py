"""One socket of the wire, between its layer, its listeners and mitmproxy's other addons."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator, Sequence
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.hooks import UpdateHook
from mitmproxy.websocket import WebSocketMessage

from wirewright.carriers import InjectingCarrier, event_of, new_message, payload_of, proxyserver
from wirewright.lazy_messages import LazyMessages
from wirewright.model.history import HistoryLimit, Payload
from wirewright.model.websocket import Feed
from wirewright.neighbours import Hook, OtherAddons, await_hooks, call_hooks
from wirewright.wire.layer import DecidedEvent
from wirewright.wire.observing import UNDECIDED, Decided, Decision, Demand
from wirewright.wire.stream import content_of
from wirewright.wire.unread import Unread

logger = logging.getLogger(__name__)

UPDATE_SECONDS = 0.1
"""A user interface is told no more often that messages have passed."""


class WiredSocket(InjectingCarrier):
    """The wire's observer: what passes is reported here, and what is held is offered to the other addons."""

    def __init__(
        self, flow: http.HTTPFlow, limit: HistoryLimit, max_message: int, addons: OtherAddons
    ) -> None:
        super().__init__(flow, limit)
        self.max_message = max_message
        self._limit = limit
        self._addons = addons
        self._feed: Feed | None = None
        self._seen = 0
        """How many messages of the socket's history are in mitmproxy's list, or have been."""
        self._deciding: asyncio.Task[None] | None = None
        """What sees to the newest of the messages that could not be decided at once."""
        self._demands: dict[bool, Demand] = {}
        self._demand_state = (0, 0)
        """Of what `_demands` were made."""
        self._told_too_large = False
        self._update_handle: asyncio.TimerHandle | None = None

    def start(self, feed: Feed) -> None:
        """The socket is open: mitmproxy's list of its messages is filled when somebody looks at it."""
        assert self.flow.websocket is not None
        self._feed = feed
        self.flow.websocket.messages = LazyMessages(self._catch_up)

    def end(self, feed: Feed) -> None:
        assert self.flow.websocket is not None
        self.flow.websocket.messages = list(self.flow.websocket.messages)
        if self._update_handle is not None:
            self._update_handle.cancel()
        if self._deciding is not None:
            self._deciding.cancel()

    # What the wire asks, and tells

    def demand(self, *, from_client: bool) -> Demand:
        feed = self._feed
        assert feed is not None
        state = (self._addons.refresh(), feed.listeners_version)
        if state != self._demand_state:
            self._demand_state = state
            self._demands = {direction: self._new_demand(feed, direction) for direction in (True, False)}
        return self._demands[from_client]

    def _new_demand(self, feed: Feed, from_client: bool) -> Demand:
        addons = self._addons
        # Whoever waits for the socket's failure is told of bad text, too, for which it must be read.
        listened = feed.is_heard(event_of(from_client)) or feed.is_heard("socketerror")
        heard = listened or addons.keep_all or addons.dumper is not None
        remembered = min(self._limit.size, self.max_message) if self._limit.messages else 0
        return Demand(addons.may_change, self.max_message if heard else remembered, heard)

    def offer(self, payload: Payload, *, from_client: bool, injected: bool) -> Decision:
        message = new_message(payload, from_client=from_client, injected=injected)
        if self._deciding is not None:
            # The other addons find a message as the newest one of its flow: one at a time.
            return self._decide_later(self._offer_after(self._deciding, message))
        hooks = self._begin(message)
        waiting = call_hooks(hooks, self.flow)
        if waiting is not None or self.flow.intercepted:
            return self._decide_later(self._await_decision(message, waiting, hooks))
        return self._settle(message)

    def passed(self, payloads: Sequence[Payload], *, from_client: bool, injected: bool) -> None:
        if self._feed is None:
            return
        event = event_of(from_client)
        if self._addons.keep_all or self._addons.dumper or injected:
            self._record(payloads, from_client, injected)
            self._feed.frames(event, payloads)
            self._seen = self._feed.history.total
        else:
            self._feed.frames(event, payloads)
        self._update_soon()

    def passed_unheard(self, messages: Unread, *, from_client: bool) -> None:
        if self._feed is not None:
            self._feed.unheard(event_of(from_client), messages)
            self._update_soon()

    def too_large(self, *, from_client: bool) -> None:
        if self._demands[from_client].limit < self.max_message or self._told_too_large:
            return
        self._told_too_large = True
        logger.warning(
            "%s: a message is larger than ws_max_message (%d bytes): it passes, and is not read",
            self.flow.request.pretty_url,
            self.max_message,
        )

    def failed(self, message: str) -> None:
        if self._feed is not None:
            self._feed.failed(message)

    # Held messages

    def _begin(self, message: WebSocketMessage) -> Iterator[Hook]:
        """Show a message to whom it may concern; the hooks that are to be called for it."""
        if not message.from_client:
            self._report(message)
        self._store(message)
        return iter(self._addons.hooks)

    def _settle(self, message: WebSocketMessage) -> Payload | None:
        """All have had their say: what is sent on."""
        if message.dropped:
            return None
        if message.from_client:
            self._report(message)
        self._update_soon()
        return payload_of(message)

    def _decide_later(self, decision: Coroutine[Any, Any, None]) -> Decision:
        assert self._feed is not None
        self._deciding = deciding = self._feed.run(decision)
        deciding.add_done_callback(self._decided)
        return UNDECIDED

    def _decided(self, deciding: asyncio.Task[None]) -> None:
        if self._deciding is deciding:
            self._deciding = None

    async def _offer_after(self, before: asyncio.Task[None], message: WebSocketMessage) -> None:
        await asyncio.wait([before])
        hooks = self._begin(message)
        await self._await_decision(message, call_hooks(hooks, self.flow), hooks)

    async def _await_decision(
        self, message: WebSocketMessage, waiting: Awaitable[Any] | None, hooks: Iterator[Hook]
    ) -> None:
        connection = proxyserver().connections[self.flow.client_conn.id]
        # mitmproxy cuts connections on which nothing happens, but not while an addon takes its time.
        with connection.timeout_watchdog.disarm():
            await await_hooks(waiting, hooks, self.flow)
            if self.flow.intercepted:
                self._update()
                await self.flow.wait_for_resume()
        self.inject(DecidedEvent(self.flow, Decided(message.from_client, self._settle(message))))

    def _report(self, message: WebSocketMessage) -> None:
        assert self._feed is not None
        self._lazy_messages.catch_up()
        self._feed.frame(event_of(message.from_client), payload_of(message), len(message.content))
        self._seen = self._feed.history.total  # it is, or will be, in mitmproxy's list already

    # mitmproxy's list of messages

    @property
    def _lazy_messages(self) -> LazyMessages:
        messages = self.messages
        assert isinstance(messages, LazyMessages)
        return messages

    def _record(self, payloads: Sequence[Payload], from_client: bool, injected: bool) -> None:
        """Put messages into mitmproxy's list, and have mitmdump print them if it does."""
        for payload in payloads:
            self._store(new_message(payload, from_client=from_client, injected=injected))
            if self._addons.dumper:
                self._addons.dumper.websocket_message(self.flow)

    def _store(self, message: WebSocketMessage) -> None:
        self.messages.append(message)
        if not self._addons.keep_all:
            self.trim(len(message.content))

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

    # User interfaces

    def _update_soon(self) -> None:
        if self._addons.is_viewed and self._update_handle is None:
            self._update_handle = ctx.master.event_loop.call_later(UPDATE_SECONDS, self._update)

    def _update(self) -> None:
        if self._update_handle is not None:
            self._update_handle.cancel()
            self._update_handle = None
        ctx.master.addons.trigger(UpdateHook([self.flow]))
