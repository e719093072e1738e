"""The ends of values without quotes: parameters, lines of headers and YAML, XML elements, parts of forms, and
passwords in URLs."""

import re
from functools import lru_cache

from wirewright.capture.scanned_text import BLANKS, ScannedText, Span, span

_LINE_END = re.compile(r"[\r\n\0]")
_QUOTED_LINE_END = re.compile(r"[\r\n\0\"]")
_PARAMETER_END = re.compile(r"[&\s\0\"<>]")
_WORDS_END = re.compile(r"[&\r\n\0\"<>]")
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_LINE_BREAKS = re.compile(r"[\r\n]*+")
_FIRST_IN_LINE = re.compile(r"(?:^|[\r\n])((?:[ \t]|- )*)$")
_LONGEST_INDENT = 256

_TAG = re.compile(r"(?:<|\\u003[cC]|&lt;)(?:[\w.\-]{1,64}:)?$")
_LONGEST_TAG = 80
_LONGEST_TAG_END = 4096
"""Characters of the attributes of an element."""
_AFTER_TAG_NAME = re.compile(r"[\s>]|\\{1,16}+u003[eE]|&gt;")
_TAG_BEGIN = re.compile("<")
_TAG_END = re.compile(r">|\\{1,16}+u003[eE]|&gt;")
_CLOSING_TAG = re.compile(r"(?:<|\\{1,16}+u003[cC]|&lt;)\\{0,16}+/")
_TAG_PREFIX = re.compile(r"(?:[\w.\-]{1,64}:)?")

_IN_FORM = re.compile(r"(?i)form-data\s*;[^\r\n]*\bname=$")
_PART_HEAD_END = re.compile(r"\r\n\r\n|\n\n")
_PART_END = re.compile(r"\r?\n--")


class PlainValues:
    """The values of a text that no quote or bracket ends."""

    def __init__(self, scanned: ScannedText) -> None:
        self._scanned = scanned
        self._text = scanned.text
        self._no_tag_ends_before = 0
        """No tag ends between the last name that began one and here."""

    def parameter(self, at: int, escape: int = 0) -> Span | None:
        """The value of a parameter of a URL or a form, which has no white space.

        `escape` is how many backslashes are before the letter of an escape in this string, if one is known.
        """
        return self._until(_PARAMETER_END, at, escape)

    def words(self, at: int, escape: int = 0) -> Span | None:
        """A value after `=` that is not in a URL: to the end of the line."""
        return self._until(_WORDS_END, at, escape)

    def line(self, at: int, start: int, escape: int, *, is_whole: bool) -> Span | None:
        """The value after `name:`, to the end of the line, and of the lines that are indented more than the
        name (header folding of RFC 9112, 5.2, and YAML). `is_whole`: a quote does not end it."""
        end = self._scanned.search(_LINE_END if is_whole else _QUOTED_LINE_END, at)
        if self._text.startswith('"', end):
            return span(at, self._end_in_string(at, end, escape, _FOLDED_ENDS))
        indent = self._indent(start)
        return span(at, end if indent is None else self._block_end(at, end, indent))

    def _until(self, ends: re.Pattern[str], at: int, escape: int) -> Span | None:
        end = self._scanned.search(ends, at)
        return span(at, self._end_in_string(at, end, escape, _ESCAPED_ENDS))

    def _end_in_string(self, start: int, end: int, escape: int, ends: str) -> int:
        """The end of a value that may be inside a JSON string, where a line feed is an escape."""
        if not self._text.startswith('"', end):
            return end
        end = max(start, end - self._scanned.backslashes_before(end))
        slashes = rf"\\{{{escape or 1}}}"
        return self._scanned.search(re.compile(ends.replace("/", slashes)), start, end)

    def _indent(self, start: int) -> int | None:
        """The column of a name that is the first in its line, counted from 0."""
        before = self._text[max(0, start - _LONGEST_INDENT) : start]
        found = _FIRST_IN_LINE.search(before)
        return len(found[1]) if found and (found.start() or start <= _LONGEST_INDENT) else None

    def _block_end(self, at: int, end: int, indent: int) -> int:
        text, scanned = self._text, self._scanned
        is_block, is_empty = text[at : at + 1] in ("|", ">"), at == end
        while found := _LINE_BREAK.match(text, end):
            scanned.step()
            begin = scanned.after(_LINE_BREAKS, end) if is_block else found.end()
            words = scanned.after(BLANKS, begin)
            is_item = is_empty and words - begin == indent and text.startswith("- ", words)
            if words - begin <= indent and not is_item:
                return end
            end = scanned.search(_LINE_END, words)
        return end

    def password(self, at: int, deep: str | None, *, is_cut: bool) -> Span | None:
        """The password before the host of a URL (RFC 3986, 3.2.1), whose user begins here.

        `deep` is None for a URL that is not percent-encoded, "" for one that is encoded once (`%3A`), and
        "25" for twice (`%253A`). `is_cut` means that the host may have been cut off.
        """
        scanned = self._scanned
        end_mark, colon = _authority_marks(deep)
        end = scanned.search(end_mark, at)
        host = scanned.find_before("@", end, at)
        if deep is not None:
            host = max(host, scanned.find_before(f"%{deep}40", end, at))
        if host < 0 and is_cut and end == len(self._text):
            host = end
        found = colon.match(self._text, scanned.search(colon, at, host)) if host >= 0 else None
        return span(found.end(), host) if found and found.start() < host else None

    # XML and forms

    def is_tag_before(self, start: int) -> bool:
        """True if `<`, and perhaps a prefix, is before a name."""
        return _TAG.search(self._text[max(0, start - _LONGEST_TAG) : start]) is not None

    def element(self, start: int, end: int) -> Span | None:
        """The content of an XML element whose name is here; all of the rest if it is not closed.

        After a word it may be a type, as in `List<Token>`: then only what is before the next tag.
        """
        text, scanned = self._text, self._scanned
        if not _AFTER_TAG_NAME.match(text, end):
            return None
        last = end + _LONGEST_TAG_END
        tag_end = _TAG_END.search(text, max(end, self._no_tag_ends_before), last)
        if tag_end is None:
            self._no_tag_ends_before = last
            return None
        if text[tag_end.start() - 1] == "/":
            return None
        at = tag_end.end()
        is_after_word = text[start - 1] == "<" and text[max(0, start - 2) : start - 1].isalnum()
        if is_after_word and not text.startswith("<", at):
            return span(at, scanned.search(_TAG_BEGIN, at))
        name = text[start:end].lower()
        close = at
        while (close := scanned.search(_CLOSING_TAG, close)) < len(text):
            scanned.step()
            slash = _CLOSING_TAG.match(text, close)
            begin = slash.end() if slash else close + 1
            prefix = _TAG_PREFIX.match(text, begin)
            begin = prefix.end() if prefix else begin
            if text[begin : begin + len(name)].lower() == name:
                return span(at, close)
            close += 1
        return span(at, len(text))

    def part(self, start: int, end: int) -> Span | None:
        """The content of the part of a form (RFC 7578) whose name is here."""
        if not _IN_FORM.search(self._text[max(0, start - _LONGEST_INDENT) : start]):
            return None
        head_end = _PART_HEAD_END.search(self._text, end, end + 4096)
        at = head_end.end() if head_end else end
        return span(at, self._scanned.search(_PART_END, at))


@lru_cache
def _authority_marks(deep: str | None) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The end of an authority, and the mark before its password."""
    if deep is None:
        return re.compile(r"[\s/?#\"'\\<>]"), re.compile(":")
    mark = f"%{deep}"
    return re.compile(rf"[\s/?#\"'\\<>&]|{mark}(?:2[fF3]|3[fF])"), re.compile(rf":|{mark}3[aA]")


_CONTROL = "u00(?:0[0-9aAdD]|22|26|3[cCeE])"
_ESCAPED_ENDS = rf"(?<!\\)/(?:[nrt]|{_CONTROL})"
_FOLDED_ENDS = r"(?<!\\)/(?:[nr](?![ \t]|/(?:t|n(?:[ \t]|/t)))|u00(?:0[0-9aAdD]|22))"
"""The ends of values in JSON strings; each `/` stands for the backslashes of an escape there."""
