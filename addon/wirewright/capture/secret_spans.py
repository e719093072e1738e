"""Finds the values of secret names in a text: JSON in any state, forms, headers, XML and URLs.

One pass over the text. It never parses: a name counts where a key can be, whatever surrounds it. So JSON may
be cut off, broken, inside other text, or inside JSON strings at any depth.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from wirewright.capture import scanned_text
from wirewright.capture.plain_values import PlainValues
from wirewright.capture.quoted_values import DOUBLE, SEPARATOR, Quote, QuotedValues
from wirewright.capture.scanned_text import BLANKS, REDACTED, WHITE_SPACE, ScannedText, Span, TooManyPieces
from wirewright.capture.secret_names import (
    LAST_WORDS,
    LETTER_CODE,
    LETTER_ESCAPE,
    OVERLAP,
    SEARCH_STEP,
    SecretNames,
)

MOST_SECRETS = 100_000
"""Values that are redacted one by one. After these, the rest of the text is redacted as a whole."""

_CODE = rf"%(?:25){{0,8}}+(?:{LETTER_CODE}|[89a-fA-F][0-9a-fA-F])"
"""A percent-encoded character of a name (RFC 3986, 2.1), once for each level of URLs in URLs."""
_OTHER_CODE = rf"(?!{_CODE})%(?:25){{0,8}}[0-7][0-9a-fA-F]"
"""One that is not in a name, such as `%3F`."""
_NAME_CODE, _AFTER_NAME = re.compile(_CODE), re.compile(_OTHER_CODE)
_ENCODED_LETTER = re.compile(r"%(?:25){0,8}([0-9a-fA-F]{2})")
_LONGEST_WORD = 1024
"""Characters of a word that may be a name, as it is written."""
_WORD_GOES_ON = re.compile(r"[\w%\-]")
_AFTER_BACKSLASH = re.compile(r"[bfnrt]|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})")
"""The rest of an escape, which is not the beginning of a name: `\\nToken` is a line feed and a name."""
_QUOTE_BEGINS = frozenset("\\\"'&")
_TAG_ENDS = frozenset("<:;cC")
"""Characters right before the name of an XML element, as `<` may be written."""
_SUBSCRIPTS = re.compile(r"\]?(?:\[[^\s\[\]=&:\"'\\]{0,64}+\]){0,8}+")
"""As in `user[password]=`, `token[]=` and `token[0]=`."""
_PAIRED_KEY = re.compile(r"[\"'27;](?i:name|key|header|field)\\*(?:[\"']|u002[27]|x2[27]|&\w+;)\s*[:=]\s*$")
"""The key before a name that is a value. A quote may be written as `\\u0022` or `&quot;`."""
_CLOSING = re.compile(r"\s{0,64}+(?:[,}\]:]|\\{0,16}+[\"'][,}\]:\s]|$)")
"""After a quote that ends a string, and does not begin one."""

_LONG_NAME = 5
"""Letters of a name that is not among a gigabyte of random bytes by chance."""
_FEW_BYTES = 4096
"""Up to this size a shorter name counts, too: about one in 40,000 messages of random bytes has one."""
_SOME_TEXT = re.compile(r"[\x20-\x7e]{8}|[\x20-\x7e]*\Z")
_TEXT_SOON = re.compile(r"[\s\S]{1,6}?[\x20-\x7e]{12}")
"""A text after its type and its length."""


class _Words(NamedTuple):
    """The patterns of words, which may be names."""

    letters: re.Pattern[str]
    escape: re.Pattern[str]
    """A letter that is written as an escape of JSON, without the backslashes."""
    word: re.Pattern[str]


def _words(letters: str, escape: str) -> _Words:
    return _Words(
        re.compile(rf"[{letters}]*+"),
        re.compile(escape),
        re.compile(rf"(?:[{letters}]++|{_CODE}|\\{{1,16}}+(?:{escape}))++"),
    )


_ASCII_WORDS = _words(r"0-9A-Za-z_\-", LETTER_ESCAPE)
_ANY_LETTERS = r"\w\x80-\U0010ffff\-"
_ANY_WORDS = _words(_ANY_LETTERS, LETTER_ESCAPE + "|u(?:00[89a-fA-F]|(?!00)[0-9a-fA-F]{3})[0-9a-fA-F]")
_PLAIN_WORD = re.compile(rf"[{_ANY_LETTERS}]++")


class SecretSpans:
    """The secrets of one text, from first to last.

    `parts` are those of `SecretNames.parts`. `is_binary` is true for a binary message, read as Latin-1.
    `is_cut` is true for the beginning of a message: a value that does not end in it is a secret if its name
    may have been cut off.
    """

    def __init__(
        self,
        text: str,
        names: SecretNames,
        parts: Iterable[tuple[int, int]],
        *,
        is_binary: bool = False,
        is_cut: bool = False,
    ) -> None:
        self._text = text
        self._names = names
        self._parts = parts
        self._words = _ANY_WORDS if names.has_non_ascii else _ASCII_WORDS
        self._is_binary, self._is_cut = is_binary, is_cut
        self._scanned = ScannedText(text, scanned_text.MOST_STEPS)
        self._quoted = QuotedValues(self._scanned)
        self._plain = PlainValues(self._scanned)
        self._position = 0
        """The end of the last secret."""
        self._word_end = 0
        """The end of the last word that was looked at."""

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
            for span in self._found():
                if len(spans) >= MOST_SECRETS:
                    raise TooManyPieces
                spans.append(span)
                self._position = max(self._position, span[1])
        except TooManyPieces:
            spans.append((self._position, len(self._text), REDACTED))
        return spans

    def _found(self) -> Iterator[Span]:
        for start, stop in self._parts:
            if self._position < stop:
                yield from self._in_part(start, stop)
            if self._position == len(self._text):
                return

    def _in_part(self, start: int, stop: int) -> Iterator[Span]:
        part, size = self._text[start : stop + OVERLAP], stop - start
        if self._names.roots:
            names = self._names.name_places(part)
        else:
            names = [found.start() for found in _PLAIN_WORD.finditer(part)]
        authorities = self._names.authorities(part, size)
        places = [*(at for at in names if at < size), *authorities]
        places.sort()
        for at in places:
            place = start + at
            if place < self._position:
                continue
            self._scanned.step()
            if at in authorities:  # the user may have the name of a secret, and is looked at next
                span = self._plain.password(place, authorities.pop(at), is_cut=self._is_cut)
            else:
                span = self._at_name(place)
            if span:
                yield span

    # Names

    def _at_name(self, place: int) -> Span | None:
        """The value of the word that has this place in it, if it is a name."""
        if place < self._word_end:
            return None
        start = self._word_start(place)
        word = self._words.word.match(self._text, start, start + _LONGEST_WORD)
        if word is None:
            return None
        self._word_end = word.end()
        return self._secret(word[0], start)

    def _word_start(self, place: int) -> int:
        """The beginning of the word that has this place in it. No letter before it is percent-encoded or an
        escape, as that would have been a place before."""
        text, least = self._text, max(self._position, self._word_end, place - _LONGEST_WORD)
        while True:
            letters = self._words.letters.match(text[least:place][::-1])
            start = place - (letters.end() if letters else 0)
            before = text[start - 1 : start]
            if before == "%":
                if code := _AFTER_NAME.match(text, start - 1):
                    return code.end()
                if start > least and _NAME_CODE.match(text, start - 1):
                    place = start - 1
                    continue
            elif before == "\\" and start > least and self._words.escape.match(text, start):
                place = max(least, start - min(16, self._scanned.backslashes_before(start)))
                continue
            return start

    def _secret(self, word: str, start: int) -> Span | None:
        """The value of a word, if the word is a secret name in the place of a key."""
        text = self._text
        escape = 0
        before = text[start - 1 : start]
        rest = _AFTER_BACKSLASH.match(word) if before == "\\" else None
        if rest and _unquoted(word[rest.end() :]) in self._names:
            escape = self._scanned.backslashes_before(start)
            start, word = start + rest.end(), word[rest.end() :]
            code = rest[1] or rest[2]
            before = chr(int(code, 16)) if code else rest[0]
        elif _unquoted(word) not in self._names:
            return None
        self._scanned.step(word.count("%"))
        end = start + len(word)
        following = text[end : end + 1]
        if following in _QUOTE_BEGINS and (quote := self._quoted.quote_at(end)):
            return self._of_quoted_name(start, end, quote)
        if following == "%" and (code := _AFTER_NAME.match(text, end)):
            if code[0][-2:] not in ("5D", "5d") or _WORD_GOES_ON.match(text, code.end()):
                return self._plain.parameter(code.end())
            return self._of_bare_name(start, code.end(), "%", 0)  # user%5Bpassword%5D=
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
        """True if random bytes of this size may have a name that is so short."""
        if not self._is_binary or len(self._text) <= _FEW_BYTES:
            return False
        name = self._text[start:end].lower()
        return min([len(name), *(len(word) for word in LAST_WORDS if name.endswith(word))]) < _LONG_NAME

    def _is_binary_key(self, start: int, end: int) -> bool:
        """True if a name is written with its length, as in MessagePack, or as in BSON: after the type of its
        value, and before a zero."""
        if self._may_be_chance(start, end) and not _TEXT_SOON.match(self._text, end):
            return False
        before = ord(self._text[start - 1]) if start else 0
        if before in (end - start, 0xA0 + end - start):
            return True
        return 0 < before < 0x14 and self._text.startswith("\0", end)


def _unquoted(word: str) -> str:
    """A word without percent-encoding."""
    return _ENCODED_LETTER.sub(lambda found: chr(int(found[1], 16)), word) if "%" in word else word
