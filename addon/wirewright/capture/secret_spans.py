"""Finds the values of secret names in a text: JSON in any state, forms, headers, XML and URLs.

One pass over the text. It never parses: a name counts where a key can be, whatever surrounds it. So JSON may
be cut off, broken, inside other text, or inside JSON strings at any depth.
"""

import re
from collections.abc import Iterator

from wirewright.capture import scanned_text
from wirewright.capture.plain_values import PlainValues
from wirewright.capture.quoted_values import DOUBLE, SEPARATOR, Quote, QuotedValues
from wirewright.capture.scanned_text import BLANKS, REDACTED, WHITE_SPACE, ScannedText, Span, TooManyPieces
from wirewright.capture.secret_names import (
    AT_SIGNS,
    LAST_WORDS,
    LETTER_CODE,
    LETTER_ESCAPE,
    OVERLAP,
    SEARCH_STEP,
    SecretNames,
)
from wirewright.capture.url_passwords import AUTHORITY, ENCODED_AUTHORITY, encoded_password, password

MOST_SECRETS = 100_000
"""Values that are redacted one by one. After these, the rest of the text is redacted as a whole."""

_WINDOW = 1024
"""Characters around a possible name in which all words are looked at."""


def _words(letters: str, escape: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?<![{letters}])(?:[{letters}]++|\\{{1,16}}+(?:{escape}))++|(?P<authority>{AUTHORITY})"
    )


_ASCII_WORDS = _words(r"0-9A-Za-z_%\-", LETTER_ESCAPE)
_WORDS = _words(r"\w\x80-\U0010ffff%\-", LETTER_ESCAPE + "|u(?:00[89a-fA-F]|(?!00)[0-9a-fA-F]{3})[0-9a-fA-F]")
"""Names, and what is before the user and the password of a URL."""
_LETTERS = re.compile(r"[\w%\-]*+")
_ENCODED = re.compile(rf"%(?:25){{0,8}}(?!{LETTER_CODE}|[89a-fA-F])[0-9a-fA-F]{{2}}")
"""A percent-encoded character (RFC 3986, 2.1), once for each level of URLs in URLs, that is not in a name."""
_ENCODED_LETTER = re.compile(r"%(?:25){0,8}([0-9a-fA-F]{2})")
_AFTER_BACKSLASH = re.compile(r"[bfnrt]|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})")
"""The rest of an escape, which is not the beginning of a name: `\\nToken` is a line feed and a name."""
_QUOTE_BEGINS = frozenset("\\\"'&")
_TAG_ENDS = frozenset("<:;cC")
"""Characters right before the name of an XML element, as `<` may be written."""
_SUBSCRIPTS = re.compile(r"\]?(?:\[[^\s\[\]=&:\"'\\]{0,64}+\]){0,8}+")
"""As in `user[password]=`, `token[]=` and `token[0]=`."""
_PAIRED_KEY = re.compile(
    r"(?i)(?:[\"']|u002[27]|x2[27]|;)(?:name|key|header|field)\\*(?:[\"']|u002[27]|x2[27]|&\w+;)\s*[:=]\s*$"
)
_CLOSING = re.compile(r"\s{0,64}+(?:[,}\]:]|\\{0,16}+[\"'][,}\]:\s]|$)")
"""After a quote that ends a string, and does not begin one."""

_LONG_NAME = 5
"""Letters of a name that is not among a gigabyte of random bytes by chance."""
_FEW_BYTES = 4096
"""Up to this size a shorter name counts, too: about one in 40,000 messages of random bytes has one."""
_SOME_TEXT = re.compile(r"[\x20-\x7e]{8}|[\x20-\x7e]*\Z")
_TEXT_SOON = re.compile(r"[\s\S]{1,6}?[\x20-\x7e]{12}")
"""A text after its type and its length."""


class SecretSpans:
    """The secrets of one text, from first to last.

    `is_binary` is true for a binary message, read as Latin-1. `is_cut` is true for the beginning of a
    message: a value that does not end in it is a secret if its name may have been cut off.
    """

    def __init__(
        self, text: str, names: SecretNames, *, is_binary: bool = False, is_cut: bool = False
    ) -> None:
        self._text = text
        self._names = names
        self._words = _WORDS if names.has_non_ascii else _ASCII_WORDS
        self._is_binary, self._is_cut = is_binary, is_cut
        self._scanned = ScannedText(text, scanned_text.MOST_STEPS)
        self._quoted = QuotedValues(self._scanned)
        self._plain = PlainValues(self._scanned)
        self._position = 0
        """The end of the last secret."""

    def __iter__(self) -> Iterator[Span]:
        position = 0
        for span in sorted(self._all()):
            if span[0] >= position:  # not inside the one before
                yield span
                position = span[1]

    def _all(self) -> list[Span]:
        """The secrets, almost in order: the value of a pair may come before those between it and its name."""
        spans: list[Span] = []
        try:
            if self._is_cut and (span := self._quoted.open_value(SEARCH_STEP)):
                spans.append(span)
            for start, end in self._windows():
                for span in self._in_window(start, end):
                    if len(spans) >= MOST_SECRETS:
                        raise TooManyPieces
                    spans.append(span)
                    self._position = max(self._position, span[1])
        except TooManyPieces:
            spans.append((self._position, len(self._text), REDACTED))
        return spans

    def _windows(self) -> Iterator[tuple[int, int]]:
        """The parts of the text that may have names; of a short text all of it."""
        text, may_be_in = self._text, self._names.may_be_in
        if len(text) <= _WINDOW:
            yield 0, len(text)
            return
        has_at = self._is_cut or any(self._scanned.find(each, 0) < len(text) for each in AT_SIGNS)
        for start in range(0, len(text), SEARCH_STEP):
            stop = min(start + SEARCH_STEP, len(text))
            if stop <= self._position or not may_be_in(text[start : stop + OVERLAP], has_at=has_at):
                continue
            for begin in range(start, stop, _WINDOW):
                end = min(begin + _WINDOW, stop)
                if end > self._position and may_be_in(text[begin : end + OVERLAP], has_at=has_at):
                    yield begin, end

    def _in_window(self, start: int, end: int) -> Iterator[Span]:
        last = min(end + _WINDOW, len(self._text))
        if start >= _WINDOW:  # a URL in a URL may be a word that is longer than a window
            long = _LETTERS.match(self._text, start - OVERLAP, last)
            if long and long.end() > start and "%" in long[0]:
                yield from self._encoded(long[0], long.start())
        step = self._scanned.step
        for found in self._words.finditer(self._text, start, last):
            if found.start() >= end:
                return
            if found.start() < self._position:
                continue
            step()
            if found.lastgroup is not None:
                if span := password(self._scanned, found.end(), is_cut=self._is_cut):
                    yield span
            elif "%" in found[0]:
                yield from self._encoded(found[0], found.start())
            elif span := self._secret(found[0], found.start()):
                yield span

    # Names

    def _encoded(self, word: str, start: int) -> Iterator[Span]:
        """The secrets of a word with percent-encoded characters, such as a URL in a URL."""
        for authority in ENCODED_AUTHORITY.finditer(word):
            self._scanned.step()
            at = start + authority.end()
            if at >= self._position and (span := encoded_password(self._scanned, at, authority["deep"])):
                yield span
        begin = 0
        for part in _ENCODED.finditer(word):
            self._scanned.step()
            name = word[begin : part.start()]
            if start + begin >= self._position and _unquoted(name) in self._names:
                at = start + part.end()
                if word[part.end() - 2 : part.end()] in ("5D", "5d") and part.end() == len(word):
                    span = self._of_bare_name(start + begin, at, "%", 0)  # user%5Bpassword%5D=
                else:
                    span = self._plain.parameter(at)
                if span:
                    yield span
                    return
            begin = part.end()
        if start + begin >= self._position and (span := self._secret(word[begin:], start + begin)):
            yield span

    def _secret(self, word: str, start: int) -> Span | None:
        """The value of a word, if the word is a secret name in the place of a key."""
        text = self._text
        escape = 0
        before = text[start - 1 : start]
        if before == "\\" and (rest := _AFTER_BACKSLASH.match(word)):
            escape = self._scanned.backslashes_before(start)
            start, word = start + rest.end(), word[rest.end() :]
            code = rest[1] or rest[2]
            before = chr(int(code, 16)) if code else rest[0]
        if (_unquoted(word) if "%" in word else word) not in self._names:
            return None
        end = start + len(word)
        if text[end : end + 1] in _QUOTE_BEGINS and (quote := self._quoted.quote_at(end)):
            return self._of_quoted_name(start, end, quote)
        return self._of_bare_name(start, end, before, escape)

    def _of_quoted_name(self, start: int, end: int, quote: Quote) -> Span | None:
        """After `"name"`, or a longer key that ends with it: the value of this key, the next string of a
        list, or the value beside the name."""
        text, scanned, quoted = self._text, self._scanned, self._quoted
        after = end + len(quote.text)
        at = scanned.after(WHITE_SPACE, after)
        if separator := SEPARATOR.match(text, at):
            return quoted.value(scanned.after(WHITE_SPACE, separator.end()), quote)
        if not quoted.is_quote_before(quote, start):
            return None
        begin = start - len(quote.text)
        before = text[max(0, begin - 80) : begin]
        if text.startswith(",", at) and before.rstrip().endswith("["):
            at = scanned.after(WHITE_SPACE, at + 1)
            return quoted.value(at, quote) if quoted.quote_at(at) else None
        if text[at : at + 1] in (",", "}") and _PAIRED_KEY.search(before):
            return quoted.value_after(after, quote) or self._value_before(begin, quote)
        return self._plain.part(begin, after) if before.endswith("=") else None

    def _value_before(self, begin: int, quote: Quote) -> Span | None:
        span = self._quoted.value_before(begin, quote)
        return span if span and span[1] <= begin else None

    def _of_bare_name(self, start: int, end: int, before: str, escape: int) -> Span | None:
        """After a name without quotes: a parameter, a header, an XML element, a key of JavaScript.

        `before` is the character before the name. `escape` is how many backslashes are before its last
        letter if it is written as an escape.
        """
        text, scanned = self._text, self._scanned
        if self._is_binary and not escape and self._is_binary_key(start, end):
            return end, len(text), REDACTED
        if (
            text[start - 1 : start] in _TAG_ENDS
            and self._plain.is_tag_before(start)
            and not (self._may_be_chance(start, end) and not _SOME_TEXT.match(text, end))
            and (span := self._plain.element(start, end))
        ):
            return span
        at = scanned.after(BLANKS, end)
        if text[end : end + 1] in ("]", "[") and (subscripts := _SUBSCRIPTS.match(text, end)):
            at = scanned.after(BLANKS, subscripts.end())
        separator = SEPARATOR.match(text, at)
        if separator is None or (
            self._may_be_chance(start, end)
            and not (before.isprintable() and _SOME_TEXT.match(text, separator.end()))
        ):
            return None
        is_field = separator[0] == ":"
        if before == "/" and is_field:
            return None  # the host of a URL
        at = scanned.after(BLANKS, separator.end())
        if is_field and not escape and before in ("", "\r", "\n"):
            return self._plain.line(at, start, escape, is_whole=True)
        if quote := self._quoted.quote_at(at):
            is_end = _CLOSING.match(text, at + len(quote.text))
            return None if is_end else self._quoted.value(at, DOUBLE)
        if text[at : at + 1] in ("{", "["):
            return self._quoted.value(at, DOUBLE)
        if is_field:
            return self._plain.line(at, start, escape, is_whole=False)
        if before and before in "?&;#/[]%":
            return self._plain.parameter(at, escape)
        return self._plain.words(at, escape)

    def _may_be_chance(self, start: int, end: int) -> bool:
        """Whether random bytes of this size may have a name that is so short."""
        if not self._is_binary or len(self._text) <= _FEW_BYTES:
            return False
        name = self._text[start:end].lower()
        return min([len(name), *(len(word) for word in LAST_WORDS if name.endswith(word))]) < _LONG_NAME

    def _is_binary_key(self, start: int, end: int) -> bool:
        """Whether a name is written with its length, as in MessagePack, or as in BSON: after the type of its
        value, and before a zero."""
        if self._may_be_chance(start, end) and not _TEXT_SOON.match(self._text, end):
            return False
        before = ord(self._text[start - 1]) if start else 0
        if before in (end - start, 0xA0 + end - start):
            return True
        return 0 < before < 0x14 and self._text.startswith("\0", end)


def _unquoted(word: str) -> str:
    return _ENCODED_LETTER.sub(lambda found: chr(int(found[1], 16)), word)
