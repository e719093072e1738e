"""Users' scripts: mitmproxy loads one again whenever it is saved."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

from mitmproxy import addonmanager, ctx

from wirewright.model.ownership import Owner
from wirewright.state import control


def take_back_when_done(owner: Owner) -> None:
    """See to it that what a script registers goes when mitmproxy takes the script away, or loads it anew.

    mitmproxy tells that to the script alone, through its `done` hook; and the script is still loading now.
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
