"""Partial matches of JSON values, and where a value does not fit."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class _Any:
    """Fits every value, `null` included."""

    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""In a partial match: the key must be there, its value may be anything."""


class Misfit(NamedTuple):
    """One place where a value is not as expected."""

    place: str
    """Such as `orders[0].price`; "" is the whole value."""
    expected: Any
    """What was expected there."""
    actual: Any
    """The value, or MISSING."""


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()
"""The actual value of a key that is not there."""


def fits(expected: Any, actual: Any) -> bool:
    """True if a JSON value has what a partial match names.

    - A dict names keys that must be there, with values that fit. Other keys do not count.
    - A list has as many items as the value, and each fits.
    - A compiled pattern is found in a str (by `search`), and ANY fits everything.
    - A callable is given the value, and returns True if it fits. An exception of it is not caught.
    - Anything else is equal. `True` and `1` are not.
    """
    return next(misfits(expected, actual), None) is None


def misfits(expected: Any, actual: Any, place: str = "") -> Iterator[Misfit]:
    """The places where a JSON value is not what a partial match names (`fits`)."""
    if isinstance(expected, Mapping) and isinstance(actual, dict):
        for key, value in expected.items():
            yield from misfits(value, actual.get(key, MISSING), f"{place}.{key}" if place else str(key))
    elif isinstance(expected, list | tuple) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (value, item) in enumerate(zip(expected, actual, strict=True)):
            yield from misfits(value, item, f"{place}[{index}]")
    elif actual is MISSING or not _value_fits(expected, actual):
        yield Misfit(place, expected, actual)


def _value_fits(expected: Any, actual: Any) -> bool:
    if expected is ANY:
        return True
    if isinstance(expected, re.Pattern):
        return isinstance(actual, str) and expected.search(actual) is not None
    if isinstance(expected, Callable):  # type: ignore[arg-type]  # mypy takes it for a special form
        return bool(expected(actual))
    return isinstance(expected, bool) == isinstance(actual, bool) and bool(expected == actual)
