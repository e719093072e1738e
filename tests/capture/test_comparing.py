"""What is the same message, and how a difference reads."""

import re
from typing import Any

import pytest

from wirewright.capture.comparing import Compare, comparison, difference, ignoring_keys
from wirewright.model.history import Payload

NESTED = "[" * 100_000


@pytest.mark.parametrize(
    ("compare", "recorded", "live", "expected"),
    [
        ("exact", "é", "é", True),
        ("exact", b"\xff", b"\xff", True),
        ("exact", "a", b"a", False),
        ("exact", '{"a":1}', '{"a": 1}', False),
        ("exact", '{"token":"REDACTED","a":[1]}', '{ "token": {"x": 2}, "a": [1] }', True),
        ("exact", '{"token":"REDACTED","a":[1]}', '{"token": "x", "a": [2]}', False),
        ("exact", "REDACTED", "x", False),
        ("exact", b'{"token":"REDACTED"}', b'{"token":"x"}', True),
        ("exact", b'{"token":"REDACTED"}', '{"token":"x"}', False),
        ("exact", '42["auth",{"token":"REDACTED"}]', '42["auth", {"token": "s3cret"}]', True),
        ("exact", '42["auth",{"token":"REDACTED"}]', '43["auth", {"token": "s3cret"}]', False),
        ("exact", '{"d":"{\\"token\\":\\"REDACTED\\"}"}', '{"d":"{\\"token\\":\\"x\\"}"}', True),
        ("exact", 'LOGIN {"password":"REDACTED"}', 'LOGIN {"password":"x"}', True),
        (re.compile(r"\d"), '1{"token":"REDACTED"}', '2{"token":"x"}', True),
        ("json", '{"a":NaN}', '{"a":NaN}', True),
        ("json", '{"a":' * 700 + "1" + "}" * 700, '{"a":' * 700 + "2" + "}" * 700, False),
        ("json", '{"a":1,"b":[1,{}]}', '{ "b": [1.0, {}], "a": 1 }', True),
        ("json", '{"a":1}', '{"a":true}', False),
        ("json", '{"a":1}', '{"a":1,"b":2}', False),
        ("json", "[1,2]", "[1]", False),
        ("json", "no json", "no json", True),
        ("json", "no json", "[]", False),
        ("json", NESTED, NESTED, True),
        (ignoring_keys("id"), '{"id":1,"a":{"id":2,"x":3}}', '{"a":{"x":3,"id":9}}', True),
        (ignoring_keys("id"), '{"id":1,"a":{"id":2,"x":3}}', '{"a":{"x":4}}', False),
        (re.compile(r'"ts":\d+'), '{"ts":1,"a":2}', '{"ts":234,"a":2}', True),
        (re.compile(r'"ts":\d+'), '{"ts":1,"a":2}', '{"ts":234,"a":3}', False),
        (re.compile(r"\d"), b"1", b"2", False),
        (lambda recorded, live: len(recorded) == len(live), "abc", "xyz", True),
        (lambda recorded: recorded == "abc", "abc", "xyz", True),
        (lambda: False, "abc", "abc", False),
    ],
)
def test_messages_are_compared_as_was_said(
    compare: Compare, recorded: Payload, live: Payload, expected: bool
) -> None:
    assert bool(comparison(compare)(recorded, live)) is expected


@pytest.mark.parametrize(
    ("compare", "error"),
    [("close", ValueError), (re.compile(b"x"), TypeError), (7, TypeError), (None, TypeError)],
)
def test_what_is_no_comparison_is_refused(compare: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^compare must be "):
        comparison(compare)


def test_difference_of_json_is_by_line() -> None:
    lines = difference('{"a":1,"b":{"c":"é","d":[1,2]}}', '{"a":1,"b":{"c":"è","d":[1,2]}}').splitlines()
    assert [line for line in lines if line[0] in "+-"] == ['-    "c": "é",', '+    "c": "è",']


def test_what_may_differ_is_no_difference() -> None:
    recorded = '{"id":1,"token":"REDACTED","list":[{"id":2,"x":1}],"gone":1}'
    live = '{"token":"secret","new":2,"id":7,"list":[{"x":3,"id":8}]}'
    said = difference(recorded, live, ignoring_keys("id"))
    assert [line for line in said.splitlines() if line[0] in "+-"] == [
        '+  "new": 2,',
        '-      "x": 1,',
        '+      "x": 3,',
        "-  ],",
        '-  "gone": 1',
        "+  ]",
    ]
    said = difference(b'{"token":"REDACTED","a":1}', b'{"token":"secret","a":2}')
    assert [line for line in said.splitlines() if line[0] in "+-"] == ['-  "a": 1', '+  "a": 2']


def test_difference_of_text_is_by_line() -> None:
    assert difference("one\ntwo", "one\nthree").splitlines()[1:] == [" one", "-two", "+three"]


def test_difference_of_bytes_is_a_hex_dump() -> None:
    lines = difference(bytes(40), bytes(20) + b"A" + bytes(19)).splitlines()
    assert lines[2] == f"-00000010  {'00 ' * 16} {'.' * 16}"
    assert lines[3] == f"+00000010  {'00 ' * 4}41 {'00 ' * 11} ....A{'.' * 11}"


@pytest.mark.parametrize(
    ("recorded", "live", "expected"),
    [
        ("a", None, ["- (text, 1 characters)", "-a", "+ (nothing)"]),
        (None, b"a", ["- (nothing)", "+ (binary, 1 bytes)", f"+00000000  61{' ' * 47}a"]),
        ("", b"", ["- (text, 0 characters)", "-(empty)", "+ (binary, 0 bytes)", "+(empty)"]),
    ],
)
def test_difference_of_kinds_has_both(
    recorded: Payload | None, live: Payload | None, expected: list[str]
) -> None:
    assert difference(recorded, live).splitlines() == expected


@pytest.mark.parametrize(
    ("recorded", "live", "at"),
    [
        ("x" * 20_000_000, "x" * 19_999_999 + "y", "differ from character 19,999,999 on"),
        (b"x" * 20_000_000, b"x" * 20_000_001, "differ from byte 20,000,000 on"),
        ("x\n" * 200_000, "y\n" * 200_000, "differ from character 0 on"),
    ],
    ids=["text", "bytes", "lines"],
)
def test_difference_of_large_messages_is_small(recorded: Payload, live: Payload, at: str) -> None:
    said = difference(recorded, live)
    assert at in said
    assert len(said) < 2_000


def test_long_lines_and_many_lines_are_cut() -> None:
    said = difference("\n".join(f"a{n}" for n in range(1_000)), "\n".join(f"b{n}" for n in range(1_000)))
    assert said.splitlines()[-1] == "… (1,941 more lines)"
    assert difference("a" * 500, "b").splitlines()[1] == f"-{'a' * 199}… (501 characters)"
