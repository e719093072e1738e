"""What is the same message, and how a difference reads."""

import asyncio
import re
import tracemalloc
from typing import Any

import pytest

from wirewright.capture.replay import comparisons
from wirewright.capture.replay.comparisons import Compare, comparison, difference, ignoring_keys, is_same
from wirewright.values import Payload

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
        ("exact", '42["auth", {"token": "REDACTED"}]', '42["auth", {"token": "s3cret"}]', True),
        ("exact", '42["auth", {"token": "REDACTED"}]', '43["auth", {"token": "s3cret"}]', False),
        ("exact", "a=1&mine=REDACTED&b=2", "a=1&mine=s3cret&b=2", True),
        ("exact", "a=1&mine=REDACTED&b=2", "a=1&mine=s3cret&b=3", False),
        ("exact", '{"name":"Cookie","value":"REDACTED"}x', '{"name":"Cookie","value":"a"}x', True),
        ("exact", "passcode:REDACTED\n\n", "passcode:s3cret\n\n", True),
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


def test_offsets_are_right_where_a_message_ends_soon_after_a_secret() -> None:
    recorded = bytes(100_000) + b"token=hunter2&a=" + b"." * 60 + b"!"
    (line,) = [line for line in difference(recorded, recorded + b"more").splitlines() if line[-1] == "!"]
    offset, shown = line[1:9], line[-16:].lstrip()
    assert int(offset, 16) + len(shown) == len(recorded)


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
    assert difference("a" * 500, "b").splitlines()[1] == f"-{'a' * 199}… (500 characters)"


@pytest.mark.parametrize(
    ("message", "first", "last"),
    [
        ("x" * 30_000, "- (text, 30,000 characters)", f"-{'x' * 199}…"),
        ("a\n" * 30_000, "- (text, 60,000 characters)", "… (more lines)"),
        ("a\n" * 3 + "x" * 30_000, "- (text, 30,006 characters)", f"-{'x' * 199}…"),
        (f"{'x' * 300}\n" * 2 + "y" * 30_000, "- (text, 30,602 characters)", f"-{'y' * 199}…"),
        (bytes(30_000), "- (binary, 30,000 bytes)", "… (more lines)"),
    ],
    ids=["line", "lines", "last line", "long lines", "bytes"],
)
def test_large_message_without_counterpart_is_shown_with_its_whole_size_alone(
    message: Payload, first: str, last: str
) -> None:
    lines = difference(message, None).splitlines()
    assert (lines[0], lines[-2]) == (first, last)
    cut = [line for line in lines[1:-2] if len(line) > 200]
    assert all(line.endswith("… (300 characters)") for line in cut)


def test_large_message_without_counterpart_shows_no_secret_whose_name_is_cut_off() -> None:
    assert "ss" not in difference('{"value":"Bearer ' + "s" * 30_000 + '","name":"Authorization"}', None)


@pytest.mark.parametrize(
    ("recorded", "live"),
    [
        ('{"a":1,"token":"secret"}', '{"a":2,"token":"secret"}'),
        ("token=secret", b"\0token=secret"),
        (None, "jwt=secret"),
    ],
)
def test_difference_shows_no_secrets(recorded: Payload | None, live: Payload | None) -> None:
    said = difference(recorded, live)
    assert "secret" not in said
    assert "73 65 63" not in said
    assert "REDACTED" in said or '"a": 2' in said


def test_difference_of_secrets_alone_says_so() -> None:
    assert difference("token=one", "token=two") == "  they differ in values that are redacted"


def test_difference_of_large_messages_shows_no_secrets() -> None:
    recorded, live = ("x" * 30_000 + f"&token=secret{end}&b=1" for end in "ab")
    assert "secret" not in difference(recorded, live)


def test_difference_of_deep_json_is_shown_as_it_is_written() -> None:
    deep = "[" * 9_000
    tracemalloc.start()
    said = difference(f"{deep}1{']' * 9_000}", f"{deep}2{']' * 9_000}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert said.startswith("@@")
    assert peak < 10_000_000


def test_difference_of_many_lines_that_are_alike_does_not_search_for_pairs() -> None:
    # Each line is in both some thirty times: the search for pairs takes minutes.
    lines = [chr(0x4E00 + number * number * 7919 % 307) for number in range(9_000)]
    said = difference("\n".join(lines), "\n".join(reversed(lines))).splitlines()
    assert said[-1].endswith("more lines)")


def test_difference_within_many_lines_is_found() -> None:
    lines = [str(number) for number in range(4_000)]
    changed = [*lines[:2_000], "x", *lines[2_001:]]
    assert difference("\n".join(lines), "\n".join(changed)).splitlines()[1:] == [
        *(" 1997", " 1998", " 1999", "-2000", "+x", " 2001", " 2002", " 2003"),
    ]


@pytest.mark.parametrize("compare", ["exact", "json", re.compile("x")])
async def test_event_loop_runs_while_long_messages_are_compared(compare: Compare) -> None:
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1

    recorded = '{"token":"REDACTED","a":"' + "é" * comparisons.LONG + '"}'
    asyncio.get_running_loop().call_soon(turn)
    assert await is_same(comparison(compare), recorded, recorded.replace("REDACTED", "secret"))
    assert turns


async def test_users_comparison_is_called_in_the_event_loop() -> None:
    message = "x" * comparisons.LONG
    loop = asyncio.get_running_loop()
    assert await is_same(lambda *_: asyncio.get_running_loop() is loop, message, message)


def test_thousands_of_redacted_names_are_compared() -> None:
    recorded = "m " + ",".join(f'"name{number}":"REDACTED"' for number in range(5_000))
    assert comparison("exact")(recorded, recorded.replace("REDACTED", "secret"))
    assert not comparison("exact")(recorded, recorded.replace("REDACTED", "secret") + ",")


@pytest.mark.parametrize("compare", ["json", ignoring_keys("b"), re.compile(" ")])
def test_messages_beyond_a_bound_are_compared_exactly(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, recorded = comparison(compare), '{"token":"REDACTED","b":1}'
    live, spaced = '{"token":"secret","b":1}', '{"token":"secret", "b":1}'
    assert same(recorded, live)
    assert same(recorded, spaced)
    monkeypatch.setattr(comparisons, "LARGEST_VALUE", 20)
    assert same(recorded, live)
    assert not same(recorded, spaced)
