"""Finds the values of secret names in a text: JSON in any state, forms, headers, XML and URLs.

One pass over the text. It never parses: a name counts where a key can be, whatever surrounds it. So JSON may
be cut off, broken, inside other text, or inside JSON strings at any depth.
"""

import re
from collections.abc import Iterator
from itertools import islice

from wirewright.capture.secret_names import LETTER_ESCAPE, OVERLAP, STEP, SecretNames

REDACTED = "REDACTED"
MOST_SECRETS = 100_000
"""Values that are redacted one by one. After these, the rest of the text is redacted as a whole."""
MOST_STEPS = 1_000_000
"""Words, quotes and brackets that are looked at, likewise."""
MOST_BACKSLASHES = 4_095
"""Backslashes before a quote, likewise: twelve levels of JSON in JSON strings."""

Span = tuple[int, int, str]
"""The start and the end of what is replaced, and its replacement."""

_WINDOW = 1024
"""Characters around a possible name in which all words are looked at."""
_NEAR = 1024
"""Characters between the `name` and the `value` of a pair."""
_PAIR_VALUES = 3
"""Keys called `value` among them that are looked at."""
_PAIR_STEPS = 20
"""As how many steps the search for a value in them counts."""

_USER_INFO = r":(?:\\{0,16}+/){2}[^\s/?#@\"'\\<>:]{0,256}+:(?P<password>[^\s/?#\"'\\<>]{1,1024})@"
"""Before the host of a URL (RFC 3986, 3.2.1)."""


def _words(letters: str, escape: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![{letters}/])(?:[{letters}]++|\\{{1,16}}+(?:{escape}))++|{_USER_INFO}")


_ASCII_WORDS = _words(r"0-9A-Za-z_%\-", LETTER_ESCAPE)
_WORDS = _words(r"\w\x80-\U0010ffff%\-", LETTER_ESCAPE + "|u(?:00[89a-fA-F]|(?!00)[0-9a-fA-F]{3})[0-9a-fA-F]")
"""Names, and URLs with a password."""
_ENCODED = re.compile(r"%(?!2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|[8-9a-fA-F])[0-9a-fA-F]{2}")
"""A percent-encoded character (RFC 3986, 2.1) that is not in a name."""
_ENCODED_LETTER = re.compile(r"%([0-9a-fA-F]{2})")
_AFTER_BACKSLASH = re.compile(r"[bfnrt]|u[0-9a-fA-F]{4}")
"""The rest of an escape, which is not the beginning of a name: `\\nToken` is a line feed and a name."""
_WHITE_SPACE = re.compile(r"\s*+")
_BLANKS = re.compile(r"[ \t]*+")
_BACKSLASHES = re.compile(r"\\*+")
_SEPARATOR = re.compile(r"[:=]=?>?|\\{1,16}+u003[adAD]")
_PAIRED_KEY = re.compile(r"(?i)[\"'](?:name|key|header|field)\\*[\"']\s*[:=]\s*$")
_PAIRED_VALUE = re.compile(r"(?i)[\"']values?\\{0,16}+[\"']\s{0,64}+[:=]\s{0,64}+")
_BRACKETS = re.compile(r"[\[\]{}]")
_QUOTE_OR_BRACKET = re.compile(r"[\"\[\]{}]")
_SCALAR = re.compile(r"[\w.+\-]*+")
_SCALAR_END = re.compile(r"[,}\]\r\n\"'\\]")
_FIELD_END = re.compile(r"[\r\n\0]")
_QUOTED_FIELD_END = re.compile(r"[\r\n\0\"]")
_PARAMETER_END = re.compile(r"[&\s\0\"<>]")
_LINE_END = re.compile(r"[\r\n]")
_AFTER_VALUE = ",}])>;&|\"'\\"
"""Characters that may follow a value in JSON that is not broken, at any depth. Control characters may too."""
_CLOSING = re.compile(r"[\"']\s{0,64}+(?:[,}\]:]|\\{0,16}+[\"'][,}\]:\s]|$)")
"""A quote that ends a string, and does not begin one."""


class TooManyPieces(Exception):
    """The text has more pieces than are looked at one by one."""


class SecretSpans:
    """The secrets of one text, from first to last.

    `is_binary` is true for a binary message, read as Latin-1. `is_thorough` looks at all words, also at those
    that hide a name in percent-encoding.
    """

    def __init__(
        self, text: str, names: SecretNames, *, is_binary: bool = False, is_thorough: bool = False
    ) -> None:
        self._text = text
        self._names = names
        self._words = _WORDS if names.has_non_ascii else _ASCII_WORDS
        self._is_binary, self._is_thorough = is_binary, is_thorough
        self._position = 0
        """The end of the last secret."""
        self._steps = 0

    def __iter__(self) -> Iterator[Span]:
        count = 0
        try:
            for start, end in self._windows():
                for span in self._in_window(start, end):
                    count += 1
                    if count > MOST_SECRETS:
                        raise TooManyPieces
                    yield span
                    self._position = span[1]
        except TooManyPieces:
            yield self._position, len(self._text), REDACTED

    def _windows(self) -> Iterator[tuple[int, int]]:
        """The parts of the text that may have names; of a short text all of it."""
        text, may_be_in = self._text, self._names.may_be_in
        if len(text) <= _WINDOW:
            yield 0, len(text)
            return
        for start in range(0, len(text), STEP):
            stop = min(start + STEP, len(text))
            if stop <= self._position or not (self._is_thorough or may_be_in(text[start : stop + OVERLAP])):
                continue
            for begin in range(start, stop, _WINDOW):
                end = min(begin + _WINDOW, stop)
                if end > self._position and (self._is_thorough or may_be_in(text[begin : end + OVERLAP])):
                    yield begin, end

    def _in_window(self, start: int, end: int) -> Iterator[Span]:
        for found in self._words.finditer(self._text, start, min(end + _WINDOW, len(self._text))):
            if found.start() >= end:
                return
            if found.start() < self._position:
                continue
            self._step()
            if found.lastgroup is not None:
                yield *found.span("password"), REDACTED
            elif span := self._secret(found[0], found.start()):
                yield span

    def _step(self, count: int = 1) -> None:
        self._steps += count
        if self._steps > MOST_STEPS:
            raise TooManyPieces

    # Names

    def _secret(self, word: str, start: int) -> Span | None:
        """The value of a word, if the word is a secret name in the place of a key."""
        text = self._text
        escape = 0
        if start and text[start - 1] == "\\" and (rest := _AFTER_BACKSLASH.match(word)):
            escape = self._backslashes_before(start)
            start, word = start + rest.end(), word[rest.end() :]
        end = start + len(word)
        if "%" in word:
            parts = [*_ENCODED.finditer(word)]
            for number, part in enumerate(parts):
                begin = parts[number - 1].end() if number else 0
                if self._unquoted(word[begin : part.start()]) not in self._names:
                    continue
                if part[0] in ("%5D", "%5d") and part.end() == len(word):
                    return self._of_bare_name(start, end, escape)  # user%5Bpassword%5D=
                return self._rest_of_parameter(start + part.end())
            word = self._unquoted(word[parts[-1].end() if parts else 0 :])
        if word not in self._names:
            return None
        quote = text[start - 1 : start]
        if quote and quote in "\"'":
            level = self._backslashes_before(start - 1)
            if text.startswith("\\" * level + quote, end):
                return self._of_quoted_name(start - 1 - level, end + level + 1, quote, level)
        return self._of_bare_name(start, end, escape)

    @staticmethod
    def _unquoted(word: str) -> str:
        return _ENCODED_LETTER.sub(lambda found: chr(int(found[1], 16)), word)

    def _of_quoted_name(self, start: int, end: int, quote: str, level: int) -> Span | None:
        """After `"name"`: the value of this key, the next element of a list, or the value beside the name."""
        text = self._text
        at = self._after(_WHITE_SPACE, end)
        if separator := _SEPARATOR.match(text, at):
            return self._value(self._after(_WHITE_SPACE, separator.end()), quote, level)
        before = text[max(0, start - 80) : start]
        if text.startswith(",", at) and before.rstrip().endswith("["):
            return self._value(self._after(_WHITE_SPACE, at + 1), quote, level)
        if text[at : at + 1] in (",", "}") and _PAIRED_KEY.search(before):
            return self._paired_value(start, end, quote, level)
        return None

    def _paired_value(self, start: int, end: int, quote: str, level: int) -> Span | None:
        """In `{"name": "Authorization", "value": …}`, in either order, the value."""
        self._step(_PAIR_STEPS)
        following = self._text[end : end + _NEAR]
        for found in islice(_PAIRED_VALUE.finditer(following), _PAIR_VALUES):
            if _is_one_object(following[: found.start()]):
                return self._value(end + found.end(), quote, level)
        begin = max(self._position, start - _NEAR)
        before = SecretSpans(self._text[begin:start], self._names)
        for found in [*_PAIRED_VALUE.finditer(before._text)][: -_PAIR_VALUES - 1 : -1]:
            span = before._value(found.end(), quote, level)
            if span and (rest := before._text[span[1] :]) and _is_one_object(rest):
                return begin + span[0], begin + span[1], span[2]
        return None

    def _of_bare_name(self, start: int, end: int, escape: int) -> Span | None:
        """After a name without quotes: a parameter, a header, an XML element, a key of JavaScript.

        `escape` is how many backslashes are before the letter of an escape that precedes the name.
        """
        text = self._text
        before = text[start - 1 : start]
        if self._is_binary and before and ord(before) == 0xA0 + end - start:
            return end, len(text), REDACTED  # a key of MessagePack
        if text.startswith(">", end) and before in ("<", ":"):
            return _span(end + 1, self._find("<", end))
        at = self._after(_BLANKS, end + text.startswith("]", end))  # user[password]=
        separator = _SEPARATOR.match(text, at)
        if separator is None or (self._is_binary and end - start < 5 and not before.isprintable()):
            return None  # as there may be by chance in a gigabyte of random bytes
        at = self._after(_BLANKS, separator.end())
        is_field = separator[0] == ":"
        if is_field and before in ("", "\r", "\n"):
            return _span(at, self._search(_FIELD_END, at))
        opening = self._after(_BACKSLASHES, at)
        if text[opening : opening + 1] in ('"', "'"):
            return None if _CLOSING.match(text, opening) else self._value(at, '"', 0)
        if text[at : at + 1] in ("{", "["):
            return self._value(at, '"', 0)
        if is_field:
            return _span(at, self._end_in_string(at, self._search(_QUOTED_FIELD_END, at), escape))
        return self._rest_of_parameter(at, escape)

    def _rest_of_parameter(self, at: int, escape: int = 0) -> Span | None:
        return _span(at, self._end_in_string(at, self._search(_PARAMETER_END, at), escape))

    def _end_in_string(self, start: int, end: int, escape: int) -> int:
        """The end of a value that may be inside a JSON string, where a line feed is an escape."""
        if not self._text.startswith('"', end):
            return end
        end = max(start, end - self._backslashes_before(end))
        pattern = re.compile(rf"(?<!\\)\\{{{escape or 1}}}(?:[nrt]|u00)")
        return self._search(pattern, start, end)

    # Values

    def _value(self, at: int, quote: str, level: int) -> Span | None:
        """A value of JSON: the inside of a string, or a list, an object or a scalar as a whole.

        Where no other value, bracket or quote follows it, the JSON is broken: the value has no known end.
        """
        text = self._text
        opening = self._after(_BACKSLASHES, at)
        if text[opening : opening + 1] in ('"', "'"):
            slashes, start = opening - at, opening + 1
            end, after = self._string_end(start, slashes, text[opening])
            if self._is_broken_after(after):
                end = len(text)
            return start, end, REDACTED
        mark = "\\" * level + quote
        if text[at : at + 1] in ("{", "["):
            end = self._brackets_end(at, level)
            if self._is_broken_after(end):
                end = len(text)
        else:
            end = self._search(_SCALAR_END, at)
            if self._after(_WHITE_SPACE, self._after(_SCALAR, at)) < end or self._is_broken_after(end):
                end = len(text)
        return (at, end, f"{mark}{REDACTED}{mark}") if end > at else None

    def _is_broken_after(self, at: int) -> bool:
        end = self._after(_WHITE_SPACE, at)
        following = self._text[end : end + 1]
        if following < " " or following in _AFTER_VALUE:  # "" at the end of the text
            return False
        return self._search(_LINE_END, at, end) == end

    def _string_end(self, at: int, level: int, quote: str) -> tuple[int, int]:
        """The end of the inside of a string, and of the string, whose quotes have `level` backslashes.

        A quote with fewer backslashes ends a string around this one, and so this one too.
        """
        while (found := self._find(quote, at)) < len(self._text):
            self._step()
            slashes = self._backslashes_before(found, at)
            if slashes < level:
                return found - slashes, found - slashes
            if slashes % (2 * level + 2) == level:
                return found - level, found + 1
            at = found + 1
        return found, found

    def _brackets_end(self, at: int, level: int) -> int:
        """The end of a list or an object that begins here."""
        depth = 0
        text = self._text
        while (found := self._search(_QUOTE_OR_BRACKET, at)) < len(text):
            self._step()
            at = found + 1
            if text[found] == '"':
                slashes = self._backslashes_before(found)
                if slashes < level:
                    return found - slashes
                if slashes % (2 * level + 2) == level:
                    at = self._string_end(at, level, '"')[1]
                continue
            depth += 1 if text[found] in "[{" else -1
            if not depth:
                return at
        return found

    # Searches in steps: each is short, and other threads run between them

    def _find(self, char: str, at: int) -> int:
        """The place of a character from here on, or the end of the text."""
        for start in range(at, len(self._text), STEP):
            if (found := self._text.find(char, start, start + STEP)) >= 0:
                return found
        return len(self._text)

    def _search(self, pattern: re.Pattern[str], at: int, end: int | None = None) -> int:
        """The place of a match of a few characters from here on, or the end."""
        end = len(self._text) if end is None else end
        for start in range(at, end, STEP):
            if found := pattern.search(self._text, start, min(start + STEP + 16, end)):
                return found.start()
        return end

    def _after(self, repeated: re.Pattern[str], at: int) -> int:
        """The end of a repeated character."""
        while (found := repeated.match(self._text, at, at + STEP)) and found.end() == at + STEP:
            at += STEP
        return found.end() if found else at

    def _backslashes_before(self, at: int, start: int = 0) -> int:
        """How many backslashes are right before this place, and not before `start`."""
        if not at or self._text[at - 1] != "\\":
            return 0
        before = self._text[max(start, at - MOST_BACKSLASHES - 1) : at]
        count = len(before) - len(before.rstrip("\\"))
        if count > MOST_BACKSLASHES:
            raise TooManyPieces
        return count


def _span(start: int, end: int) -> Span | None:
    return (start, end, REDACTED) if end > start else None


def _is_one_object(between: str) -> bool:
    """True if no object ends between two places that it does not begin."""
    depth = 0
    for bracket in _BRACKETS.findall(between):
        depth += 1 if bracket in "[{" else -1
        if depth < 0:
            return False
    return depth == 0
