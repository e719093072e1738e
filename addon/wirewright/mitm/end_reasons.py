"""Reasons why the proxy ended a socket: another addon, an option of mitmproxy's, or a call of a user.

mitmproxy does not report them. So its hooks are watched while they run: if a flow has another response, or an
error, after the hook of an addon, then this addon has answered or killed the flow.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from mitmproxy import ctx, http
from mitmproxy.hooks import Hook

DECIDING_HOOKS = frozenset({"requestheaders", "request", "responseheaders", "response"})
"""Hooks in which an addon may answer a handshake instead of the server, or kill it."""

_reasons: WeakKeyDictionary[http.HTTPFlow, str] = WeakKeyDictionary()


def note(flow: http.HTTPFlow, reason: str) -> None:
    """Keep the reason why the proxy ends a flow. The first reason counts."""
    _reasons.setdefault(flow, reason)


def forget(flow: http.HTTPFlow) -> None:
    """Drop the reason: the flow goes on."""
    _reasons.pop(flow, None)


def reason_for(flow: http.HTTPFlow) -> str | None:
    """The reason why the proxy ended a flow; None if it did not."""
    return _reasons.get(flow)


def watch(hook: Hook) -> Callable[[object], None] | None:
    """A function to call with each addon after its hook; None for a hook that cannot end a handshake."""
    if hook.name not in DECIDING_HOOKS:
        return None
    (flow,) = hook.args()
    response, error = flow.response, flow.error

    def after_hook(addon: object) -> None:
        nonlocal response, error
        if flow.response is not response:
            response = flow.response
            note(flow, f"answered by {name_of(addon)}")
        if flow.error is not error:
            error = flow.error
            note(flow, f"killed by {name_of(addon)}")

    return after_hook


def name_of(addon: object) -> str:
    """The name of an addon in a reason: the file of a script, the option of mitmproxy, or its name."""
    if inspect.ismodule(addon):
        return f"the script {Path(addon.__file__ or addon.__name__).name}"
    name = str(getattr(addon, "name", None) or type(addon).__name__.lower())
    if type(addon).__module__.startswith("mitmproxy."):
        options = ctx.options.keys()
        return next((option for option in options if option.replace("_", "") == name), name)
    return f"the addon {name}"
