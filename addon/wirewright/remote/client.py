"""A client's end of the protocol: a Proxy of its own, made of the same classes, that follows the real one.

Reports of the real proxy become events of this Proxy, and calls of the user become commands. So listeners,
waits, predicates, history and routes' handlers all work in the client's own process.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from wirewright.model import user_errors
from wirewright.model.app_connections import AppsSeen
from wirewright.model.awaitables import is_being_cancelled
from wirewright.model.context_filter import ContextFilter
from wirewright.model.errors import ENDS_THE_PROGRAM, Error
from wirewright.model.feed import Feed
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.matching import UrlMatch
from wirewright.model.origin import Origin
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.route_table import Rule
from wirewright.model.tls_failures import TlsFailure
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.client_carriers import (
    RemoteContexts,
    RemoteHost,
    RemoteRouteCarrier,
    RemoteSocketCarrier,
    describe,
    device_of,
)
from wirewright.remote.client_sender import ClientSender
from wirewright.remote.client_state import RemoteSocket, RemoteState
from wirewright.remote.codec import InvalidMessage, make_codec
from wirewright.remote.connection import Connection, Disconnected
from wirewright.values import DIRECTIONS

logger = get_logger(__name__)

GONE = "Proxy closed"
"""The message of the errors that waits and commands raise after the end."""
LAST_SECONDS = 1.0
"""How long it may take to send what is left at the end."""
WELCOME_SECONDS = 10.0
"""How long the proxy may take for its first message."""


class Client:
    """The connection of a remote client, and the Proxy that follows the one at its other end."""

    def __init__(
        self,
        connection: Connection,
        *,
        route_timeout: float,
        route_fallback: protocol.Fallback,
    ) -> None:
        self.proxy = Proxy(RemoteState(self))
        self._connection = connection
        self._route_timeout, self._route_fallback = route_timeout, route_fallback
        self._codec = make_codec(connection.subprotocol, protocol.FromProxy)
        self.control = Control(self.proxy)
        self._before = self.control.settings()
        self._scope = self.proxy._scope
        self.sender = ClientSender(connection, self._codec, self._scope)
        self.contexts = RemoteContexts(self.sender)
        self._last_rule = 0
        self._rules: dict[int, Rule] = {}
        self._asked: Counter[int] = Counter()
        """By the number of a rule, how many questions it has not answered."""
        self._routes: dict[str, RemoteRouteCarrier] = {}
        self._is_over = False
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(
        self,
        url: UrlMatch | None,
        events: Sequence[protocol.Event],
        context: ContextFilter | None = None,
    ) -> None:
        """Subscribe, to the sockets of a context or to all, and follow what comes.

        Raises Error if the proxy refuses.
        """
        described = describe(url)
        if isinstance(described, protocol.Function):
            raise TypeError("url must be a glob or a regex: the proxy has to know it")
        self._tasks.append(self._scope.start(self.sender.run(), None, self.proxy))
        device = None if context is None else device_of(context)
        self.sender.put(protocol.Subscribe(described, list(events), device))
        try:
            welcome = await asyncio.wait_for(self._receive(), WELCOME_SECONDS)
        except (Disconnected, InvalidMessage, TimeoutError) as error:
            raise Error(f"the proxy did not answer: {error}") from None
        if not isinstance(welcome, protocol.Welcome):
            raise Error("the program at this address is not Wirewright")
        self.control.attach(RemoteHost(self.sender, welcome, self.contexts))
        for socket in welcome.sockets:
            self._open(socket, is_new=False)
        self._tasks.append(self._scope.start(self._follow(), None, self.proxy))

    async def stop(self) -> None:
        """Close the connection once all is sent and its routes are removed; waits end with Error."""
        if not self._is_over:
            with suppress(TimeoutError, Error):
                await asyncio.wait_for(self._take_leave(), LAST_SECONDS)
        await self._connection.close(1000, "")
        await self._end()

    async def _take_leave(self) -> None:
        # A rule that has not answered yet stays: the proxy applies its fallback.
        if removed := self.keep_rules([rule for number, rule in self._rules.items() if self._asked[number]]):
            await removed
        await self.sender.all_sent()

    async def _end(self, message: str = GONE) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.sender.end(message)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._scope.ended_reason = message
        await self.control.end(self._before, message)

    # Messages of the proxy

    async def _follow(self) -> None:
        why = ""
        try:
            while True:
                await self._handle(await self._receive())
        except Disconnected as end:
            why = str(end) if end.code not in (1000, 1001, 1006) else ""
        except InvalidMessage as error:
            why = f"it has sent what it must not: {error}"
            await self._connection.close(error.code, error.reason)
        finally:
            await self._end(f"{GONE}: {why}" if why else GONE)

    async def _receive(self) -> Any:
        while True:
            message = self._codec.decode(await self._connection.receive())
            if message is not None:
                return message

    async def _handle(self, message: Any) -> None:
        match message:
            case protocol.Frames():
                if feed := self.control.feed(message.key):
                    feed.frames(message.event, message.payloads, message.at)
            case protocol.Opening():
                self._open(message.socket, is_new=True)
                # Async `websocket` handlers have run up to their first await before there is a frame.
                await asyncio.sleep(0)
            case protocol.Outside():
                self.control.passed(
                    HandshakeRequest(
                        message.url,
                        origin=Origin(message.client_address, message.proxy_port, message.proxy_user),
                    )
                )
            case protocol.Changed():
                if feed := self.control.feed(message.key):
                    _apply(feed, message)
            case protocol.Missed():
                if feed := self.control.feed(message.key):
                    assert isinstance(feed.socket, RemoteSocket)
                    feed.socket._missed += message.frames
                    feed.missed(message.frames)
            case protocol.Failed():
                if feed := self.control.feed(message.key):
                    feed.failed(message.message)
            case protocol.Closed():
                self.control.close(message.key, message.code, message.reason, message.by, message.at)
            case protocol.RouteOver():
                self._routes.pop(message.key, None)
            case protocol.AppsCounted():
                failures = (
                    TlsFailure(each.at, each.side, each.server_name, each.reason)
                    for each in message.tls_failures
                )
                counts = (message.connections, message.requests, message.at)
                self.sender.apps_seen = AppsSeen(*counts, tuple(failures))
            case protocol.Succeeded() | protocol.Refused():
                self.sender.answered(message)
            case protocol.Asked():
                self._scope.start(self._judge(message), None, self.proxy)
            case protocol.Routed():
                self._scope.start(self._route(message), None, self.proxy)
            case protocol.RouteMessage() | protocol.RouteEnd():
                if carrier := self._routes.get(message.key):
                    self._scope.start(carrier.handle(message), None, self.proxy)
            case protocol.RouteLost():
                if carrier := self._routes.pop(message.key, None):
                    carrier.lost()

    def _open(self, socket: protocol.Snapshot, *, is_new: bool) -> Feed:
        asked = HandshakeRequest(
            socket.url,
            protocol.headers_of(socket.request_headers),
            Origin(socket.client_address, socket.proxy_port, socket.proxy_user),
        )
        limit = self.proxy._running_host().history
        carrier = RemoteSocketCarrier(self.sender, socket.key)
        feed = self.control.open(socket.key, asked, carrier, limit, kind=RemoteSocket, is_new=is_new)
        feed.history.total = socket.forgotten
        for remembered in socket.history:
            feed.history.extend(DIRECTIONS[remembered.event], [remembered.payload], remembered.at)
        _apply(feed, socket)
        return feed

    async def _judge(self, message: protocol.Asked) -> None:
        rule, is_meant = self._rules.get(message.rule), False
        self._asked[message.rule] += 1
        try:
            if rule is not None:
                is_meant = await rule.is_for(message.url)
        finally:
            self._asked[message.rule] -= 1
            self.sender.put(protocol.Verdict(message.question, is_meant))

    async def _route(self, message: protocol.Routed) -> None:
        key, rule = message.socket.key, self._use(message.rule)
        feed = self.control.feed(key) or self._open(message.socket, is_new=False)
        carrier = self._routes[key] = RemoteRouteCarrier(self.sender, key, feed.socket)
        answer: Any = protocol.Fail()
        try:
            if rule is not None:
                answer = await carrier.decide(rule)
        except ENDS_THE_PROGRAM:
            raise
        except BaseException:
            if is_being_cancelled():
                raise  # the client ends
            feed.socket._state.route_errors += 1
            user_errors.report(feed.socket, "a route's handler", sys.exception())
        self.sender.put(protocol.Decided(key, answer))

    def _use(self, number: int) -> Rule | None:
        rule, routes = self._rules.get(number), self.proxy._state.routes
        if rule is not None and rule in routes.rules:  # else the proxy has not removed it yet
            routes.use(rule)
            if rule.times == 0:
                del self._rules[number]
        return rule

    # Routes of the user

    def add_rule(self, rule: Rule) -> Awaitable[None]:
        """Register a route in the proxy."""
        self._last_rule += 1
        number = self._last_rule
        completion = self.sender.command(
            protocol.Route,
            rule=number,
            url=describe(rule.url),
            times=rule.times,
            timeout=self._route_timeout,
            fallback=self._route_fallback,
            context=self.contexts.number(rule.context),
        )
        self._rules[number] = rule
        return completion

    def keep_rules(self, rules: Sequence[Rule]) -> Awaitable[None] | None:
        """Remove all other routes from the proxy. Returns its last answer."""
        answer = None
        for number in [number for number, rule in self._rules.items() if rule not in rules]:
            answer = self.sender.command(protocol.Unroute, rule=number)
            # Until then the proxy may ask for it.
            answer.add_done_callback(partial(self._forget_rule, number))
        return answer

    def _forget_rule(self, number: int, _: object) -> None:
        self._rules.pop(number, None)


def _apply(feed: Feed, seen: protocol.Changed | protocol.Snapshot) -> None:
    if seen.left_out:
        logger.warning(
            "%r: %s bytes of its URL and header fields are left out: they are too large for a remote client",
            feed.socket,
            f"{seen.left_out:,}",
        )
    feed.requested(protocol.headers_of(seen.request_headers))
    if seen.status is not None and seen.response_headers is not None:
        feed.answered(seen.status, protocol.headers_of(seen.response_headers))
    if seen.opened_at is not None:
        feed.opened(seen.server_address, seen.opened_at)
