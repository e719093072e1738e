"""Passwords before the host of a URL (RFC 3986, 3.2.1), also in URLs that are percent-encoded in others."""

import re
from functools import lru_cache

from wirewright.capture.scanned_text import ScannedText, Span, span

AUTHORITY = r":(?:\\{0,16}+(?:/|u002[fF])){2}"
"""Before the user, the password and the host; the slashes have backslashes in JSON of PHP."""
ENCODED_AUTHORITY = re.compile(r"%(?P<deep>(?:25){0,8})3[aA](?:%(?P=deep)2[fF]){2}")
"""The same in a URL that is a parameter of another one, once for each level."""
_END = re.compile(r"[\s/?#\"'\\<>]")


def password(scanned: ScannedText, at: int, *, is_cut: bool = False) -> Span | None:
    """The password of the authority that begins here. `is_cut`: the host may have been cut off."""
    text = scanned.text
    end = scanned.search(_END, at)
    colon = scanned.find_before(":", end, at) if is_cut and end == len(text) else -1
    host = scanned.find_before("@", end, at)
    if host < 0:
        return span(scanned.find(":", at) + 1, end) if colon >= 0 else None
    colon = scanned.find(":", at)
    return span(colon + 1, host) if colon < host else None


def encoded_password(scanned: ScannedText, at: int, deep: str) -> Span | None:
    """The password of an authority in which `%` is written as `%` and `deep`."""
    ends, colon, host = _encoded(deep)
    end = scanned.search(ends, at)
    start = scanned.search(colon, at, end)
    last = None
    found = start
    while (found := scanned.search(host, found, end)) < end:
        scanned.step()
        last, found = found, found + 1
    if last is None:
        return None
    after_colon = colon.match(scanned.text, start)
    return span(after_colon.end(), last) if after_colon else None


@lru_cache
def _encoded(deep: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """The end of an authority, the mark before the password, and the mark before the host."""
    mark = f"%{deep}"
    return (
        re.compile(rf"[\s/?#\"'\\<>&]|{mark}(?:2[fF3]|3[fF])"),
        re.compile(rf":|{mark}3[aA]"),
        re.compile(rf"@|{mark}40"),
    )
