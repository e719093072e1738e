"""How a master of `launch` starts."""

from mitmproxy.addonmanager import Loader
from mitmproxy.master import Master
from mitmproxy.options import Options

from wirewright.mitm.master import add_addons


class OptionAddon:
    """Adds options, and notes the calls of its `configure`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.configured: list[set[str]] = []

    def load(self, loader: Loader) -> None:
        for number in range(2):
            loader.add_option(f"{self.name}_{number}", int, number, "An option.")

    def configure(self, updated: set[str]) -> None:
        self.configured.append(set(updated))


async def test_addons_are_configured_once_with_the_options_that_mitmproxy_tells_them_one_by_one() -> None:
    ours, theirs = ([OptionAddon(name) for name in ("first", "second", "third")] for _ in range(2))
    Master(Options()).addons.add(*theirs)
    add_addons(Master(Options()), *ours)
    assert [each.configured for each in ours] == [
        [{"second_0", "second_1", "third_0", "third_1"}],
        [{"third_0", "third_1"}],
        [],
    ]
    assert [set().union(*each.configured) for each in theirs] == [
        set().union(*each.configured) for each in ours
    ]


async def test_addons_are_configured_for_a_change_after_the_start() -> None:
    master, addon = Master(Options()), OptionAddon("only")
    add_addons(master, addon)
    master.options.update(only_1=5)
    assert addon.configured[-1] == {"only_1"}
