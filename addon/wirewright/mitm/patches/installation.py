"""Makes the changes of the table in mitmproxy, and takes them back."""

import inspect
from collections.abc import Iterable
from functools import reduce
from importlib import import_module
from typing import Any

from wirewright.mitm.patches.table import TABLE, Internal

_stock: dict[Internal, Any] = {}
"""mitmproxy's own objects, by the rows whose changes are installed."""


def install(rows: Iterable[Internal] = TABLE) -> None:
    """Make the changes. Those that are installed already are taken back first."""
    uninstall()
    for row in rows:
        if row.replace is not None:
            owner, name = _owner(row)
            stock = getattr(owner, name)
            replacement = row.replace(stock)
            _stock[row] = stock
            setattr(owner, name, replacement)


def uninstall() -> None:
    """Take the changes back."""
    while _stock:
        row, stock = _stock.popitem()
        setattr(*_owner(row), stock)
        if row.on_uninstall is not None:
            row.on_uninstall()


def is_installed() -> bool:
    """True if the changes are made: Wirewright's layers carry new sockets."""
    return bool(_stock)


def missing_internal(rows: Iterable[Internal] = TABLE) -> str | None:
    """The first row of a table that this mitmproxy does not have as expected; None if it has all."""
    return next((str(row) for row in rows if not _is_as_expected(row)), None)


def _owner(row: Internal) -> tuple[Any, str]:
    """The object that has the attribute of a row, and the attribute's name."""
    module, _, path = row.target.partition(":")
    *owners, name = path.split(".")
    return reduce(getattr, owners, import_module(module)), name


def _is_as_expected(row: Internal) -> bool:
    try:
        owner, name = _owner(row)
        if row.takes is None:
            return hasattr(owner, name) or name in inspect.get_annotations(owner)
        signature = inspect.signature(getattr(owner, name))
        signature.bind(*row.takes)  # TypeError: a further one has no default, or one takes no position
    except (ImportError, AttributeError, TypeError, ValueError):
        return False
    return tuple(signature.parameters)[: len(row.takes)] == row.takes
