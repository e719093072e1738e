"""Times as a user types them."""

import time
from datetime import datetime, timedelta

import pytest

from wirewright.capture.moments import TimeOfDay, parse_since
from wirewright.capture.reasons import shown

MS = 1_000_000


def ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000) * MS


@pytest.mark.parametrize(
    ("text", "hour", "minute", "second", "millisecond"),
    [
        ("14:05", 14, 5, 0, 0),
        ("9:05", 9, 5, 0, 0),
        ("14:05:09", 14, 5, 9, 0),
        ("14:05:09.123", 14, 5, 9, 123),
        ("14:05:09,5", 14, 5, 9, 500),
        ("00:00:00.001", 0, 0, 0, 1),
    ],
)
def test_time_of_day_is_of_today(text: str, hour: int, minute: int, second: int, millisecond: int) -> None:
    moment = datetime.now().replace(hour=hour, minute=minute, second=second, microsecond=millisecond * 1_000)
    parsed = parse_since(text)
    assert isinstance(parsed, TimeOfDay)
    assert parsed == ns(moment)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31)),
        ("2026-01-31 14:05", datetime(2026, 1, 31, 14, 5)),
        ("2026-01-31 14:05:10.123", datetime(2026, 1, 31, 14, 5, 10, 123_000)),
        ("2026-01-31T14:05:10", datetime(2026, 1, 31, 14, 5, 10)),
        ("2026-01-31T14:05:10.5+00:00", datetime.fromisoformat("2026-01-31T14:05:10.5+00:00")),
    ],
)
def test_date_is_taken_with_and_without_a_time(text: str, moment: datetime) -> None:
    parsed = parse_since(text)
    assert not isinstance(parsed, TimeOfDay)
    assert parsed == ns(moment)


def test_time_of_json_lines_is_taken() -> None:
    now = time.time_ns()
    assert parse_since(str(now)) == now


def test_time_of_a_reason_is_taken() -> None:
    now = time.time_ns()
    assert parse_since(shown(now)) == now // MS * MS


@pytest.mark.parametrize(
    "text", ["later", "", "24:00", "12:60", "12:00:60", "12", "1m2", "2026-13-01", "12:00:00.1234567"]
)
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: use 14:05, "):
        parse_since(text)


DAY = timedelta(days=1)
ENDED = datetime(2026, 3, 10, 0, 30)


@pytest.mark.parametrize(
    ("text", "began", "meant"),
    [
        ("00:10", ENDED - timedelta(hours=1), datetime(2026, 3, 10, 0, 10)),
        ("23:50:00.250", ENDED - timedelta(hours=1), datetime(2026, 3, 9, 23, 50, 0, 250_000)),
        # Neither is within the recording: the day of its end, on which nothing follows.
        ("23:10", ENDED - timedelta(hours=1), datetime(2026, 3, 10, 23, 10)),
        ("00:20", ENDED - 3 * DAY, datetime(2026, 3, 10, 0, 20)),
        ("12:00", ENDED - 3 * DAY, datetime(2026, 3, 9, 12)),
    ],
)
def test_time_of_day_is_one_of_the_recording(text: str, began: datetime, meant: datetime) -> None:
    of_day = parse_since(text)
    assert isinstance(of_day, TimeOfDay)
    assert of_day.within(ns(began), ns(ENDED)) == ns(meant)
