"""Times, numbers and base64 as other programs write them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirewright.capture.formats.recorded_values import (
    LARGEST_INTEGER,
    base64_bytes,
    duration_ns,
    epoch_ns,
    integer,
    moment_ns,
    recorded_url,
    text,
)

NANOSECONDS = 1_764_103_477_000_000_000
"""2025-11-25T20:44:37Z."""

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text(st.characters())
    | st.from_regex(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)?", fullmatch=True),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2025-11-25T20:44:37Z", NANOSECONDS),
        ("2025-11-25t20:44:37z", NANOSECONDS),
        ("2025-11-25 20:44:37+00:00", NANOSECONDS),
        ("2025-11-25T21:44:37+01:00", NANOSECONDS),
        ("2025-11-25T21:44:37+0100", NANOSECONDS),
        (" 2025-11-25T20:44:37.000Z\n", NANOSECONDS),
        ("2025-11-25T20:44:37.123456789Z", NANOSECONDS + 123_456_789),
        ("2025-11-25T20:44:37.1234567891234Z", NANOSECONDS + 123_456_789),
        ("2025-11-25T20:44:37,5Z", NANOSECONDS + 500_000_000),
        ("20251125T204437Z", NANOSECONDS),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),  # RFC 3339, 5.7
        (1764103477, NANOSECONDS),
        (1764103477000, NANOSECONDS),
        ("1969-12-31T23:59:59.000Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59Z", None),
        ("2025-13-25T20:44:37Z", None),
        ("2025-11-25T20:44:37+99:99", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        ({}, None),
    ],
)
def test_moments(written: object, expected: int | None) -> None:
    assert moment_ns(written) == expected


def test_time_without_a_zone_is_a_local_one() -> None:
    expected = datetime(2025, 11, 25, 20, 44, 37).astimezone(UTC)
    assert moment_ns("2025-11-25T20:44:37") == round(expected.timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (Decimal("1764103477.123456789"), NANOSECONDS + 123_456_789),
        (1764103477123, NANOSECONDS + 123_000_000),
        ("1764103477", NANOSECONDS),
        (0, None),
        (-1, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (Decimal("sNaN"), None),
        (Decimal("1e999999"), None),
        (2**70, None),
        ([1764103477], None),
    ],
)
def test_seconds_and_milliseconds_since_the_epoch(written: object, expected: int | None) -> None:
    assert epoch_ns(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (1, 1),
        (Decimal("1.0"), 1),
        ("1", 1),
        (-1, -1),
        (1.5, None),
        (True, None),
        (2**70, None),
        ("one", None),
        (None, None),
    ],
)
def test_whole_numbers(written: object, expected: int | None) -> None:
    assert integer(written) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("AP8=", b"\0\xff"),
        ("AP8", b"\0\xff"),
        ("_-7_", b"\xff\xee\xff"),
        ("/+7/", b"\xff\xee\xff"),
        ("AP\r\n8=\r\n", b"\0\xff"),
        (" AP8= ", b"\0\xff"),
        ("", b""),
        ("A", None),
        ("not base64!", None),
        ("é", None),
    ],
)
def test_base64_of_every_kind(written: str, expected: bytes | None) -> None:
    assert base64_bytes(written) == expected


@given(ANYTHING)
def test_no_value_raises(value: object) -> None:
    for time_ns in (moment_ns(value), epoch_ns(value)):
        assert time_ns is None or 0 < time_ns <= LARGEST_INTEGER
    assert 0 <= duration_ns(value) <= LARGEST_INTEGER
    number, string = integer(value), text(value)
    assert number is None or -LARGEST_INTEGER <= number <= LARGEST_INTEGER
    if string is not None:
        string.encode()  # half a surrogate pair would raise
        base64_bytes(string)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("HTTPS://H:443/live#x", "wss://h/live"),
        ("wss://user:secret@h/live?at=a@b", "wss://h/live?at=a@b"),
    ],
)
def test_urls(written: str, expected: str) -> None:
    assert recorded_url(written) == expected


@pytest.mark.parametrize(
    "written", ["", None, 7, "h/live", "ftp://h/", "wss://", "wss://h:0/", "wss://[bad/x"]
)
def test_other_urls_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="URL"):
        recorded_url(written)
