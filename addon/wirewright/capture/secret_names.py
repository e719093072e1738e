"""The names whose values are secrets, and a quick check whether a text has one of them."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby

from wirewright.values import Payload

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
_LONGEST_NAME = 128
"""Characters of a name whose last word counts."""
SHORTEST_ROOT = 4
"""Letters at least that names begin with to be looked for together: `pass` for `password` and `passcode`."""

_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
LETTER_ESCAPE = r"u00(?:2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])"
"""The rest of an escape of JSON (RFC 8259, 7) that stands for an ASCII letter, a digit, `-` or `_`."""
LETTER_CODE = r"(?:2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])"
"""The same in percent-encoding (RFC 3986, 2.1), after the `%`."""
# Each of these begins with one literal character, which is found fast. A `?` may be any other character.
_AUTHORITY = re.compile(rb"(:(?:\\{0,16}+(?:/|u002[fF])){2})[^\s/#\"'\\<>@]*+(?:@|\Z)")
"""Before the user, the password and the host, which may be in the next part. The slashes have backslashes in
JSON of PHP."""
_ENCODED_AUTHORITY = re.compile(
    rb"(%(?P<deep>(?:25){0,8}+)3[aA](?:%(?P=deep)2[fF]){2})"
    rb"(?:[^\s/#\"'\\<>&%@]++|%(?!(?P=deep)(?:2[fF3]|3[fF]|40)))*+(?:@|%(?P=deep)40|\Z)"
)
"""The same in a URL that is a parameter of another one, once for each level."""
_ESCAPED_WORD = re.compile(rb"\\%s(?:[\w\-]++|\\{1,16}+%b)*+" % (2 * (LETTER_ESCAPE.encode(),)))
_ENCODED_WORD = re.compile(
    rb"%%(?:25){0,8}+%s(?:[\w\-]++|%%(?:25){0,8}+%b)*+" % (2 * (LETTER_CODE.encode(),))
)
"""Words from their first letter on that is an escape, or percent-encoded."""
_SEPARATOR = re.compile(rb"[-_]")
_SLASH, _BACKSLASH, _PERCENT, _HYPHEN, _UNDERSCORE = b"/\\%-_"


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
        self.roots = () if self.has_non_ascii or len(self._names) > MOST_NAMES else _roots(self._names)
        """Each name has one of these texts in it. Empty if all messages are to be scanned."""
        self._octets = [root.encode() for root in self.roots]
        self._last_words = tuple(word for word in LAST_WORDS if word in self._names)

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

    def parts(self, message: Payload) -> Iterator[tuple[int, int]]:
        """The parts of a message, of `SEARCH_STEP` characters, that may have a secret."""
        size = len(message)
        for start in range(0, size, SEARCH_STEP):
            part = message if size <= SEARCH_STEP else message[start : start + SEARCH_STEP + OVERLAP]
            if self.may_be_in(part):
                yield start, min(start + SEARCH_STEP, size)

    def may_be_in(self, part: Payload) -> bool:
        """False if a part of about `SEARCH_STEP` characters has no such name and no password of a URL."""
        if not self.roots:
            return bool(part)
        octets = _octets(part)
        # One byte is found much faster than several, and most messages have none of these.
        has_backslash = _BACKSLASH in octets
        has_url = _SLASH in octets and octets.find(b"://") >= 0
        if (has_url or (has_backslash and octets.find(b":\\") >= 0)) and _AUTHORITY.search(octets):
            return True
        if has_backslash and _ESCAPED_WORD.search(octets):
            return True
        if _PERCENT in octets and (_ENCODED_WORD.search(octets) or _ENCODED_AUTHORITY.search(octets)):
            return True
        octets = octets.lower()
        if _HYPHEN in octets or _UNDERSCORE in octets:
            octets = octets.translate(None, b"-_")
        find = octets.find
        for root in self._octets:  # noqa: SIM110  any() takes longer
            if find(root) >= 0:
                return True
        return False

    def authorities(self, part: Payload, size: int) -> dict[int, str | None]:
        """The places where the user and the password of a URL may begin, which begins in the first `size`
        characters. With each, what is behind `%` if the URL is percent-encoded; None if it is not."""
        octets = _octets(part)
        plain = {found.end(1): None for found in _AUTHORITY.finditer(octets) if found.start() < size}
        encoded = [found for found in _ENCODED_AUTHORITY.finditer(octets) if found.start() < size]
        return plain | {found.end(1): found["deep"].decode() for found in encoded}

    def name_places(self, part: Payload) -> list[int]:
        """A place in each word that may be a name: in one of its roots, or in an encoded letter of it.

        There must be roots.
        """
        octets = _octets(part)
        folded = octets.lower().translate(None, b"-_")
        places = [place for root in self._octets for place in _all_places(folded, root)]
        if places and len(folded) < len(octets):
            separators = [found.start() - count for count, found in enumerate(_SEPARATOR.finditer(octets))]
            places = [place + bisect_right(separators, place) for place in places]
        for word in (_ESCAPED_WORD, _ENCODED_WORD):
            places += [found.start() + 1 for found in word.finditer(octets)]
        return places


def _octets(part: Payload) -> bytes:
    """A part as bytes, with a byte for each character: `?` for one that is not in Latin-1."""
    return part.encode("latin-1", "replace") if isinstance(part, str) else part


def _all_places(octets: bytes, root: bytes) -> Iterator[int]:
    place = octets.find(root)
    while place >= 0:
        yield place
        place = octets.find(root, place + len(root))


def _roots(names: frozenset[str]) -> tuple[str, ...]:
    """A few texts of which each name has one in it: names, or the beginning that several share."""
    shortest = [name for name in names if not any(other in name for other in names - {name})]
    alike = groupby(sorted(shortest), key=lambda name: name[:SHORTEST_ROOT])
    groups = [(beginning, list(group)) for beginning, group in alike]
    return tuple(group[0] if len(group) == 1 else beginning for beginning, group in groups)
