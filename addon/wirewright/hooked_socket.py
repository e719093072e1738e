"""One socket of the hooks lane, between mitmproxy's layer, its listeners and its route."""

from collections import deque
from collections.abc import Awaitable

from mitmproxy import ctx, http
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage

from wirewright.carriers import InjectingCarrier, event_of, new_message, payload_of, trim
from wirewright.conditions import Conditions
from wirewright.model.errors import Error
from wirewright.model.history import HistoryLimit, Payload, Window
from wirewright.model.websocket import Feed
from wirewright.wire.stream import Close


class HookedSocket(InjectingCarrier):
    """What mitmproxy's hooks tell is reported here, and what a route sends is injected."""

    def __init__(self, flow: http.HTTPFlow, limit: HistoryLimit, why_hooks: str) -> None:
        """`why_hooks` says why mitmproxy's own layer carries the socket."""
        super().__init__(flow)
        self._kept = Window(limit)
        self._why_hooks = why_hooks
        self._undecided: WebSocketMessage | None = None
        self._in_hand: WebSocketMessage | None = None
        """The message that a route's handler has been given: what it sends on first takes its place."""
        self._waiting: list[tuple[bool, Payload | Close]] = []
        """What a route has ordered before the socket is open, and whether the client is to get it."""
        self._ordered: deque[tuple[bool, bytes]] = deque()
        """What a route has sent that mitmproxy has not shown us yet: if as the client, and its content."""

    def opened(self) -> None:
        super().opened()
        waiting, self._waiting = self._waiting, []
        for to_client, ours in waiting:
            self._carry_out(ours, to_client=to_client)

    def message(self, feed: Feed) -> Awaitable[None] | None:
        """The newest message of the flow is on its way. What is to be awaited before it goes on.

        What the server sent is reported as it came. What the app sent is reported as it goes on, which is
        known only when every other addon had its say: see `message_decided`.
        """
        self.flush(feed)
        assert self.flow.websocket is not None
        messages = self.flow.websocket.messages
        message = messages[-1]
        is_ordered = self._is_ordered(message)
        if message.from_client:
            self._undecided = message
        elif not is_ordered:
            self._report(feed, message)
        if not (ctx.options.save_stream_file or ctx.options.hardump):
            self._kept.push(len(message.content))
            trim(messages, self._kept)
        side = self._side(message.from_client)
        if message.injected or side is None or not side.handles_messages:
            return None
        message.drop()
        self._in_hand = message
        handling = side.receive(payload_of(message))
        if handling is not None:
            return self._await_handler(handling)
        self._in_hand = None
        return None

    async def _await_handler(self, handling: Awaitable[None]) -> None:
        await handling
        self._in_hand = None

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
        self.flush(feed)

    def _report(self, feed: Feed, message: WebSocketMessage) -> None:
        feed.frame(event_of(message.from_client), payload_of(message), len(message.content))

    # Routes

    def check_can(self, what: str) -> None:
        raise Error(f"{what} needs Wirewright's own layer, and {self._why_hooks}")

    def order(self, message: Payload, *, to_client: bool) -> None:
        self._order(message, to_client=to_client)

    def order_close(self, code: int, reason: str, *, to_client: bool) -> None:
        # mitmproxy's layer closes both sides at once.
        self._order(Close(code, reason), to_client=to_client)

    def order_conditions(self, conditions: Conditions, *, to_client: bool) -> None:
        self.check_can("conditions()")

    def handlers_changed(self) -> None:
        """Each message is looked at anyway."""

    def _order(self, ours: Payload | Close, *, to_client: bool) -> None:
        if self._is_open:
            self._carry_out(ours, to_client=to_client)
        else:
            self._waiting.append((to_client, ours))

    def _carry_out(self, ours: Payload | Close, *, to_client: bool) -> None:
        if isinstance(ours, Close):
            self.close(ours.code, ours.reason)
            return
        message, replaced = new_message(ours, from_client=not to_client), self._in_hand
        overtakes = any(from_client is message.from_client for from_client, _ in self._ordered)
        if replaced and (replaced.from_client, replaced.type) == (message.from_client, message.type):
            self._in_hand = None
            if not overtakes:
                replaced.content, replaced.dropped = message.content, False
                return
        self._ordered.append((message.from_client, message.content))
        self.tell(WebSocketMessageInjected(self.flow, message))

    def _is_ordered(self, message: WebSocketMessage) -> bool:
        """Whether a route has sent a message: mitmproxy makes another one of it."""
        shown = (message.from_client, message.content)
        if not message.injected or shown not in self._ordered:
            return False
        while self._ordered.popleft() != shown:
            pass  # another addon has kept us from being shown it
        return True
