"""Searches in a text that never hold the interpreter's lock for long."""

import re

from wirewright.capture.secret_names import SEARCH_STEP

REDACTED = "REDACTED"
MOST_STEPS = 500_000
"""Names, quotes and brackets that are looked at. After these, the rest of the text is redacted as a whole."""
MOST_BACKSLASHES = 4_095
"""Backslashes before a quote, likewise: twelve levels of JSON in JSON strings."""

Span = tuple[int, int, str]
"""The start and the end of what is replaced, and its replacement."""

WHITE_SPACE = re.compile(r"\s*+")
BLANKS = re.compile(r"[ \t]*+")
BACKSLASHES = re.compile(r"\\*+")
_LONGEST_MATCH = 64
"""Characters of a match that begins at the end of a step."""


class TooManyPieces(Exception):
    """The text has more pieces than are looked at one by one."""


class ScannedText:
    """A text, and the number of its pieces that were looked at.

    Each search is made in steps of `SEARCH_STEP` characters: Python holds the interpreter lock during one.
    """

    def __init__(self, text: str, most_steps: int = MOST_STEPS) -> None:
        self.text = text
        self._steps_left = most_steps
        self._found: dict[re.Pattern[str], tuple[int, int]] = {}
        """By pattern, the part of the text that was searched last: no match begins before its end."""

    def step(self, count: int = 1) -> None:
        """Count pieces. Raises TooManyPieces after too many."""
        self._steps_left -= count
        if self._steps_left < 0:
            raise TooManyPieces

    def find_before(self, part: str, end: int, start: int = 0) -> int:
        """The last place of a short text that ends before `end`, or -1."""
        while end > start:
            begin = max(start, end - SEARCH_STEP)
            if (found := self.text.rfind(part, begin, end)) >= 0:
                return found
            if begin == start:
                break
            end = begin + len(part) - 1
        return -1

    def search(self, pattern: re.Pattern[str], at: int, end: int | None = None) -> int:
        """The place of a match of a few characters from here on, or the end.

        The place of the last search to the end of the text is kept for each pattern: thousands of names may
        be before one that is far away.
        """
        if end is None:
            begin, found = self._found.get(pattern, (1, 0))
            if not begin <= at <= found:
                found = self._search(pattern, at, len(self.text))
                self._found[pattern] = at, found
            return found
        return self._search(pattern, at, end)

    def _search(self, pattern: re.Pattern[str], at: int, end: int) -> int:
        for start in range(at, end, SEARCH_STEP):
            if found := pattern.search(self.text, start, min(start + SEARCH_STEP + _LONGEST_MATCH, end)):
                return found.start()
        return end

    def after(self, repeated: re.Pattern[str], at: int) -> int:
        """The end of a repeated character."""
        while (found := repeated.match(self.text, at, at + SEARCH_STEP)) and found.end() == at + SEARCH_STEP:
            at += SEARCH_STEP
        return found.end() if found else at

    def backslashes_before(self, at: int, start: int = 0) -> int:
        """How many backslashes are right before this place, and not before `start`."""
        if not at or self.text[at - 1] != "\\":
            return 0
        for most in (16, MOST_BACKSLASHES + 1):  # there are rarely more than a few
            before = self.text[max(start, at - most) : at]
            count = len(before) - len(before.rstrip("\\"))
            if count < most:
                break
        if count > MOST_BACKSLASHES:
            raise TooManyPieces
        return count


def span(start: int, end: int) -> Span | None:
    """The part of a text between two places, to be redacted; None if it is empty."""
    return (start, end, REDACTED) if end > start else None
