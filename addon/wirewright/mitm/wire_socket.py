"""One socket of the wire, between its layer, its listeners and mitmproxy's other addons."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from mitmproxy import ctx, http
from mitmproxy.hooks import UpdateHook
from mitmproxy.websocket import WebSocketMessage

from wirewright.mitm.flow_messages import MessageList
from wirewright.mitm.flow_socket import FlowSocket, direction_of, new_message, payload_of, proxyserver
from wirewright.mitm.layers.events import DecisionInjected, OrderInjected
from wirewright.mitm.other_addons import Hook, OtherAddons, await_hooks, call_hooks, log_error
from wirewright.model.feed import Feed
from wirewright.model.history import HistoryLimit
from wirewright.printable import get_logger, shown_url
from wirewright.values import Direction, Payload
from wirewright.wire.observer import UNDECIDED, Decision, Demand, LateDecision, Order
from wirewright.wire.reader_events import ControlFrame, LazyBatch

logger = get_logger(__name__)

T = TypeVar("T")

UPDATE_SECONDS = 0.1
"""The least time between two updates of a user interface."""


class WireSocket(FlowSocket):
    """The observer of the wire: reports what has passed, and offers held messages to the other addons."""

    _list: MessageList

    def __init__(
        self, flow: http.HTTPFlow, limit: HistoryLimit, max_message: int, max_held: int, addons: OtherAddons
    ) -> None:
        super().__init__(flow)
        self.max_message, self.max_held = max_message, max_held
        self._limit = limit
        self._addons = addons
        self._demands: dict[Direction, Demand] = {}
        self._demand_version: object = None
        """The versions of addons and listeners for which `_demands` was computed."""
        self._deciding: dict[Direction, asyncio.Task[None]] = {}
        """By direction, the task that decides on a message for which a hook or a user takes time."""
        self._interruptible: set[asyncio.Task[Any]] = set()
        """Those of them that only wait: the end of the socket cancels them."""
        self._ended = False
        self._unanswered: set[Direction] = set()
        """The directions of which a route handles a message, and has not sent anything on for it."""
        self._told_too_large = False
        self._update_handle: asyncio.TimerHandle | None = None

    def start(self, feed: Feed) -> None:
        """The handshake has succeeded: messages may come."""
        self._feed = feed
        self._list = MessageList(self.flow, self._limit, feed.history)
        self._list.current()
        self.demand(direction=Direction.SENT)  # the first look at the other addons

    def end(self, feed: Feed) -> None:
        self._ended = True
        self._list.close()
        if self._update_handle is not None:
            self._update_handle.cancel()
        for waiting in self._interruptible:
            waiting.cancel()

    # The wire's questions and reports

    def demand(self, *, direction: Direction) -> Demand:
        version = self._addons.refresh(), self._feed.listeners_version
        if version != self._demand_version:
            self._demand_version = version
            self._list.keep_all = self._addons.keep_all
            self._demands = {each: self._new_demand(each) for each in Direction}
        return self._demands[direction]

    def _new_demand(self, direction: Direction) -> Demand:
        addons, feed = self._addons, self._feed
        # Bad text is a `socketerror`, too: messages are read if that event has a listener.
        listened = feed.is_heard(direction.event) or feed.is_heard("socketerror")
        heard = listened or addons.keep_all or addons.dumper is not None
        kept = feed.history.limit
        remembered = min(kept.size, self.max_message) if kept.messages else 0
        side = self._side(direction)
        routed = side is not None and (side.handles_messages or side.handles_close)
        limit = self.max_message if heard or feed.is_recorded else remembered
        return Demand(addons.may_change or routed, limit, heard, routed)

    def offer(
        self, payload: Payload, *, direction: Direction, injected: bool
    ) -> tuple[Decision, Sequence[Order]]:
        before = self._deciding.get(direction.opposite)
        addons = self._addons
        if not (before or addons.hooks or addons.keep_all or self.flow.intercepted):
            self._report_offered(payload, direction=direction, injected=injected, is_stored=False)
            settled = self._with_orders(self._settle, payload, direction, injected, is_stored=False)
        else:
            message = new_message(payload, direction=direction, injected=injected)
            if before:
                # The other addons find a message as the newest one of its flow: one at a time.
                return self._decide_later(message, self._offer_after(before, message, payload)), ()
            hooks = self._begin(message, payload)
            waiting = call_hooks(hooks, self.flow)
            if waiting is not None or self.flow.intercepted:
                return self._decide_later(message, self._await_decision(message, waiting, hooks)), ()
            settled = self._with_orders(self._settle_message, message)
        (decision, handling), orders = settled
        if handling is not None:
            self._feed.run(self._await_handler(direction, handling))
            return UNDECIDED, orders
        return decision, orders

    def handles_close(self, *, direction: Direction) -> bool:
        side = self._side(direction)
        return side is not None and side.handles_close

    def closed(self, code: int, reason: str, *, direction: Direction) -> Sequence[Order]:
        side = self._side(direction)
        assert side is not None
        waiting, orders = self._with_orders(side.closed, code, reason)
        if waiting is not None:
            self._feed.run(waiting)
        return orders

    def passed(self, payloads: Sequence[Payload], *, direction: Direction, injected: bool) -> None:
        self._store(payloads, direction=direction, injected=injected)
        self._feed.passed(payloads, direction=direction, injected=injected)
        self._update_soon()

    def _store(self, payloads: Sequence[Payload], *, direction: Direction, injected: bool) -> None:
        """Put messages that are about to be reported into the flow's list, for other addons."""
        if self._addons.keep_all or self._addons.dumper or injected:
            for payload in payloads:
                self._list.note(payload, direction=direction, injected=injected, is_reported=True)
                if self._addons.dumper:
                    call_hooks(iter([self._addons.dumper.websocket_message]), self.flow)
        else:
            self._list.current()

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        if direction is Direction.SENT and self._answers_the_app:
            return  # a message of the app, which was reported when it arrived
        self._feed.ordered(payload, direction=direction)
        if direction is Direction.SENT or self._answers_the_app:
            self._store([payload], direction=direction, injected=True)
            self._feed.frames(direction.event, [payload])
        else:
            # Events report the messages of the server, and this one is the route's.
            self._list.note(payload, direction=Direction.RECEIVED, injected=True)
        self._update_soon()

    def passed_unread(self, messages: LazyBatch, *, direction: Direction) -> None:
        self._list.current()
        self._feed.passed_unread(messages, direction=direction)
        self._update_soon()

    def too_large(self, *, direction: Direction) -> None:
        self._feed.too_large()
        if self._demands[direction].limit < self.max_message or self._told_too_large:
            return
        self._told_too_large = True
        logger.warning(
            "%s: a message is larger than ws_max_message (%d bytes), or than ws_memory has room for: it "
            "passes, and is not read",
            shown_url(self.flow.request.pretty_url),
            self.max_message,
        )

    def controls(self, frames: Sequence[ControlFrame], *, direction: Direction, injected: bool) -> None:
        reported = [(each.opcode, each.payload) for each in frames]
        self._feed.controls(reported, direction=direction, injected=injected)

    def failed(self, message: str) -> None:
        self._feed.failed(message)

    # Held messages

    def _begin(self, message: WebSocketMessage, payload: Payload) -> Iterator[Hook]:
        """Store and report a message. Returns the hooks to call for it."""
        self._list.store(message)
        self._report_offered(
            payload, direction=direction_of(message), injected=message.injected, is_stored=True
        )
        return iter(self._addons.hooks)

    def _report_offered(
        self, payload: Payload, *, direction: Direction, injected: bool, is_stored: bool
    ) -> None:
        """Report a message of a server. One of an app is reported as it is sent on (`_settle`)."""
        self._feed.offered(payload, direction=direction)
        if direction is Direction.SENT:
            return
        if injected or not self._answers_the_app:
            self._report(payload, direction, injected=injected, is_stored=is_stored)
        elif not is_stored:
            self._list.note(payload, direction=direction, injected=False)

    def _settle_message(self, message: WebSocketMessage) -> tuple[Payload | None, Awaitable[None] | None]:
        """All addons were called. The result is that of `_settle`."""
        direction = direction_of(message)
        if not message.dropped and not isinstance(message.content, bytes):
            log_error(TypeError(f"the content of a message must be bytes, not {message.content!r:.100}"))
            message.drop()
        if message.dropped:
            self._update_soon()
            self._feed.settled(None, direction=direction, injected=message.injected)
            return None, None
        return self._settle(payload_of(message), direction, message.injected, is_stored=True)

    def _settle(
        self, payload: Payload, direction: Direction, injected: bool, *, is_stored: bool
    ) -> tuple[Payload | None, Awaitable[None] | None]:
        """Give a message to the route. Returns the payload to send on, and the work of an async handler.

        `is_stored` tells whether the message is in the flow's list.
        """
        self._update_soon()
        side = self._side(direction)
        is_sent = direction is Direction.SENT
        handled = side is not None and side.handles_messages and not injected
        arrives = is_sent and self._answers_the_app  # at a mock, or at a stand-in for the server
        if is_sent and (arrives or not handled):
            self._report(payload, direction, injected=injected, is_stored=is_stored)
        elif is_sent and not is_stored:
            self._list.note(payload, direction=direction, injected=False)
        if arrives or not handled:
            self._feed.settled(payload, direction=direction, injected=injected)
        if side is None or not handled:
            return payload, None
        self._unanswered.add(direction)
        handling = side.receive(payload)
        if handling is None:
            self._end_handling(direction)
        return None, handling

    def _end_handling(self, direction: Direction) -> None:
        """A route has handled a message: if nothing was sent on for it, it is recorded as dropped."""
        if direction in self._unanswered:
            self._unanswered.discard(direction)
            self._feed.settled(None, direction=direction)

    @property
    def _answers_the_app(self) -> bool:
        return self.route is not None and self.route.answers_the_app

    def _decide_later(self, message: WebSocketMessage, decision: Coroutine[Any, Any, None]) -> Decision:
        direction = direction_of(message)

        def forget(done: asyncio.Task[None]) -> None:
            if self._deciding.get(direction) is done:
                del self._deciding[direction]

        self._deciding[direction] = deciding = self._feed.run(decision)
        deciding.add_done_callback(forget)
        return UNDECIDED

    async def _offer_after(
        self, before: asyncio.Task[None], message: WebSocketMessage, payload: Payload
    ) -> None:
        await self._wait_for(asyncio.wait([before]))
        hooks = self._begin(message, payload)
        await self._await_decision(message, call_hooks(hooks, self.flow), hooks)

    async def _await_decision(
        self, message: WebSocketMessage, waiting: Awaitable[Any] | None, hooks: Iterator[Hook]
    ) -> None:
        connection = proxyserver().connections.get(self.flow.client_conn.id)
        # mitmproxy cuts connections on which nothing happens, but not while an addon takes its time.
        with connection.timeout_watchdog.disarm() if connection else nullcontext():
            await await_hooks(waiting, hooks, self.flow)
            if self.flow.intercepted and not self._ended:
                self._update()
                await self._wait_for(self.flow.wait_for_resume())
        if self._ended:
            return
        payload, handling = self._settle_message(message)
        if handling is not None:
            self._feed.run(self._await_handler(direction_of(message), handling))
        else:
            self.tell(DecisionInjected(self.flow, LateDecision(direction_of(message), payload)))

    async def _await_handler(self, direction: Direction, handling: Awaitable[None]) -> None:
        await handling
        self._end_handling(direction)
        self.tell(DecisionInjected(self.flow, LateDecision(direction, None)))

    async def _wait_for(self, awaitable: Awaitable[Any]) -> None:
        """Wait for something that the end of the socket cancels."""
        task = asyncio.current_task()
        assert task is not None
        self._interruptible.add(task)
        try:
            await awaitable
        finally:
            self._interruptible.discard(task)

    def _report(self, payload: Payload, direction: Direction, *, injected: bool, is_stored: bool) -> None:
        """Report a message. The flow's list gets it from the history, unless it is stored there."""
        if is_stored:
            self._list.skip(1)
        elif injected:
            self._list.note(payload, direction=direction, injected=True, is_reported=True)
        self._feed.frames(direction.event, [payload])

    # Routes

    def check_can(self, what: str) -> None:
        """It can do everything."""

    def _with_orders(
        self, call: Callable[..., T], *arguments: Any, **named: Any
    ) -> tuple[T, Sequence[Order]]:
        """The result of a call, and the orders of a route during it."""
        orders: list[Order] = []
        before, self._collected = self._collected, orders
        try:
            return call(*arguments, **named), orders
        finally:
            self._collected = before

    def _take_order(self, order: Order) -> None:
        if isinstance(order.ours, (str, bytes)):
            self._unanswered.discard(order.direction)
        if self._collected is None:
            self._carry_out(order)
        else:
            self._collected.append(order)

    def _carry_out(self, order: Order) -> None:
        self.tell(OrderInjected(self.flow, order))

    # User interfaces

    def _update_soon(self) -> None:
        if self._addons.is_viewed and self._update_handle is None:
            self._update_handle = ctx.master.event_loop.call_later(UPDATE_SECONDS, self._update)

    def _update(self) -> None:
        if self._update_handle is not None:
            self._update_handle.cancel()
            self._update_handle = None
        self._feed.run(ctx.master.addons.trigger_event(UpdateHook([self.flow])))
