"""JSON of unknown origin: it is parsed piece by piece, and no value costs much more than its bytes."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import IO, Any

from wirewright.requirements import require

LARGEST_STRING = 64 * 1024 * 1024
"""Bytes of the longest string that is read, as it is written in the file."""
LARGEST_VALUE = 64 * 1024 * 1024
"""Size of the largest value that is built: its strings, and VALUE_BYTES for each value in it."""
VALUE_BYTES = 64
"""Bytes of memory of an empty object, which has two bytes in the file."""
DEEPEST = 100
"""The nesting of a recording is less deep than this."""
LONGEST_NUMBER = 64
"""Characters of the longest number that is converted: converting takes time by the square of the length."""

_PIECE = 64 * 1024
"""Bytes that are parsed at once. The parser makes a list of their events, of up to 80 times their size."""
_LONGEST_TOKEN = 4 * LONGEST_NUMBER
"""An upper bound, in bytes, of a number or a constant that is passed on."""

# Every repetition is possessive: none is tried again, which would take memory and time.
_NUMBER = rb"-?[0-9][-+.0-9eE]"
_SHORT_NUMBER_TEXT = rb"(?!-?[0-9.]++[eE][-+]?[0-9]{5})%s{0,%d}+" % (_NUMBER, LONGEST_NUMBER - 2)
_STRING_BEGINNING = rb'"(?:[^"\\]++|\\.)*+'
_PLAIN_TOKENS = re.compile(
    rb'(?:[^"0-9NI-]++|%s"|%s(?=[^-+.0-9eE]))*+' % (_STRING_BEGINNING, _SHORT_NUMBER_TEXT), re.DOTALL
)
"""Tokens that are passed on as they are, and are whole."""
_SHORT_NUMBER = re.compile(_SHORT_NUMBER_TEXT + rb"(?![-+.0-9eE])")
_ANY_NUMBER = re.compile(rb"%s*+" % _NUMBER)
_CONSTANT = re.compile(rb"-?(?:NaN|Infinity)")
"""Values that JSON does not have, and that Python writes."""
_OPEN_STRING = re.compile(_STRING_BEGINNING, re.DOTALL)
_STRING = re.compile(_STRING_BEGINNING + rb'"', re.DOTALL)

Event = tuple[str, Any]
"""The name and the value of a parser's event."""
Item = tuple[Any, str | None]
"""A value, and the reason why parts of it were left out; None if it is whole."""
ListReader = Callable[[Iterator[Item]], Any]
"""Reads the items of a list one by one, and returns the value that replaces the list."""

_STARTS: Mapping[str, type] = {"start_map": dict, "start_array": list}
_ENDS = ("end_map", "end_array")


class InvalidJson(ValueError):
    """The text is not JSON, or ends early. The message is a sentence without its subject, the file."""


class TokenReader:
    """Reads JSON for an incremental parser, in pieces that the parser handles in linear time.

    A string that is longer than a piece is one piece, because the parser begins a string again with each
    piece of it. Numbers that are too long or too large to be converted become null, and so do NaN, the
    infinities and strings of more than LARGEST_STRING bytes.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.long_strings = 0
        """Strings that were left out."""
        self._file = file
        self._data = b""
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """The next piece; empty at the end. The size does not matter, but for 0."""
        while size and (self._at < len(self._data) or self._fill(_PIECE)):
            end = _match_end(_PLAIN_TOKENS, self._data, self._at, self._at + _PIECE)
            piece = self._take(end) if end > self._at else self._other_token()
            if piece:
                return piece
        return b""

    def _other_token(self) -> bytes:
        """A token that is long or that is replaced; empty if more was read in order to find its end."""
        if self._data[self._at : self._at + 1] == b'"':
            return self._string()
        if len(self._data) - self._at < _LONGEST_TOKEN and self._fill(_PIECE):
            return b""
        if constant := _CONSTANT.match(self._data, self._at):
            self._take(constant.end())
            return b"null"
        if number := _SHORT_NUMBER.match(self._data, self._at):  # it was cut by the end of the piece
            return self._take(number.end())
        if number := _ANY_NUMBER.match(self._data, self._at):
            if number.end() == len(self._data):
                self._data, self._at = self._data[self._at : self._at + _LONGEST_TOKEN], 0
                if self._fill(_PIECE):
                    return b""
            self._take(min(number.end(), len(self._data)))
            return b"null"
        return self._take(self._at + 1)

    def _string(self) -> bytes:
        whole = _STRING.match(self._data, self._at)
        length = (whole.end() if whole else len(self._data)) - self._at
        if length > LARGEST_STRING:
            return self._skip_string()
        if whole:
            return self._take(whole.end())
        # Reading as much again as there is keeps the time linear.
        return b"" if self._fill(max(_PIECE, length)) else self._take(len(self._data))

    def _skip_string(self) -> bytes:
        self.long_strings += 1
        while (whole := _STRING.match(self._data, self._at)) is None:
            end = _match_end(_OPEN_STRING, self._data, self._at)
            self._data, self._at = b'"' + self._data[end:], 0
            if not self._fill(_PIECE):
                return self._take(len(self._data))
        self._take(whole.end())
        return b"null"

    def _fill(self, size: int) -> bool:
        more = self._file.read(size)
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)

    def _take(self, end: int) -> bytes:
        taken, self._at = self._data[self._at : end], end
        return taken


def _match_end(pattern: re.Pattern[bytes], data: bytes, start: int, end: int | None = None) -> int:
    """The end of the match of a pattern that also matches the empty string."""
    matched = pattern.match(data, start, len(data) if end is None else end)
    assert matched is not None
    return matched.end()


@cache
def _ijson() -> Any:
    """The parser's module, which only an import needs."""
    require(["ijson"])
    import ijson

    return ijson


def parse(tokens: TokenReader) -> Iterator[Event]:
    """The events of `ijson.basic_parse`. Raises InvalidJson where the text cannot be parsed further."""
    ijson = _ijson()
    try:
        yield from ijson.basic_parse(tokens, buf_size=_PIECE)
    except (ijson.JSONError, ValueError, ArithmeticError) as error:
        reason = str(error).partition("\n")[0]
        raise InvalidJson(f"its JSON is incomplete or not valid: {reason}") from None


def build(first: Event, events: Iterator[Event], lists: Mapping[str, ListReader] | None = None) -> Item:
    """The value that begins with an event.

    Parts that are nested deeper than DEEPEST, or that make it larger than LARGEST_VALUE, are left out.
    `lists` reads lists that are values of the value itself, by their key. Raises InvalidJson.
    """
    name, value = first
    if name not in _STARTS:
        return value, None
    root = _STARTS[name]()
    containers = [root]
    key, size, skipped_depth, reason = "", 0, 0, None
    try:
        for name, value in events:
            if name == "map_key":
                key = value
            elif name in _ENDS:
                if skipped_depth:
                    skipped_depth -= 1
                    continue
                containers.pop()
                if not containers:
                    break
            elif skipped_depth or size > LARGEST_VALUE or (name in _STARTS and len(containers) >= DEEPEST):
                reason = reason or (
                    f"larger than {LARGEST_VALUE >> 20} MiB"
                    if size > LARGEST_VALUE
                    else f"nested more than {DEEPEST} deep"
                )
                skipped_depth += name in _STARTS
            else:
                container = containers[-1]
                in_map = type(container) is dict
                if lists and container is root and in_map and name == "start_array" and key in lists:
                    value = lists[key](items(events))
                elif name in _STARTS:
                    value = _STARTS[name]()
                    containers.append(value)
                size += VALUE_BYTES + (len(value) if type(value) is str else 0) + (len(key) if in_map else 0)
                if in_map:
                    container[key] = value
                else:
                    container.append(value)
    except InvalidJson:
        if reason:
            raise InvalidJson(f"it is {reason}") from None
        raise
    return root, reason


def items(events: Iterator[Event]) -> Iterator[Item]:
    """The values of a list whose beginning was read."""
    for event in events:
        if event[0] == "end_array":
            return
        yield build(event, events)


def lines(file: IO[bytes], *, skip_blank: bool = False) -> Iterator[Item]:
    """The JSON value of each line; None with the reason for a line that cannot be read."""
    for line in bounded_lines(file):
        if skip_blank and line is not None and line.isspace():
            continue
        if line is None:
            yield None, f"longer than {LARGEST_STRING >> 20} MiB"
            continue
        events = parse(TokenReader(BytesIO(line)))
        try:
            found = build(next(events), events)
            next(events, None)  # raises for text after the value
        except InvalidJson:
            found = None, "not JSON"
        yield found


def bounded_lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of a file; None for one of more than LARGEST_STRING bytes."""
    while line := file.readline(LARGEST_STRING + 1):
        if len(line) <= LARGEST_STRING:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_PIECE)
        yield None


def list_items(events: Iterable[Event], keys: Sequence[str]) -> Iterator[Event]:
    """The first event of each item of the list to which the keys lead.

    The caller reads the other events of the item. Raises InvalidJson.
    """
    open_keys: list[str | None] = []
    key: str | None = ""
    wanted = ["", *keys]
    for event in events:
        name, value = event
        if name == "map_key":
            key = value
        elif name in _ENDS:
            open_keys.pop()
            key = None
        elif key is None and open_keys == wanted:
            yield event
        elif name in _STARTS:
            if len(open_keys) >= DEEPEST:
                raise InvalidJson(f"it is nested more than {DEEPEST} deep")
            open_keys.append(key)
            key = None
