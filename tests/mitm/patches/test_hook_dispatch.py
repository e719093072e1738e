"""Hooks are called just as mitmproxy calls them, whether or not it goes by the addons that have one."""

import asyncio
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from mitmproxy.addonmanager import AddonManager
from mitmproxy.exceptions import AddonHalt
from mitmproxy.hooks import UpdateHook
from mitmproxy.test import taddons

from support import mitmproxy_patches
from wirewright.mitm.patches import hook_dispatch, installation

STOCK = AddonManager.trigger_event

called: list[str] = []


@pytest.fixture(params=["mitmproxy", "wirewright"], autouse=True)
def dispatcher(request: pytest.FixtureRequest) -> Iterator[str]:
    called.clear()
    if request.param == "wirewright":
        with mitmproxy_patches.installed(hook_dispatch):
            yield request.param
    else:
        yield request.param


class Named:
    def __init__(self, name: str) -> None:
        self.name = name


class Hooked(Named):
    def update(self, flows: list[object]) -> None:
        called.append(self.name)


class Slow(Named):
    async def update(self, flows: list[object]) -> None:
        await asyncio.sleep(0)
        called.append(self.name)


class Raising(Named):
    def update(self, flows: list[object]) -> None:
        called.append(self.name)
        raise ValueError("no good")


class Halting(Named):
    def update(self, flows: list[object]) -> None:
        called.append(self.name)
        raise AddonHalt


class Parent(Named):
    def __init__(self, name: str, *addons: object) -> None:
        super().__init__(name)
        self.addons = addons


class HookedParent(Parent):
    def update(self, flows: list[object]) -> None:
        called.append(self.name)


async def update(*addons: object) -> list[str]:
    with taddons.context() as context:
        context.master.addons.add(*addons)
        await context.master.addons.trigger_event(UpdateHook([]))
    return called


async def test_addons_are_called_in_their_order() -> None:
    chain = Hooked("a"), Named("no hook"), Slow("b"), Hooked("c")
    assert await update(*chain) == ["a", "b", "c"]


async def test_addons_of_addons_are_called_after_them() -> None:
    nested = Parent("no hook", Parent("none either", Slow("b")), Named("nor this"))
    assert await update(HookedParent("a", Hooked("a1")), nested, Hooked("c")) == ["a", "a1", "b", "c"]


async def test_hook_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    assert await update(Raising("a"), Hooked("b")) == ["a", "b"]
    assert "Addon error: no good" in caplog.text


async def test_halt_ends_it() -> None:
    assert await update(Hooked("a"), Halting("b"), Hooked("c")) == ["a", "b"]


async def test_hook_that_an_addon_is_given_meanwhile_is_called() -> None:
    late: Any = Named("late")

    class Giving(Named):
        def update(self, flows: list[object]) -> None:
            late.update = lambda flows: called.append("late")

    assert await update(Giving("giving"), late) == ["late"]


async def test_module_that_is_named_like_a_hook_is_none() -> None:
    addon: Any = Named("a")
    addon.update = ModuleType("update")
    assert await update(addon, Hooked("b")) == ["b"]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (SimpleNamespace(name="a", update=1), "Addon handler update"),
        (SimpleNamespace(name="a", addons=1), "'int' object is not iterable"),
    ],
)
async def test_what_is_no_hook_is_logged(broken: object, said: str, caplog: pytest.LogCaptureFixture) -> None:
    with taddons.context() as context:
        context.master.addons.chain += [broken, Hooked("b")]
        await context.master.addons.trigger_event(UpdateHook([]))
    assert called == ["b"]
    assert said in caplog.text


def test_mitmproxys_own_way_is_taken_back(dispatcher: str) -> None:
    assert (AddonManager.trigger_event is STOCK) == (dispatcher == "mitmproxy")
    installation.uninstall()
    assert AddonManager.trigger_event is STOCK


async def test_addons_without_the_hook_are_not_set_up_for_a_call(dispatcher: str) -> None:
    invoked: list[object] = []
    with taddons.context() as context:
        manager = context.master.addons
        invoke = manager.invoke_addon

        async def note(addon: object, event: UpdateHook) -> None:
            invoked.append(addon)
            await invoke(addon, event)

        manager.invoke_addon = note
        hooked, without = Hooked("a"), Named("b")
        manager.add(hooked, without)
        await manager.trigger_event(UpdateHook([]))
    assert hooked in invoked
    assert (without in invoked) == (dispatcher == "mitmproxy")
