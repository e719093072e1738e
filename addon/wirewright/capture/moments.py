"""Times as a user types them: in the formats that the command line prints, or as how long ago."""

import re
import time
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time

_AGO = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,6}))?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = re.compile(r"\d{16,19}")
"""Nanoseconds as in JSON lines; the shortest are of January 1970."""
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class TimeOfDay(int):
    """A time of day, today: nanoseconds since the epoch."""

    def within(self, first_ns: int, last_ns: int) -> int:
        """The same time on the day on which a recording ended, or on the day before.

        The day before is meant where only that time is within the recording: 23:50, in one that ran from
        23:00 to 00:30. All times are nanoseconds since the epoch.
        """
        clock, last = _local(self).time(), _local(last_ns).date()
        on_last_day, before = (
            to_epoch_ns(datetime.combine(day, clock)) for day in (last, last - timedelta(days=1))
        )
        return before if first_ns <= before and on_last_day > last_ns else on_last_day


def parse_since(text: str) -> int:
    """A time of day, a date with or without one, nanoseconds since the epoch, or how long ago.

    `14:05`, `14:05:10.123`, `2026-01-31 14:05`, `2026-01-31T14:05:10+01:00`, `90s`, `5m`, `2h`.

    In nanoseconds since the epoch; a TimeOfDay is one of today. Raises ValueError for anything else.
    """
    try:
        if ago := _AGO.fullmatch(text):
            back = timedelta(**{_UNITS[ago[2]]: float(ago[1])})
            return time.time_ns() - round(back / timedelta(microseconds=1)) * 1000
        if clock := _CLOCK.fullmatch(text):
            hour, minute, second, fraction = clock.groups(default="")
            of_day = clock_time(int(hour), int(minute), int(second or 0), int(f"{fraction:0<6}"))
            return TimeOfDay(to_epoch_ns(datetime.combine(datetime.now().date(), of_day)))
        return int(text) if _NANOSECONDS.fullmatch(text) else to_epoch_ns(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a time: use 14:05, 14:05:10.123, 2026-01-31T14:05:10, 90s, 5m or 2h"
        ) from None


def _local(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 1000 / 1e6)


def to_epoch_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch; a time without a zone is a local one. Exact to the microsecond."""
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
