"""Parts of the table of changes to mitmproxy, for tests of one change."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from wirewright.mitm.patches import installation
from wirewright.mitm.patches.table import TABLE


@contextmanager
def installed(module: ModuleType) -> Iterator[None]:
    """Only the changes that a module of `mitm/patches` makes are installed."""
    installation.install(
        row for row in TABLE if row.replace is not None and row.replace.__module__ == module.__name__
    )
    try:
        yield
    finally:
        installation.uninstall()
