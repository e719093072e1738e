"""The routes of a proxy, and the one that takes a socket.

https://playwright.dev/python/docs/api/class-page#page-route-web-socket
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from wirewright.model import user_errors
from wirewright.model.arguments import fit
from wirewright.model.awaitables import is_being_cancelled
from wirewright.model.context_filter import ContextFilter
from wirewright.model.errors import ENDS_THE_PROGRAM
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.matching import LateMatch, UrlMatch, compile_match
from wirewright.model.ownership import Owner, current_owner
from wirewright.model.route import WebSocketRoute
from wirewright.printable import shown_url

__tracebackhide__ = True  # pytest shows the line that calls

RouteHandler = Callable[[WebSocketRoute], Any] | Callable[[], Any]
"""A function of the app's side of the route, called before the handshake is answered. It may be async."""


@dataclass(eq=False)
class Rule:
    """One registered handler."""

    url: UrlMatch | None
    matches: Callable[[str], bool]
    """Where `url` is no LateMatch."""
    handler: RouteHandler
    times: int | None
    """For how many sockets more it is; None stands for any number."""
    owner: Owner | None
    context: ContextFilter | None = None
    """The filter of the context that the rule belongs to; None for a rule of the proxy."""

    @property
    def depth(self) -> int:
        """How many contexts the rule is in."""
        return 0 if self.context is None else self.context.depth

    def accepts(self, asked: HandshakeRequest) -> bool:
        """True if the rule is for the app that asks for a socket."""
        return self.context is None or self.context.accepts(asked.origin)

    def call(self, route: WebSocketRoute) -> Any:
        """Call the handler. Returns its result, an awaitable if it is async."""
        return fit(self.handler, 1)(route)

    async def is_for(self, url: str) -> bool:
        """True if the rule is for a socket of this URL; False if its function raises."""
        try:
            return bool(await self.url(url)) if isinstance(self.url, LateMatch) else self.matches(url)
        except ENDS_THE_PROGRAM:
            raise
        except BaseException:
            if is_being_cancelled():
                raise  # the proxy is shut down
            user_errors.report(shown_url(url), "a route's rule", sys.exception())
            return False

    def may_match(self, url: str) -> bool:
        """False if the rule cannot match this URL."""
        try:
            return isinstance(self.url, LateMatch) or self.matches(url)
        except ENDS_THE_PROGRAM:
            raise
        except BaseException:
            return True


class RouteTable:
    """The registered handlers: those of contexts first, and among them the newest first."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def add(
        self,
        url: UrlMatch | None,
        handler: RouteHandler,
        times: int | None = None,
        context: ContextFilter | None = None,
    ) -> Rule:
        """Register a handler. Raises ValueError and TypeError for arguments that are not a rule."""
        if not callable(handler):
            raise TypeError(f"handler must be callable, not {type(handler).__name__}")
        if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
            raise ValueError(f"times must be 1 or more, or None for any number, not {times!r}")
        matches = compile_match(None if isinstance(url, LateMatch) else url)
        rule = Rule(url, matches, handler, times, current_owner(), context)
        outer = (number for number, each in enumerate(self.rules) if each.depth <= rule.depth)
        self.rules.insert(next(outer, len(self.rules)), rule)
        return rule

    def remove(
        self,
        url: UrlMatch | None,
        handler: RouteHandler | None = None,
        context: ContextFilter | None = None,
    ) -> None:
        """Remove the rules of a context (None: of the proxy) for this URL, with this handler or (None) with
        any."""
        self.rules = [
            rule
            for rule in self.rules
            if rule.context is not context
            or rule.url != url
            or (handler is not None and rule.handler != handler)
        ]

    def remove_rule(self, rule: Rule) -> None:
        """Remove a rule. Nothing happens if it is gone."""
        self.rules = [each for each in self.rules if each is not rule]

    def remove_context(self, context: ContextFilter) -> None:
        """Remove all rules of a context."""
        self.rules = [rule for rule in self.rules if rule.context is not context]

    async def take(self, asked: HandshakeRequest) -> Rule | None:
        """The first rule for a socket that opens now, which counts for it."""
        for rule in list(self.rules):
            if not rule.accepts(asked) or rule not in self.rules:
                continue
            if await rule.is_for(asked.url) and rule in self.rules:  # it may have been removed meanwhile
                self.use(rule)
                return rule
        return None

    def may_match(self, asked: HandshakeRequest) -> bool:
        """True unless no rule can match this handshake. A LateMatch is not asked."""
        return any(rule.accepts(asked) and rule.may_match(asked.url) for rule in self.rules)

    def use(self, rule: Rule) -> None:
        """Count a socket for a rule, and remove the rule if it was its last one."""
        if rule.times is not None:
            rule.times -= 1
            if not rule.times:
                self.remove_rule(rule)

    def forget(self, owner: Owner) -> None:
        """Remove the rules of a script."""
        self.rules = [rule for rule in self.rules if rule.owner is not owner]

    def copy(self) -> list[Rule]:
        """The rules as they are now, for `restore`."""
        return [replace(rule) for rule in self.rules]

    def restore(self, rules: list[Rule]) -> None:
        """Replace all rules by those of a copy."""
        self.rules = [replace(rule) for rule in rules]
