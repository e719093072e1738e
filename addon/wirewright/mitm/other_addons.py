"""The other addons of the mitmproxy that we run in, and what they want of WebSocket messages."""

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addonmanager import traverse
from mitmproxy.addons.dumper import Dumper
from mitmproxy.addons.intercept import Intercept
from mitmproxy.exceptions import AddonHalt

from wirewright.printable import get_logger

logger = get_logger(__name__)

LOOK_AGAIN = 0.5
"""Seconds after which the addons are looked at again: an addon may get a hook after its registration."""

MESSAGE_HOOKS = ("websocket_start", "websocket_message", "websocket_end")
"""Hooks whose flow has messages."""
FLOW_HOOKS = (*MESSAGE_HOOKS, "requestheaders", "request", "responseheaders", "response", "error")

Hook = Callable[[http.HTTPFlow], Awaitable[None] | None]


class OtherAddons:
    """The other addons as they are now: they change with scripts and options. One object for all sockets."""

    hooks: list[Hook]
    """The hooks that mitmproxy would call for each message, in its order, without those that do nothing."""
    may_change: bool
    """True if an addon may change, drop or intercept a message."""
    keep_all: bool
    """True if mitmproxy is asked to save whole flows."""
    dumper: Dumper | None
    """mitmdump's own printing, if it prints messages."""
    is_viewed: bool
    """True if a user interface shows flows, and must be updated when they change."""
    _have_message_hooks: bool
    _have_flow_hooks: bool

    def __init__(self) -> None:
        self._looks = 0
        self.forget()

    def forget(self) -> None:
        """Look again next time: an option has changed."""
        self._registered: tuple[int, object] = (0, None)
        self._looked_at = -LOOK_AGAIN

    def refresh(self) -> int:
        """Look at the addons again if they may have changed. Returns a version: it grows with each look."""
        lookup = ctx.master.addons.lookup
        # An addon that is added is the last one. One that is removed makes the number smaller.
        registered = (len(lookup), next(reversed(lookup.values())))
        now = time.monotonic()
        if registered == self._registered and now - self._looked_at < LOOK_AGAIN:
            return self._looks
        self._looks += 1
        self._registered, self._looked_at = registered, now
        options = ctx.options
        self.keep_all = bool(options.save_stream_file or options.hardump)
        self.hooks, self.dumper, self.may_change, self.is_viewed = [], None, False, False
        self._have_flow_hooks = self._have_message_hooks = False
        for addon in traverse(ctx.master.addons.chain):
            name = addon.__name__ if isinstance(addon, ModuleType) else type(addon).__module__
            package = name.partition(".")[0]
            if package == "wirewright":
                continue
            if package != "mitmproxy":
                self._have_flow_hooks |= _has_hook(addon, FLOW_HOOKS)
                self._have_message_hooks |= _has_hook(addon, MESSAGE_HOOKS)
            if callable(getattr(addon, "update", None)):
                self.is_viewed = True
            hook = getattr(addon, "websocket_message", None)
            if not callable(hook):
                continue
            if isinstance(addon, Dumper):
                if not options.flow_detail:  # it would print nothing
                    continue
                self.dumper = addon
            elif isinstance(addon, Intercept):
                if not (options.intercept and options.intercept_active):
                    continue
                self.may_change = True
            else:
                self.may_change = True
            self.hooks.append(hook)
        return self._looks

    def see_messages(self) -> bool:
        """True if a script's hooks or a user interface can look at the messages of a flow."""
        self.refresh()
        return self._have_message_hooks or self.is_viewed

    def hold_flows(self) -> bool:
        """True if a script's hooks are given flows: the script may keep them and look at messages later."""
        self.refresh()
        return self._have_flow_hooks


def _has_hook(addon: object, names: Iterable[str]) -> bool:
    return any(callable(getattr(addon, name, None)) for name in names)


def call_hooks(hooks: Iterator[Hook], flow: http.HTTPFlow) -> Awaitable[Any] | None:
    """Call hooks in their order, as mitmproxy does. Returns the awaitable of the first async one, or None."""
    for hook in hooks:
        try:
            result = hook(flow)
        except AddonHalt:
            return None
        except Exception as error:
            log_error(error)
        else:
            if result is not None and inspect.isawaitable(result):
                return result
    return None


async def await_hooks(first: Awaitable[Any] | None, hooks: Iterator[Hook], flow: http.HTTPFlow) -> None:
    """Await the result of the first async hook, then call and await the hooks after it."""
    waiting = first
    while waiting is not None:
        try:
            await waiting
        except AddonHalt:
            return
        except Exception as error:
            log_error(error)
        waiting = call_hooks(hooks, flow)


def log_error(error: Exception) -> None:
    """In mitmproxy's words."""
    logger.error("Addon error: %s", error, exc_info=error)
