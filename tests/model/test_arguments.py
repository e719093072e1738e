"""With how many values a user's function is called."""

import functools
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from wirewright.model.arguments import fit


class Methods:
    def none(self) -> tuple[Any, ...]:
        return ()

    def one(self, first: object) -> tuple[Any, ...]:
        return (first,)

    @classmethod
    def of_the_class(cls, first: object) -> tuple[Any, ...]:
        return (first,)

    @staticmethod
    def static() -> tuple[Any, ...]:
        return ()

    def __call__(self, first: object) -> tuple[Any, ...]:
        return (first,)


def with_default(first: object, second: object = "default") -> tuple[Any, ...]:
    return first, second


def positional_only(first: object, /) -> tuple[Any, ...]:
    return (first,)


def with_keyword_only(first: object, *, option: str = "option") -> tuple[Any, ...]:
    return first, option


def with_keywords(**options: object) -> tuple[Any, ...]:
    return ()


def with_rest(*values: object) -> tuple[Any, ...]:
    return values


@functools.wraps(Methods.static)
def decorated(*values: object) -> tuple[Any, ...]:
    return Methods.static(*values)


def three(first: object, second: object, third: object) -> tuple[Any, ...]:
    return first, second, third


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (lambda: (), ()),
        (lambda first: (first,), ("a",)),
        (lambda first, second: (first, second), ("a", "b")),
        (with_default, ("a", "b")),
        (positional_only, ("a",)),
        (with_keyword_only, ("a", "option")),
        (with_keywords, ()),
        (with_rest, ("a", "b")),
        (decorated, ()),
        (Methods().none, ()),
        (Methods().one, ("a",)),
        (Methods.of_the_class, ("a",)),
        (Methods.static, ()),
        (Methods(), ("a",)),
        (functools.partial(with_default, "bound"), ("bound", "a")),
        (functools.partial(three, "bound", third="c"), ("bound", "a", "c")),
        (functools.partial(with_default, "bound", "too"), ("bound", "too")),
        (functools.partialmethod(Methods.one).__get__(Methods(), Methods), ("a",)),
        (create_autospec(with_default, return_value="mocked"), "mocked"),
        (Mock(return_value="mocked"), "mocked"),
    ],
)
def test_function_is_called_with_the_values_that_it_takes(
    function: Callable[..., Any], result: object
) -> None:
    assert fit(function, 2)("a", "b") == result


def test_builtin_without_known_parameters_is_called_with_all() -> None:
    assert fit(max, 2)(1, 2) == 2
    assert fit(dict, 1)({"a": 1}) == {"a": 1}


def test_function_that_needs_more_than_there_is_raises() -> None:
    with pytest.raises(TypeError, match="third"):
        fit(three, 2)("a", "b")


def test_function_that_takes_all_is_called_as_it_is() -> None:
    functions: list[Callable[..., Any]] = [Methods().one, with_rest, [].append, positional_only]
    for function in functions:
        assert fit(function, 1) is function
