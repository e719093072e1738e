"""Texts of handshakes, which may be of any length."""

import json

import pytest

from wirewright.capture.statements import CUT_FIELD, STATEMENT_BYTES, statement
from wirewright.model.handshake import Headers


def test_statement_weighs_its_texts() -> None:
    made, cut = statement("SQL", ["abc", 1, None, b"de", Headers([("a", "b")])], 100)
    assert made.values == ("abc", 1, None, b"de", '[["a","b"]]')
    assert (made.weight, cut) == (STATEMENT_BYTES + 3 + 2 + 11, 0)


def test_long_text_is_cut_and_long_bytes_are_left_out() -> None:
    made, cut = statement("SQL", ["a" * 30, b"b" * 40], 10)
    assert made.values == ("a" * 10 + "…", None)
    assert cut == 20 + 40


def test_long_value_costs_no_other_field() -> None:
    headers = Headers([("Cookie", "c" * 1_000), ("Host", "h"), ("cookie", "d")])
    made, cut = statement("SQL", [headers], 500)
    assert json.loads(made.values[0]) == [["Cookie", "REDACTED"], ["Host", "h"], ["cookie", "d"]]
    assert cut == 1_000


@pytest.mark.parametrize("name", ["x", "x" * 200, "\udcff"])
@pytest.mark.parametrize("value", ["v", "v" * 60, "\udcff" * 60])
def test_headers_of_any_number_and_length_take_little_more_than_their_room(name: str, value: str) -> None:
    headers = Headers([(name, value)] * 2_000)
    made, cut = statement("SQL", [headers], 1_000)
    kept = json.loads(made.values[0])
    assert len(made.values[0]) < 1_000 + 300
    assert kept[-1] == [CUT_FIELD, "REDACTED"]
    size = sum(len(name) + len(value) for name, value in kept[:-1])
    assert cut >= 2_000 * len(name + value) - size
