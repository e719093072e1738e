import re
from typing import Any

import pytest

from wirewright.model.json_match import ANY, MISSING, fits, misfits, value_at

ORDER = {"type": "filled", "order": {"id": 7, "price": 1.5, "tags": ["a", "b"]}, "final": True, "note": None}


@pytest.mark.parametrize(
    "expected",
    [
        {},
        ORDER,
        {"type": "filled"},
        {"order": {"id": 7}},
        {"order": {"tags": ["a", "b"]}},
        {"order": {"tags": ("a", ANY)}},
        {"order": {"id": 7.0}},
        {"order": {"price": lambda price: price > 1}},
        {"type": re.compile("^fill")},
        {"note": None},
        {"note": ANY},
        {"type": str, "order": {"id": int, "price": float, "tags": list}, "final": bool},
        {"final": True},
        ANY,
        lambda order: len(order) == 4,
    ],
)
def test_value_with_all_that_is_named_fits(expected: Any) -> None:
    assert fits(expected, ORDER)
    assert list(misfits(expected, ORDER)) == []


@pytest.mark.parametrize(
    ("expected", "path", "actual"),
    [
        ({"type": "cancel"}, ("type",), "filled"),
        ({"side": ANY}, ("side",), MISSING),
        ({"side": None}, ("side",), MISSING),
        ({"side": lambda _: True}, ("side",), MISSING),
        ({"order": {"id": "7"}}, ("order", "id"), 7),
        ({"order": {"id": re.compile("7")}}, ("order", "id"), 7),
        ({"order": {"id": True}}, ("order", "id"), 7),
        ({"final": int}, ("final",), True),
        ({"note": str}, ("note",), None),
        ({"type": re.compile(b"fill")}, ("type",), "filled"),
        ({"final": 1}, ("final",), True),
        ({"note": 0}, ("note",), None),
        ({"note": {}}, ("note",), None),
        ({"order": {"tags": ["a"]}}, ("order", "tags"), ["a", "b"]),
        ({"order": {"tags": ["a", "c"]}}, ("order", "tags", 1), "b"),
        ({"order": {"tags": {"a": 1}}}, ("order", "tags"), ["a", "b"]),
        ({"order": {"price": lambda price: price > 2}}, ("order", "price"), 1.5),
        ([ORDER], (), ORDER),
        ("filled", (), ORDER),
    ],
)
def test_misfit_has_its_place_and_the_value_that_is_there(
    expected: Any, path: tuple[str | int, ...], actual: Any
) -> None:
    assert not fits(expected, ORDER)
    (misfit,) = misfits(expected, ORDER)
    assert (misfit.path, misfit.actual) == (path, actual)


def test_all_misfits_are_told() -> None:
    found = misfits({"type": "cancel", "order": {"id": 8, "price": 1.5, "tags": ["c", "b"]}}, ORDER)
    assert [(each.path, each.expected, each.actual) for each in found] == [
        (("type",), "cancel", "filled"),
        (("order", "id"), 8, 7),
        (("order", "tags", 0), "c", "a"),
    ]


def test_exception_of_a_callable_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        fits({"type": lambda _: 1 / 0}, ORDER)


def test_any_is_shown_by_its_name() -> None:
    assert repr({"id": ANY}) == "{'id': ANY}"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((), ORDER),
        (("order", "tags", 1), "b"),
        (("note",), None),
        (("order", "tags", 2), MISSING),
        (("order", "tags", "a"), MISSING),
        (("type", "x"), MISSING),
        (("x", "y"), MISSING),
    ],
)
def test_value_is_found_at_its_place(path: tuple[str | int, ...], value: Any) -> None:
    assert value_at(ORDER, path) == value


def test_async_function_is_refused() -> None:
    async def later(_: object) -> bool:
        return False

    with pytest.raises(TypeError, match="a function in json must be a plain one, not an async one"):
        fits({"type": later}, ORDER)
