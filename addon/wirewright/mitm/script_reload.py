"""Users' scripts: mitmproxy loads one again whenever it is saved."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mitmproxy import addonmanager, ctx

from wirewright.model.ownership import Owner
from wirewright.state import control


def forget_when_unloaded(owner: Owner) -> None:
    """Have a script's registrations removed when mitmproxy unloads the script or loads it again.

    mitmproxy calls only the `done` hook of the script itself. The script is still loading now, so its hook is
    wrapped in the next turn of the loop.
    """
    asyncio.get_running_loop().call_soon(_hook_done, owner)


def _hook_done(owner: Owner) -> None:
    for addon in addonmanager.traverse(ctx.master.addons.chain):
        # mitmproxy 11 registers a script that an error left half-loaded, too; its `name` is set last.
        if isinstance(addon, ModuleType) and vars(addon) is owner and hasattr(addon, "name"):
            addon.done = _forgetting(owner, getattr(addon, "done", None))  # type: ignore[attr-defined]
            return
    control.forget(owner)  # an error ended its loading half-way


def _forgetting(owner: Owner, own_done: Callable[[], Any] | None) -> Callable[[], Any]:
    def done() -> Any:
        control.forget(owner)
        return own_done() if own_done else None

    return done
