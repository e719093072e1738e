"""Partial matches of JSON values, and where a value does not fit."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

__tracebackhide__ = True  # pytest shows the line that calls


class _Any:
    """Fits every value, `null` included."""

    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""In a partial match: the key must be there, its value may be anything."""


class Misfit(NamedTuple):
    """One place where a value is not as expected."""

    path: tuple[str | int, ...]
    """The keys and indexes that lead to it; () is the whole value."""
    expected: Any
    """The value of the partial match."""
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
    - A compiled pattern is found in a str (by `search`), a type is that of the value, ANY fits everything.
    - A callable is given the value, and returns True if it fits. An exception of it is not caught. It must
      not be async: TypeError.
    - Anything else is equal. `True` and `1` are not.
    """
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return False
        return all(key in actual and fits(value, actual[key]) for key, value in expected.items())
    if isinstance(expected, list | tuple):
        if not isinstance(actual, list) or len(actual) != len(expected):
            return False
        return all(map(fits, expected, actual))
    return _value_fits(expected, actual)


def misfits(expected: Any, actual: Any, path: tuple[str | int, ...] = ()) -> Iterator[Misfit]:
    """The places where a JSON value is not what a partial match names, for an error.

    An exception of a callable is a misfit.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            yield from misfits(value, actual.get(key, MISSING), (*path, key))
    elif isinstance(expected, list | tuple) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (value, item) in enumerate(zip(expected, actual, strict=True)):
            yield from misfits(value, item, (*path, index))
    elif actual is MISSING or not _fits_quietly(expected, actual):
        yield Misfit(path, expected, actual)


def texts_of(expected: Any) -> Iterator[str]:
    """The keys and texts that a JSON value must have to fit a partial match."""
    if type(expected) is str:
        yield expected
    elif isinstance(expected, dict):
        for key, value in expected.items():
            yield from texts_of(value)
            if type(key) is str:
                yield key
    elif isinstance(expected, list | tuple):
        for value in expected:
            yield from texts_of(value)


def value_at(value: Any, path: Sequence[str | int]) -> Any:
    """The value at a place of a JSON value, or MISSING."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, MISSING)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return MISSING
    return value


def _value_fits(expected: Any, actual: Any) -> bool:
    if isinstance(expected, str):
        return bool(expected == actual)
    if expected is ANY:
        return True
    if isinstance(expected, re.Pattern):
        is_text = isinstance(actual, str) and isinstance(expected.pattern, str)
        return is_text and expected.search(actual) is not None
    if isinstance(expected, type):
        return isinstance(actual, expected) and (expected is bool or not isinstance(actual, bool))
    if callable(expected):
        held = expected(actual)
        if inspect.isawaitable(held):
            if inspect.iscoroutine(held):
                held.close()
            raise TypeError("a function in json must be a plain one, not an async one")
        return bool(held)
    return isinstance(expected, bool) == isinstance(actual, bool) and bool(expected == actual)


def _fits_quietly(expected: Any, actual: Any) -> bool:
    try:
        return _value_fits(expected, actual)
    except Exception:  # the search stopped at an earlier misfit, and never called it with this value
        return False
