"""Values of recordings that other programs wrote: numbers, times, text and base64.

Every function takes any value that JSON or a flow can have, and returns None for one that it cannot read.
"""

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from wirewright.capture.moments import to_epoch_ns
from wirewright.model.handshake import upstream_url, websocket_url

LARGEST_INTEGER = 2**63 - 1
"""SQLite's largest integer: more nanoseconds than until the year 2262."""
LONGEST_URL = 256 * 1024
"""Characters of the longest URL that is read."""
MILLISECONDS_FROM = 100_000_000_000
"""A time of so much or more is in milliseconds, as Playwright writes them: in seconds it is the year 5138."""

_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?:([Zz])|([+-])(\d\d):?(\d\d))?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?", re.ASCII)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\n\r\v\f"


def number(value: Any) -> Decimal | None:
    """A finite number, also if it is written as a string."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = value.strip()
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        found = Decimal(value)
    except (InvalidOperation, ValueError):
        return None
    return found if found.is_finite() and -LARGEST_INTEGER <= found <= LARGEST_INTEGER else None


def integer(value: Any) -> int | None:
    """A whole number of at most 64 bits."""
    found = number(value)
    return None if found is None or found != int(found) else int(found)


def http_status(value: Any) -> int | None:
    """A status of a response (RFC 9110, 15); None if none came, for which Chrome has 0 and Playwright -1."""
    found = integer(value)
    return found if found is not None and 0 < found <= 999 else None


def close_code(value: Any) -> int | None:
    """A close code, which has 16 bits (RFC 6455, 5.5.1)."""
    found = integer(value)
    return found if found is not None and 0 <= found <= 65_535 else None


def epoch_ns(value: Any) -> int | None:
    """Nanoseconds since the epoch, of a number of seconds or milliseconds. Zero and less mean unknown."""
    found = number(value)
    if found is None or found <= 0:
        return None
    return _known(int(found * (1_000_000 if found >= MILLISECONDS_FROM else 1_000_000_000)))


def duration_ns(milliseconds: Any) -> int:
    """Nanoseconds, of a number of milliseconds; 0 for anything else."""
    found = number(milliseconds)
    return 0 if found is None or not 0 < found * 1_000_000 <= LARGEST_INTEGER else int(found * 1_000_000)


def moment_ns(value: Any) -> int | None:
    """Nanoseconds since the epoch, of a time of RFC 3339 or ISO 8601. A time without a zone is a local one.

    Times before 1970 mean unknown: Chrome writes 1969-12-31T23:59:59.000Z for them.
    """
    if not isinstance(value, str):
        return epoch_ns(value)
    text = value.strip()
    try:
        matched = _MOMENT.fullmatch(text)
        if matched is None:
            return _known(to_epoch_ns(datetime.fromisoformat(text)))
        *date, hour, minute, second = map(int, matched.groups()[:6])
        fraction, zulu, sign, hours, minutes = matched.groups()[6:]
        leap = second == 60  # RFC 3339, 5.7
        moment = datetime(date[0], date[1], date[2], hour, minute, second - leap)
        if zulu:
            moment = moment.replace(tzinfo=UTC)
        elif sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            moment = moment.replace(tzinfo=timezone(offset if sign == "+" else -offset))
        nanoseconds = int((fraction or "0")[:9].ljust(9, "0"))
        return _known(to_epoch_ns(moment) + leap * 1_000_000_000 + nanoseconds)
    except (ValueError, OverflowError, OSError):
        return None


def _known(time_ns: int) -> int | None:
    return time_ns if 0 < time_ns <= LARGEST_INTEGER else None


def text(value: Any) -> str | None:
    """A string of characters. Half of a surrogate pair becomes U+FFFD: it is not a character."""
    if not isinstance(value, str):
        return None
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shortened(value: Any) -> str:
    """The beginning of a value, for the reason why it cannot be read."""
    if isinstance(value, dict | list | tuple):
        return "{…}" if isinstance(value, dict) else "[…]"
    return (value if isinstance(value, str) else str(value))[:40]


def base64_bytes(value: str) -> bytes | None:
    """Bytes in base64 or base64url (RFC 4648, 4 and 5), with or without padding, also in several lines."""
    try:
        packed = value.encode("ascii").translate(_URL_SAFE, _WHITE_SPACE).rstrip(b"=")
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def recorded_url(value: Any) -> str:
    """The ws or wss URL of a recorded one, without fragment and user. Raises ValueError with the reason."""
    written = text(value)
    if not written:
        raise ValueError("no URL")
    if len(written) > LONGEST_URL:
        raise ValueError(f"its URL is longer than {LONGEST_URL >> 10} KiB")
    try:
        scheme, separator, rest = written.partition("://")
        authority = re.match(r"[^/?#]*", rest)
        assert authority is not None
        host = authority[0].rpartition("@")[2]
        url = websocket_url(f"{scheme}{separator}{host}{rest[authority.end() :]}")
        if url.partition("://")[0] not in ("ws", "wss"):
            raise ValueError
        upstream_url(url)
    except ValueError:
        raise ValueError(f"not the URL of a WebSocket: {written[:60]!r}") from None
    return url
