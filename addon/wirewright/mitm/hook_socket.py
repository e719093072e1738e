"""One socket of the hooks lane, between mitmproxy's layer, its listeners and its route."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage

from wirewright.mitm.connection_ends import await_handler
from wirewright.mitm.flow_socket import (
    FlowSocket,
    check_our_layer,
    direction_of,
    new_message,
    payload_of,
    trim,
)
from wirewright.mitm.layers.events import Aborted, CloseInjected, OrderInjected
from wirewright.mitm.patches import installation
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit, Window
from wirewright.printable import get_logger, shown_url
from wirewright.values import Conditions, Direction, Payload
from wirewright.wire.observer import Order
from wirewright.wire.stream import Close

logger = get_logger(__name__)


class HookSocket(FlowSocket):
    """Reports the messages of mitmproxy's hooks, and injects the messages of a route."""

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit, why_hooks: str) -> None:
        """`why_hooks` says why mitmproxy's own layer carries the socket."""
        super().__init__(flow)
        self._kept = Window(limit)
        self._why_hooks = why_hooks
        self._unsettled: WebSocketMessage | None = None
        """The newest message, until all addons have seen it."""
        self._in_hand: WebSocketMessage | None = None
        """The message that a route's handler has been given: what it sends on first takes its place."""
        self._under_way: list[OrderInjected] = []
        """The orders of the route that mitmproxy has not called a hook for yet."""

    def opened(self) -> list[Order]:
        for order in super().opened():
            self._carry_out(order)
        return []

    def message(self, feed: Feed) -> Awaitable[None] | None:
        """Handle the newest message of the flow. Returns an awaitable that must end before it is forwarded.

        Messages of the server are reported as they came. Messages of the app are reported as they are
        forwarded. That is known only after all other addons were called: see `message_decided`.
        """
        self.flush(feed)
        assert self.flow.websocket is not None
        messages = self.flow.websocket.messages
        message = messages[-1]
        is_ordered = self._is_ordered()
        if feed.is_recorded:
            feed.offered(payload_of(message), direction=direction_of(message))
        self._unsettled = message
        if not message.from_client and not is_ordered:
            self._report(feed, message)
        if not (ctx.options.save_stream_file or ctx.options.hardump):
            self._kept.add(len(message.content))
            trim(messages, self._kept)
        side = self._side(direction_of(message))
        if message.injected or message.dropped or side is None or not side.handles_messages:
            return None
        message.drop()
        self._in_hand = message
        handling = side.receive(payload_of(message))
        if handling is not None:
            return self._await_handler(feed.run(handling))
        self._in_hand = None
        return None

    def fail_closed(self, reason: str) -> None:
        """After an error: drop the newest message and cut the socket if a route handles its messages."""
        assert self.flow.websocket is not None
        message = self.flow.websocket.messages[-1]
        side = self._side(direction_of(message))
        if side is not None and side.handles_messages and not message.injected:
            logger.warning("%s: the WebSocket is cut: %s", shown_url(self.flow.request.pretty_url), reason)
            message.drop()
            self.tell(Aborted(self.flow, reason))

    async def _await_handler(self, handler: asyncio.Task[Any]) -> None:
        await await_handler(self.flow, handler)
        self._in_hand = None

    def message_decided(self, feed: Feed) -> None:
        """mitmproxy triggers `update` when all addons have seen the message; it may be held even then."""
        if self._in_hand is not None:
            return
        if not self.flow.intercepted:
            self.flush(feed)
        elif self._unsettled is not None:
            feed.run(self._once_resumed(feed, self._unsettled))

    async def _once_resumed(self, feed: Feed, message: WebSocketMessage) -> None:
        await self.flow.wait_for_resume()
        if message is self._unsettled:
            self.flush(feed)

    def flush(self, feed: Feed) -> None:
        """All addons have seen the newest message: report it if it is from the app and was not dropped."""
        message, self._unsettled = self._unsettled, None
        if message is None:
            return
        if message.from_client and not message.dropped:
            self._report(feed, message)
        if feed.is_recorded:
            payload = None if message.dropped else payload_of(message)
            feed.settled(payload, direction=direction_of(message), injected=message.injected)

    def end(self, feed: Feed) -> None:
        self.flush(feed)

    def _report(self, feed: Feed, message: WebSocketMessage) -> None:
        feed.frames(direction_of(message).event, [payload_of(message)])

    # Routes

    def check_can(self, what: str) -> None:
        raise Error(f"{what} needs Wirewright's own layer, and {self._why_hooks}")

    def order_close(self, code: int, reason: str, *, direction: Direction) -> None:
        check_our_layer("close")  # and it closes both sides at once
        super().order_close(code, reason, direction=direction)

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> None:
        self.check_can("conditions()")

    def _carry_out(self, order: Order) -> None:
        ours = order.ours
        if isinstance(ours, Close):
            self.tell(CloseInjected(self.flow, ours))
        elif isinstance(ours, (str, bytes)) and not self._takes_its_place(ours, direction=order.direction):
            if installation.is_installed():
                ordered = OrderInjected(self.flow, order)
                self._under_way.append(ordered)
                self.tell(ordered)
            else:
                message = new_message(ours, direction=order.direction)
                self.tell(WebSocketMessageInjected(self.flow, message))

    def _takes_its_place(self, ours: Payload, *, direction: Direction) -> bool:
        """True if a message that is sent takes the place of the one that the route's handler has in hand.

        The new message is then sent at the place of the old one, before a close frame that came with it. This
        is not done if earlier messages of the route still wait: it would overtake them.
        """
        replaced, message = self._in_hand, new_message(ours, direction=direction)
        if replaced is None or (replaced.from_client, replaced.type) != (message.from_client, message.type):
            return False
        self._in_hand = None
        if any(ordered.message.direction is direction for ordered in self._under_way):
            return False
        replaced.content, replaced.dropped = message.content, False
        return True

    def _is_ordered(self) -> bool:
        """True if the message of mitmproxy's hook is one that a route has sent."""
        for ordered in self._under_way:
            if ordered.is_relayed:
                self._under_way.remove(ordered)
                return True
        return False
