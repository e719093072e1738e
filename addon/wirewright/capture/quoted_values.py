"""The ends of values in JSON, in whatever state and at any depth of JSON in JSON strings."""

import re
from functools import lru_cache
from typing import NamedTuple

from wirewright.capture.scanned_text import BACKSLASHES, REDACTED, WHITE_SPACE, ScannedText, Span

SEPARATOR = re.compile(r"[:=]=?>?|\\{1,16}+(?:u003[adAD]|x3[adAD])")
"""Between a name and its value."""
_MARK = re.compile(r"[\"']|u002[27]|x2[27]|&(?:quot|apos|#3[49]);")
_BRACKETS = re.compile(r"[\[\]{}]")
_SCALAR = re.compile(r"[\w.+\-]*+")
_SCALAR_END = re.compile(r"[,}\]\r\n\"'\\]")
_STRING_PREFIX = re.compile(r"[bBfFrRuU]{1,2}(?=[\"'])")
"""The prefix of a string in Python's source."""
_LINE_END = re.compile(r"[\r\n]")
_AFTER_VALUE = ",}])>;&|\"'\\"
"""Characters that may follow a value in JSON that is not broken, at any depth. Control characters may too."""
_VALUE_KEY = re.compile(r"[vV][aA][lL][uU][eE][sS]?\\{0,16}(?:[\"']|u002[27]|x2[27]|&)")
_OPEN_VALUE_KEY = re.compile(
    r"(?i)(?:[\"']|u002[27])values?\\{0,16}+(?:[\"']|u002[27])\s{0,64}+[:=]\s{0,64}+(?=[\"'\\])"
)
_PAIR_MARKS = 64
"""Quotes and brackets between the `name` and the `value` of a pair: about 16 keys."""
_LONGEST_GAP = 1024
"""Characters between two strings of an object, other than brackets, which a pair may have."""


class Quote(NamedTuple):
    """A quote as it is written: `"`, `\\"` in JSON in JSON, or `\\u0022` as .NET writes that."""

    slashes: int
    """Backslashes before it: one or more for each level of JSON in JSON."""
    mark: str
    text: str
    """Both together."""

    @property
    def is_escape(self) -> bool:
        return self.mark[0] in "ux"

    @property
    def period(self) -> int:
        """A mark with so many more backslashes, or a multiple of it, is this quote, and not one inside a
        string: two of them are one at the level below."""
        return 2 * self.slashes + 2 * (self.slashes & -self.slashes or 1)


DOUBLE = Quote(0, '"', '"')
_SINGLE = Quote(0, "'", "'")


class QuotedValues:
    """The values of a text that are written as JSON or a literal of a programming language."""

    def __init__(self, scanned: ScannedText) -> None:
        self._scanned = scanned
        self._text = scanned.text
        self._first_value: int | None = None
        """The place of the first key `value`, once it was looked for."""

    def quote_at(self, at: int) -> Quote | None:
        """The quote that begins here, with its backslashes."""
        text = self._text
        first = text[at : at + 1]
        if first == '"':
            return DOUBLE
        if first == "'":
            return _SINGLE
        if first not in ("\\", "&"):
            return None
        mark_at = self._scanned.after(BACKSLASHES, at)
        slashes = self._scanned.backslashes_before(mark_at, at)
        found = _MARK.match(text, mark_at)
        if found is None or (found[0][0] in "ux" and not slashes):
            return None
        return Quote(slashes, found[0], text[at : found.end()])

    def is_quote_before(self, quote: Quote, at: int) -> bool:
        """True if the same quote ends here."""
        mark_at = at - len(quote.mark)
        return (
            mark_at >= 0
            and self._text.startswith(quote.mark, mark_at)
            and self._scanned.backslashes_before(mark_at) == quote.slashes
        )

    def value(self, at: int, quote: Quote) -> Span | None:
        """A value of JSON: the inside of a string, or a list, an object or a scalar as a whole.

        Where no other value, bracket or quote follows it, the JSON is broken: the value has no known end.
        """
        text, scanned = self._text, self._scanned
        if text[at : at + 1] in ("b", "B", "f", "F", "r", "R", "u", "U") and (
            prefix := _STRING_PREFIX.match(text, at)
        ):
            at = prefix.end()
        if opening := self.quote_at(at):
            return self._string(at, opening)
        if text[at : at + 1] in ("{", "["):
            end = self._brackets_end(at, quote)
            if self._is_broken_after(end):
                end = len(text)
        else:
            end = scanned.search(_SCALAR_END, at)
            scalar_end = scanned.after(_SCALAR, at)
            if scanned.after(WHITE_SPACE, scalar_end) < end or self._is_broken_after(end):
                end = scalar_end if text.startswith(quote.text, scalar_end) else len(text)
        return (at, end, f"{quote.text}{REDACTED}{quote.text}") if end > at else None

    def _string(self, at: int, quote: Quote) -> Span:
        text = self._text
        start = at + len(quote.text)
        if text.startswith(3 * quote.text, at):  # a block string of GraphQL, Python or TOML
            start += 2 * len(quote.text)
            end = self._scanned.search(re.compile(3 * re.escape(quote.text)), start)
            return start, end, REDACTED
        end, after = self.string_end(start, quote)
        return start, len(text) if self._is_broken_after(after) else end, REDACTED

    def _is_broken_after(self, at: int) -> bool:
        end = self._scanned.after(WHITE_SPACE, at)
        following = self._text[end : end + 1]
        if following < " " or following in _AFTER_VALUE:  # "" at the end of the text
            return False
        return self._scanned.search(_LINE_END, at, end) == end

    def string_end(self, at: int, quote: Quote) -> tuple[int, int]:
        """The end of the inside of a string, and of the string.

        A quote with fewer backslashes ends a string around this one, and so this one too.
        """
        scanned, level, mark = self._scanned, quote.slashes, quote.mark
        marks, period = _string_marks(mark), quote.period
        end = len(self._text)
        while (found := scanned.search(marks, at)) < end:
            scanned.step()
            slashes = scanned.backslashes_before(found, at)
            is_same = self._text.startswith(mark, found)
            if slashes < level and not (is_same and quote.is_escape and not slashes):
                return found - slashes, found - slashes
            if is_same and slashes % period == level:
                return found - level, found + len(mark)
            at = found + 1
        return end, end

    def _brackets_end(self, at: int, quote: Quote) -> int:
        """The end of a list or an object that begins here."""
        depth = 0
        text, scanned = self._text, self._scanned
        if quote.mark == "'":
            quote = Quote(quote.slashes, '"', "\\" * quote.slashes + '"')
        marks = _object_marks(quote.mark)
        while (found := scanned.search(marks, at)) < len(text):
            scanned.step()
            at = found + 1
            if text[found] not in "[]{}":
                slashes = scanned.backslashes_before(found)
                if slashes < quote.slashes and (slashes or not quote.is_escape):
                    return found - slashes
                if slashes % quote.period == quote.slashes:
                    at = self.string_end(found + len(quote.mark), quote)[1]
                continue
            depth += 1 if text[found] in "[{" else -1
            if not depth:
                return at
        return found

    # Pairs

    def value_after(self, at: int, quote: Quote) -> Span | None:
        """In `{"name": "Authorization", "value": …}`, the value: that of the next such key of this object."""
        text, scanned = self._text, self._scanned
        if scanned.search(_VALUE_KEY, at) == len(text):
            return None
        marks = _object_marks(quote.mark)
        depth = 0
        for _ in range(_PAIR_MARKS):
            scanned.step()
            found = scanned.search(marks, at)
            if found == len(text):
                return None
            at = found + 1
            if text[found] in "[]{}":
                depth += 1 if text[found] in "[{" else -1
                if depth < 0:
                    return None
                continue
            slashes = scanned.backslashes_before(found)
            if slashes < quote.slashes:
                return None
            start = found + len(quote.mark)
            end, at = self.string_end(start, quote)
            if not depth and self._is_value_key(start, end) and (value_at := self._after_separator(at)):
                return self.value(value_at, quote)
        return None

    def value_before(self, at: int, quote: Quote) -> Span | None:
        """In `{"value": …, "name": "Authorization"}`, the value: that of the last such key of this object."""
        text, scanned = self._text, self._scanned
        if self._first_value is None:
            self._first_value = scanned.search(_VALUE_KEY, 0)
        if self._first_value >= at:
            return None
        depth = 0
        for _ in range(_PAIR_MARKS):
            scanned.step()
            closing = scanned.find_before(quote.mark, at)
            begin = closing + len(quote.mark)
            if closing < 0 or at - begin > _LONGEST_GAP:
                return None
            for bracket in reversed(_BRACKETS.findall(text[begin:at])):
                depth += 1 if bracket in "]}" else -1
                if depth < 0:
                    return None
            opening = self._opening_before(closing, quote)
            if opening is None:
                return None
            start, end = opening + len(quote.mark), closing - quote.slashes
            if not depth and self._is_value_key(start, end) and (value_at := self._after_separator(begin)):
                return self.value(value_at, quote)
            at = opening - quote.slashes
        return None

    def _opening_before(self, closing: int, quote: Quote) -> int | None:
        """The place of the mark that begins the string that ends with this one."""
        scanned = self._scanned
        if scanned.backslashes_before(closing) % quote.period != quote.slashes:
            return None
        at = closing
        while (at := scanned.find_before(quote.mark, at)) >= 0:
            scanned.step()
            slashes = scanned.backslashes_before(at)
            if slashes == quote.slashes:
                return at
            if slashes < quote.slashes:
                return None
        return None

    def _is_value_key(self, start: int, end: int) -> bool:
        return end - start in (5, 6) and self._text[start:end].lower() in ("value", "values")

    def _after_separator(self, at: int) -> int | None:
        """The place of the value of a key that ends here."""
        separator = SEPARATOR.match(self._text, self._scanned.after(WHITE_SPACE, at))
        return self._scanned.after(WHITE_SPACE, separator.end()) if separator else None

    def open_value(self, end: int) -> Span | None:
        """In a text that is cut off: the value of a last key `value` that begins before `end` and does not
        end. The name of its pair may have been cut off."""
        keys = [*_OPEN_VALUE_KEY.finditer(self._text[:end])]
        span = self.value(keys[-1].end(), DOUBLE) if keys else None
        return span if span and span[1] == len(self._text) else None


@lru_cache
def _string_marks(mark: str) -> re.Pattern[str]:
    return re.compile(rf'{mark}|"' if len(mark) > 1 else mark)


@lru_cache
def _object_marks(mark: str) -> re.Pattern[str]:
    return re.compile(rf"{mark}|[\[\]{{}}]")
