"""The other addons of the mitmproxy that we run in, and what they want of WebSocket messages."""

import time

from mitmproxy import ctx
from mitmproxy.addonmanager import traverse
from mitmproxy.addons.dumper import Dumper
from mitmproxy.addons.intercept import Intercept

WIREWRIGHT = "wirewright"
"""The name of our own addon."""
LOOK_AGAIN = 0.5
"""Seconds after which a socket notices that an addon came or went."""


class OtherAddons:
    """As they are now: they come and go with scripts and options."""

    may_change: bool
    """One has a hook that may change or drop a message, or intercepts."""
    keep_all: bool
    """mitmproxy is asked to save whole flows."""
    dumper: Dumper | None
    """mitmdump's own printing, if it prints messages."""
    is_viewed: bool
    """A user interface shows flows, and is to be told when they change."""

    def __init__(self) -> None:
        self._looked_at = -LOOK_AGAIN
        self.refresh()

    def refresh(self) -> None:
        """Look again, but not for each message."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_AGAIN:
            return
        self._looked_at = now
        options = ctx.options
        self.keep_all = bool(options.save_stream_file or options.hardump)
        self.dumper, self.may_change, self.is_viewed = None, False, False
        for addon in traverse(ctx.master.addons.chain):
            name = getattr(addon, "name", None)
            if callable(getattr(addon, "update", None)) and name != WIREWRIGHT:
                self.is_viewed = True
            if not callable(getattr(addon, "websocket_message", None)):
                continue
            if isinstance(addon, Dumper):
                self.dumper = addon if options.flow_detail else None
            elif isinstance(addon, Intercept):
                self.may_change |= bool(options.intercept and options.intercept_active)
            elif name != WIREWRIGHT:
                self.may_change = True
