"""The routes of one remote client: its rules, the questions to it, and the sockets that it routes."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from wirewright.model.context_filter import ContextFilter
from wirewright.model.errors import Error
from wirewright.model.matching import Globs, LateMatch
from wirewright.model.proxy_control import Control
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.model.route_table import Rule
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.codec import InvalidMessage
from wirewright.remote.conditioned_sockets import ConditionedSockets
from wirewright.remote.outbox import Outbox
from wirewright.remote.server_route import RemoteRoute
from wirewright.remote.snapshots import snapshot

logger = get_logger(__name__)

MOST_RULES = 1_000
"""How many rules one client may have."""
PROBE_SECONDS = 1.0
"""How long a client that was late may take to show that it still answers."""
PROBE_RULE = -1
"""The number of a rule that no client has: its answer shows that it still answers."""


class ClientRules:
    """Registers the rules of a client in the proxy, and asks the client about new sockets."""

    def __init__(
        self,
        control: Control,
        outbox: Outbox,
        conditioned: ConditionedSockets,
        follow: Callable[[str], None],
    ) -> None:
        """`follow` is called with the key of a socket that the client routes, to report its end."""
        self.is_late = False
        """True if the client has left a question unanswered, and has said nothing since."""
        self._control = control
        self._proxy = control.proxy
        self._outbox = outbox
        self._conditioned = conditioned
        self._follow = follow
        self._is_over = False
        self._is_probed = False
        """True while a client that was late is asked for a sign of life."""
        self._rules: dict[int, Rule] = {}
        self._routes: dict[str, RemoteRoute] = {}
        self._questions: dict[int, asyncio.Future[bool | None]] = {}
        self._question = 0
        self._asking: Counter[int] = Counter()
        """By rule, the handshakes that wait for an answer of the client."""

    def add(self, command: protocol.Route, context: ContextFilter | None) -> None:
        """Register a rule. Raises Error, ValueError and TypeError if that is not possible."""
        if len(self._rules) >= MOST_RULES:
            raise Error(f"a client may have {MOST_RULES:,} routes")
        if command.rule in self._rules:
            raise Error(f"there is a rule {command.rule} already")

        async def handler(route: WebSocketRoute) -> None:
            await self._route(command, route)

        is_asked = isinstance(command.url, protocol.Function)
        url = _AskedUrl(self, command) if is_asked else rule_of(command.url)  # type: ignore[arg-type]
        self._rules[command.rule] = self._proxy._state.routes.add(url, handler, command.times, context)

    def remove(self, number: int) -> None:
        """Remove a rule, if it is registered. Open sockets keep their routes."""
        if rule := self._rules.pop(number, None):
            self._proxy._state.routes.remove_rule(rule)

    def handle(self, message: Any) -> None:
        """Handle an answer of the client, or an order for a socket that it routes.

        Raises InvalidMessage for values that no client may send.
        """
        if isinstance(message, protocol.Verdict):
            question = self._questions.pop(message.question, None)
            if question is not None and not question.done():
                question.set_result(message.is_meant)
        elif route := self._routes.get(message.key):
            try:
                route.handle(message)
            except (ValueError, TypeError) as error:
                raise InvalidMessage(1007, str(error)[:100]) from None
            except Error as error:  # not in this lane
                self._fail(message.key, route, error)

    def conditions_refused(self, key: str, error: Error) -> None:
        """A network cannot be simulated. If the handshake waits for a handler, the handler has failed."""
        route = self._routes.get(key)
        if route is not None and not route.is_decided:
            self._fail(key, route, error)

    def _fail(self, key: str, route: RemoteRoute, error: Error) -> None:
        logger.error("%s: the orders of its route's handler fail: %s", key, error.message)
        route.fail()

    def lose(self, message: protocol.RouteMessage) -> None:
        """Apply the fallback of a route whose message is too large for the client."""
        if route := self._routes.get(message.key):  # None once the socket has ended
            logger.error("message too large for a remote handler: the fallback of %s holds", route)
            route.lose()

    def end(self) -> None:
        """The client is gone: remove its rules, and apply the fallbacks of its routes."""
        self._is_over = True
        for question in self._questions.values():
            if not question.done():
                question.set_result(None)
        for number, rule in list(self._rules.items()):
            if not self._asking[number]:
                self.remove(number)
            elif rule.context is not None:  # the end of its context must not remove it before the answer
                rule.context = replace(rule.context)
        for route in self._routes.values():
            with suppress(Error):  # the proxy may be ending itself
                route.lose()

    async def _route(self, command: protocol.Route, route: WebSocketRoute) -> None:
        socket = RouteControl(route).socket
        try:
            key = self._control.key_of(socket)
        except KeyError:
            return  # the app has left while it was asked
        rule = self._rules.get(command.rule)
        if rule is not None and rule.times == 0:
            del self._rules[command.rule]
        self._follow(key)
        release = partial(self._conditioned.release, key)
        remote = self._routes[key] = RemoteRoute(key, command, route, self._outbox, self._probe, release)
        socket.once("close", lambda _: self._proxy._scope.start(self._end_route(key), None, self))
        if self._is_over or self.is_late:
            remote.lose()
            return
        self._outbox.put(protocol.Routed(command.rule, snapshot(key, socket, with_history=False)))
        await remote.decide()

    async def _end_route(self, key: str) -> None:
        if route := self._routes.get(key):
            await route.drained()
            del self._routes[key]
            self._outbox.put(protocol.RouteOver(key))

    async def ask(self, command: protocol.Route, url: str) -> bool:
        """True if a rule that is a function of the client matches a URL.

        Without an answer it matches if its fallback is to drop the socket.
        """
        fallback = command.fallback == "drop"
        if self._is_over or self.is_late or self._outbox.is_crowded:
            return fallback
        self._asking[command.rule] += 1
        try:
            is_meant = await self._answer(command.rule, url, command.timeout / 1000 or None)
        finally:
            self._asking[command.rule] -= 1
            if self._is_over and not self._asking[command.rule]:
                # The handshake that has asked goes on first: a rule that was removed matches nothing.
                asyncio.get_running_loop().call_soon(self.remove, command.rule)
        return fallback if is_meant is None else is_meant

    async def _answer(self, rule: int, url: str, seconds: float | None) -> bool | None:
        """The client's answer to a question. None if it is gone, or takes longer than `seconds`."""
        self._question += 1
        number = self._question
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        self._outbox.put(protocol.Asked(number, rule, protocol.plain(url)))
        try:
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            self.is_late = True
            return None
        finally:
            self._questions.pop(number, None)

    def _probe(self) -> None:
        """Find out if a client that was late still answers at all, or if only one of its handlers hangs."""
        if not self._is_probed and not self.is_late and not self._is_over:
            self._is_probed = True
            self._proxy._scope.start(self._await_sign_of_life(), None, self)

    async def _await_sign_of_life(self) -> None:
        try:
            if await self._answer(PROBE_RULE, "", PROBE_SECONDS) is None:
                for route in list(self._routes.values()):
                    if route.is_waiting:
                        route.lose()
        finally:
            self._is_probed = False


class _AskedUrl(LateMatch):
    """A rule that is a function of a client."""

    def __init__(self, rules: ClientRules, command: protocol.Route) -> None:
        self._rules = rules
        self._command = command

    def __call__(self, url: str) -> Awaitable[bool]:
        return self._rules.ask(self._command, url)


def rule_of(url: protocol.UrlPattern) -> str | Globs | re.Pattern[str]:
    """As the model has it. Raises ValueError for a regex that is none, and for a glob of several."""
    if isinstance(url, protocol.Glob):
        return url.glob
    if isinstance(url, protocol.Globs):
        return Globs(tuple(url.globs))
    try:
        return re.compile(url.pattern, url.flags & ~re.DEBUG)  # which would print it
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"url must be a regex, and {url.pattern!r} is none: {error}") from None
