"""JSON of unknown origin: numbers, strings, values and lines of any size."""

import io
import json
import random
import tracemalloc
from decimal import Decimal
from typing import Any

import pytest

from wirewright.capture.formats import bounded_json
from wirewright.capture.formats.bounded_json import (
    InvalidJson,
    TokenReader,
    bounded_lines,
    build,
    items,
    lines,
    list_items,
    parse,
)


class Dribble(io.BytesIO):
    """A file of which a read gives a few bytes, however many are asked for."""

    def __init__(self, data: bytes, at_once: int) -> None:
        super().__init__(data)
        self.at_once = at_once
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        assert size is not None
        return super().read(min(size, self.at_once))


def pieces(data: bytes, at_once: int = 2**30) -> list[bytes]:
    tokens = TokenReader(Dribble(data, at_once))
    return list(iter(lambda: tokens.read(65_536), b""))


def built(data: bytes) -> bounded_json.Item:
    events = parse(TokenReader(io.BytesIO(data)))
    return build(next(events), events)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"1764103477.25", Decimal("1764103477.25")),
        (b"-12e-3", Decimal("-0.012")),
        (b"1e9999", Decimal("1e9999")),
        (b"9" * 63, int("9" * 63)),
        (b"9" * 65, None),
        (b"9" * 5_000, None),
        (b"-" + b"9" * 200_000, None),
        (b"0." + b"1" * 5_000, None),
        (b"1e999000", None),
        (b"-1.5E+99999999999999999999", None),
        (b"1e-999000", None),
        (b"NaN", None),
        (b"-Infinity", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_number_that_cannot_be_converted_in_constant_time_becomes_null(
    written: bytes, expected: object
) -> None:
    assert built(b'{"a": [%s], "b": "%s"}' % (written, written)) == (
        {"a": [expected], "b": written.decode()},
        None,
    )


def test_pieces_do_not_depend_on_how_the_file_is_read() -> None:
    choose = random.Random(14)
    characters = b'"\\1e-NaIfinty.[]{},: x9'
    for _ in range(2_000):
        data = bytes(choose.choices(characters, k=choose.randrange(1, 40)))
        assert len({b"".join(pieces(data, at_once)) for at_once in (1, 2, 5, 1_000)}) == 1, data


@pytest.mark.parametrize("content", [b"a", rb"\"", rb"\\", "é".encode()])
def test_long_string_is_one_piece_that_is_read_in_few_steps(content: bytes) -> None:
    data = b'["' + content * (4_000_000 // len(content)) + b'", 1]'
    file = Dribble(data, 2**30)
    tokens = TokenReader(file)
    read = list(iter(lambda: tokens.read(65_536), b""))
    assert b"".join(read) == data
    assert len(read) == 3
    assert file.reads < 20


@pytest.mark.parametrize("data", [b"[]," * 100_000, b'"a",' * 100_000, b" " * 300_000])
def test_piece_without_a_long_string_is_short(data: bytes) -> None:
    read = pieces(b'["' + b"a" * 300_000 + b'",' + data)
    assert [len(piece) > 65_536 for piece in read].count(True) == 1


@pytest.mark.parametrize("at_once", [7, 2**30])
def test_string_that_is_too_long_becomes_null(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_STRING", 10_000)
    data = b'{"a": "%s", "b": "%s", "c": 1}' % (b"x" * 9_000, b'\\"' * 40_000)
    tokens = TokenReader(Dribble(data, at_once))
    read = b"".join(iter(lambda: tokens.read(65_536), b""))
    assert json.loads(read) == {"a": "x" * 9_000, "b": None, "c": 1}
    assert tokens.long_strings == 1


def test_string_that_is_too_long_and_never_ends_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_STRING", 100_000)
    file = Dribble(b'["' + b"a" * 20_000_000, 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidJson, match="premature EOF"):
            list(parse(TokenReader(file)))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("item", [b"{}", b"[]", b"[[]]", b'{"a":{}}', b"1", b'"a"'])
def test_value_that_is_too_large_is_cut(monkeypatch: pytest.MonkeyPatch, item: bytes) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_VALUE", 1024 * 1024)
    data = b'{"x": [' + item + (b"," + item) * 100_000 + b'], "y": 1}'
    parsed = iter(list(parse(TokenReader(io.BytesIO(data)))))
    tracemalloc.start()
    try:
        found, reason = build(next(parsed), parsed)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
    assert reason is not None
    assert reason.startswith("larger than ")
    assert 0 < len(found["x"]) < 20_000


def test_value_that_is_nested_too_deep_is_cut_and_the_rest_is_read() -> None:
    data = b'[{"a": ' + b"[" * 500 + b"1" + b"]" * 500 + b'}, {"b": 2}]'
    events = parse(TokenReader(io.BytesIO(data)))
    next(events)
    (_, first), second = items(events)
    assert (first, second) == ("nested more than 100 deep", ({"b": 2}, None))


def test_list_is_read_item_by_item_and_replaced() -> None:
    events = parse(TokenReader(io.BytesIO(b'{"a": [1, {"a": [2]}], "b": {"a": [3]}, "c": []}')))
    read: list[Any] = []

    def total(found: Any) -> int:
        read.extend(found)
        return len(read)

    whole, reason = build(next(events), events, {"a": total})
    assert (whole, reason) == ({"a": 2, "b": {"a": [3]}, "c": []}, None)
    assert read == [(1, None), ({"a": [2]}, None)]


def test_items_of_a_list_are_found_by_their_place_only() -> None:
    data = b"""{"x": {"log": {"entries": [1]}}, "entries": [2], "log": {"a": [[3]], "entries": [[4], 5],
        "entries": {"entries": [6]}, "b": {"log": {"entries": [7]}}}}"""
    events = parse(TokenReader(io.BytesIO(data)))
    assert [build(first, events)[0] for first in list_items(events, ["log", "entries"])] == [[4], 5]


@pytest.mark.parametrize("line", [b"[", b"{} {}", b"\xff", b'{"a":', b"nul", b'"\\', b"", b"[" * 100_000])
def test_line_that_is_not_json_costs_no_other(line: bytes) -> None:
    read = list(lines(io.BytesIO(b"1\n" + line + b'\n{"a": 2}\n')))
    assert (read[0], read[2]) == ((1, None), ({"a": 2}, None))
    assert read[1] == (None, "not JSON")


def test_line_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_STRING", 100_000)
    file = io.BytesIO(b"a\n" + b"b" * 20_000_000 + b"\n" + b"c" * 99_999 + b"\n" + b"d" * 100_001)
    tracemalloc.start()
    try:
        read = list(bounded_lines(file))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert read == [b"a\n", None, b"c" * 99_999 + b"\n", None]
