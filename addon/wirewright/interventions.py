"""What in the proxy ended a socket: another addon, an option of mitmproxy's, or a call of a user.

mitmproxy's hooks do not say it. They are watched while they run: the addon after whose turn a flow has
another response, or an error, has answered or killed it.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from weakref import WeakKeyDictionary

from mitmproxy import ctx, http
from mitmproxy.hooks import Hook

DECIDING_HOOKS = frozenset({"requestheaders", "request", "responseheaders", "response"})
"""In these an addon may answer a handshake in the server's stead, or kill it."""

_reasons: WeakKeyDictionary[http.HTTPFlow, str] = WeakKeyDictionary()


def note(flow: http.HTTPFlow, reason: str) -> None:
    """The proxy ends a flow, for this reason. The first reason counts."""
    _reasons.setdefault(flow, reason)


def forget(flow: http.HTTPFlow) -> None:
    """The flow goes on."""
    _reasons.pop(flow, None)


def reason_for(flow: http.HTTPFlow) -> str | None:
    """Why the proxy has ended a flow; None if it has not."""
    return _reasons.get(flow)


def watch(hook: Hook) -> Callable[[object], None] | None:
    """To be called with each addon that has had its turn in a hook; None for a hook that decides nothing."""
    if hook.name not in DECIDING_HOOKS:
        return None
    (flow,) = hook.args()
    response, error = flow.response, flow.error

    def had_its_turn(addon: object) -> None:
        nonlocal response, error
        if flow.response is not response:
            response = flow.response
            note(flow, f"answered by {name_of(addon)}")
        if flow.error is not error:
            error = flow.error
            note(flow, f"killed by {name_of(addon)}")

    return had_its_turn


def name_of(addon: object) -> str:
    """A script by its file, an addon of mitmproxy's by its option, any other by its name."""
    if inspect.ismodule(addon):
        return f"the script {Path(addon.__file__ or addon.__name__).name}"
    name = str(getattr(addon, "name", None) or type(addon).__name__.lower())
    if type(addon).__module__.startswith("mitmproxy."):
        options = ctx.options.keys()
        return next((option for option in options if option.replace("_", "") == name), name)
    return f"the addon {name}"
