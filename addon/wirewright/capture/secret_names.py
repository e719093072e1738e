"""The names whose values are secrets, and a quick check whether a text has one of them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, AnyStr, Generic

DEFAULT = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "token",
    "access_token",
    "auth_token",
    "refresh_token",
    "id_token",
    "session_token",
    "security_token",
    "bearer_token",
    "csrf_token",
    "xsrf_token",
    "x-auth-token",
    "x-access-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-amz-security-token",
    "jwt",
    "api_key",
    "x-api-key",
    "secret",
    "client_secret",
    "secret_key",
    "api_secret",
    "password",
    "passwd",
    "passphrase",
    "passcode",
)
"""Names of headers, parameters and keys. Case, `-` and `_` do not count: `accessToken` is `access_token`."""
LAST_WORDS = ("token", "password", "passwd", "secret", "jwt")
"""Names that also count as the last word of a longer one: `db_password`, `X-Session-Token`, `newPassword`."""
_LAST_WORD = re.compile(r"(?:[-_]|(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]))([A-Za-z]+)$")
"""After `-`, `_` or a step of camelCase."""

SEARCH_STEP = 64 * 1024
"""Characters that one search looks at. Python's interpreter lock is not released during a search."""
OVERLAP = 256
"""Characters after a part of a text that are searched too, for a name that begins in the part."""
MOST_NAMES = 64
"""With more names than this, every text is scanned: looking for each of them would take longer."""
AT_SIGNS = ("@", "%40", "2540")
"""One of these is before the host of each URL with a password, also in URLs in URLs."""
_LONGEST_NAME = 128
"""Characters of a name whose last word counts."""
SHORTEST_ROOT = 4
"""Letters at least that names begin with to be looked for together: `pass` for `password` and `passcode`."""

_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
LETTER_ESCAPE = r"u00(?:2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])"
"""The rest of an escape of JSON (RFC 8259, 7) that stands for an ASCII letter, a digit, `-` or `_`."""
_ESCAPED = rf"\\{LETTER_ESCAPE}"
LETTER_CODE = r"(?:2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])"
_PERCENT = rf"%(?:25){{0,8}}(?:40|{LETTER_CODE})"
"""A percent-encoded letter (RFC 3986, 2.1), which may be in a name, or `@`."""


def folded(name: str) -> str:
    """A name in the form in which names are compared."""
    return name.lower().replace("-", "").replace("_", "")


class SecretNames:
    """The names that a redaction was given."""

    def __init__(self, names: Iterable[str]) -> None:
        given = list(names)
        # A binary message is read as Latin-1: each name has this form there.
        binary = [name.encode("utf-8", "surrogatepass").decode("latin-1") for name in given]
        self._names = frozenset(map(folded, given + binary)) - {""}
        self.has_non_ascii = not all(name.isascii() for name in self._names)
        roots = [] if self.has_non_ascii or len(self._names) > MOST_NAMES else _roots(self._names)
        self._last_words = tuple(word for word in LAST_WORDS if word in self._names)
        self._in_text = _Marks(
            roots=roots,
            backslash="\\",
            percent="%",
            at="@",
            authorities=("://", "\\/", "u002f", "2f%"),
            separators=("_", "-"),
            nothing="",
            escape=re.compile(_ESCAPED),
            encoded=re.compile(_PERCENT),
        )
        self._in_binary = _Marks(
            roots=[root.encode() for root in roots],
            backslash=ord("\\"),
            percent=ord("%"),
            at=ord("@"),
            authorities=(b"://", b"\\/", b"u002f", b"2f%"),
            separators=(b"_", b"-"),
            nothing=b"",
            escape=re.compile(_ESCAPED.encode()),
            encoded=re.compile(_PERCENT.encode()),
        )

    def __bool__(self) -> bool:
        return bool(self._names)

    def __contains__(self, name: str) -> bool:
        """True for a name, in whatever case and with or without `-` and `_`, and for a longer one whose last
        word is one of `LAST_WORDS`, if that is among the names."""
        if "\\" in name:
            name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), name)
        plain = folded(name)
        if plain in self._names:
            return True
        if not plain.endswith(self._last_words) or len(name) > _LONGEST_NAME:
            return False
        last = _LAST_WORD.search(name)
        return last is not None and last[1].lower() in self._last_words

    def may_be_in(self, part: str | bytes, *, has_at: bool | None = None) -> bool:
        """False if a part of about `SEARCH_STEP` characters has no such name and no password of a URL.

        `has_at` is whether the text has one of `AT_SIGNS` somewhere. By default the part is the whole text.
        """
        if isinstance(part, str):
            return self._in_text.are_in(part.lower(), has_at)
        return self._in_binary.are_in(part.lower(), has_at)


@dataclass(frozen=True, slots=True)
class _Marks(Generic[AnyStr]):
    """What every text, or every binary message, with a secret has."""

    roots: Sequence[AnyStr]
    """Each name has one of these in it. None if all texts are to be scanned."""
    backslash: Any
    percent: Any
    at: Any
    """Characters; for bytes their numbers, which are found faster."""
    authorities: tuple[AnyStr, ...]
    """Before the user, the password and the host of a URL, or a part of that in JSON or percent-encoding."""
    separators: tuple[AnyStr, AnyStr]
    nothing: AnyStr
    escape: re.Pattern[AnyStr]
    encoded: re.Pattern[AnyStr]

    def are_in(self, lowered: AnyStr, has_at: bool | None) -> bool:
        if not self.roots:
            return True
        # Single characters are found ten times as fast as longer texts, and most messages have none of these.
        if self.at in lowered if has_at is None else has_at:
            for mark in self.authorities:
                if mark in lowered:
                    return True
        if self.backslash in lowered and self.escape.search(lowered):
            return True
        if self.percent in lowered and self.encoded.search(lowered):
            return True
        for separator in self.separators:
            if separator in lowered:
                lowered = lowered.replace(separator, self.nothing)
        for root in self.roots:  # noqa: SIM110  any() takes longer
            if root in lowered:
                return True
        return False


def _roots(names: frozenset[str]) -> list[str]:
    """A few texts of which each name has one in it: names, or the beginning that several share."""
    shortest = [name for name in names if not any(other in name for other in names - {name})]
    alike = groupby(sorted(shortest), key=lambda name: name[:SHORTEST_ROOT])
    groups = [(beginning, list(group)) for beginning, group in alike]
    return [group[0] if len(group) == 1 else beginning for beginning, group in groups]
