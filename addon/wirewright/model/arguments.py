"""The parameters of functions: calls with as many values as a user's function takes, as in Playwright.

https://playwright.dev/python/docs/api/class-page#page-event-web-socket
"""

import inspect
from collections.abc import Callable
from types import FunctionType, MethodType, NoneType
from typing import Any

__tracebackhide__ = True  # pytest shows the line that calls

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def fit(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A callable that takes `count` positional values and passes on the first ones that `function` takes.

    It is `function` itself if that takes them all, or if its parameters are not known (some builtins).
    """
    if _takes_all(function, count):
        return function
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        return function
    taken = sum(parameter.kind in _POSITIONAL for parameter in parameters)
    return function if taken >= count else lambda *values: function(*values[:taken])


def _takes_all(function: Callable[..., Any], count: int) -> bool:
    # The usual cases, at a fraction of the time of `inspect.signature`, which a wait would need three times.
    if not isinstance(function, (FunctionType, MethodType)) or hasattr(function, "__wrapped__"):
        return False
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__signature__"):
        return False
    return bool(code.co_argcount - isinstance(function, MethodType) >= count)


def show_result(wrapper: Callable[..., object], method: Callable[..., object], result: object) -> None:
    """Have tools such as `help` show a wrapper with the signature of a method, and another result."""
    shown = inspect.signature(method).replace(return_annotation=None if result is NoneType else result)
    wrapper.__signature__ = shown  # type: ignore[attr-defined]
