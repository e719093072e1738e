"""mitmproxy's hooks, without the cost of the addons that do not have them.

For each hook mitmproxy sets up a call of each of its fifty addons. Only two or three of them have the hook.
To open a socket takes thirty hooks, and these calls took a fifth of that time. With this change mitmproxy
calls only the addons that have the hook.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from mitmproxy.addonmanager import AddonManager
from mitmproxy.hooks import Hook

from wirewright.mitm import end_reasons

Trigger = Callable[..., Awaitable[None]]


def trigger_event(stock: Trigger) -> Trigger:
    """Have mitmproxy call only the addons that have a hook."""

    def trigger_event(self: AddonManager, event: Hook, *more: Any, **named: Any) -> Awaitable[None]:
        return stock(_AddonsWithHook(self, event), event, *more, **named)

    return trigger_event


class _AddonsWithHook:
    """An addon manager with those addons alone that have a hook, or an addon of their own that has."""

    def __init__(self, manager: AddonManager, hook: Hook) -> None:
        self._manager = manager
        self._after_hook = end_reasons.watch(hook)
        # Each is asked in its turn: an addon that was called before may have given it the hook.
        self.chain = (addon for addon in manager.chain if _has(addon, hook.name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    async def invoke_addon(self, addon: object, event: Hook) -> None:
        if self._after_hook is None:
            await self._manager.invoke_addon(addon, event)
        else:
            await AddonManager.invoke_addon(self, addon, event)  # type: ignore[arg-type]

    def _iter_hooks(self, addon: object, event: Hook) -> Iterator[tuple[object, Callable[..., Any]]]:
        assert self._after_hook is not None
        for each, hook in self._manager._iter_hooks(addon, event):
            yield each, hook
            self._after_hook(each)


def _has(addon: object, hook: str) -> bool:
    try:
        return bool(getattr(addon, hook, None)) or any(
            _has(child, hook) for child in getattr(addon, "addons", ())
        )
    except Exception:  # mitmproxy will meet it, too, and has its own way to tell
        return True
