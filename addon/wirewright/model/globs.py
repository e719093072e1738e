"""Playwright's globs, matched in one pass over the URL.

https://playwright.dev/python/docs/network#glob-url-patterns

An app chooses its URLs. A regular expression with several stars tries each division of a URL among them,
which takes minutes for a URL of some KiB. So a glob becomes a finite automaton. Its states are sets of places
in the glob, and are made when a URL first leads to them. Each character of a URL is read once.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

__tracebackhide__ = True  # pytest shows the line that calls

MOST_TRANSITIONS = 4_096
"""The most transitions that a matcher keeps. It drops all of them when it needs another one."""

_NOT_SLASH = "not /"
_NOT_LINE_END = "not \\n"


class GlobMatcher:
    """Tells if a URL matches one of several globs: `*` stops at `/`, `**` crosses it, `{a,b}` is a choice.

    A backslash escapes. `?` and `[` stand for themselves. The globs are matched as they are: `normalize_glob`
    comes before.
    """

    def __init__(self, globs: Iterable[str], *, any_query: bool = False) -> None:
        r"""With `any_query`, a glob also matches a URL that continues with `?` and a query.

        Raises ValueError for braces that are nested or do not pair.
        """
        places = _Places()
        start = places.add()
        ends = [_read(glob, places, start) for glob in globs]
        if any_query:
            ends += [places.add_any(places.add_literal(end, "?"), _NOT_LINE_END) for end in ends]
        self._places = places
        self._ends = frozenset(ends)
        self._first = places.with_empty_edges([start])
        self._states: dict[frozenset[int], _State] = {}
        self._transitions = 0

    def matches(self, url: str) -> bool:
        """True if a URL matches. The time is linear in its length."""
        # As `$` of a regular expression, which Playwright uses: before a line end at the end, too.
        return self._accepts(url) or (url.endswith("\n") and self._accepts(url[:-1]))

    def _accepts(self, url: str) -> bool:
        state = self._state(self._first)
        for char in url:
            state = state[char]
        return not self._ends.isdisjoint(state.places)

    def _state(self, places: frozenset[int]) -> "_State":
        return self._states.get(places) or self._states.setdefault(places, _State(self, places))

    def next_state(self, state: "_State", char: str) -> "_State":
        """The state to which a character leads."""
        if self._transitions >= MOST_TRANSITIONS:
            self._states = {}
            self._transitions = 0
        self._transitions += 1
        return self._state(self._places.after(state.places, char))


if TYPE_CHECKING:
    _Transitions = dict[str, "_State"]
else:
    _Transitions = dict


class _State(_Transitions):
    """A set of places at which a URL may have arrived, and the next state for each character met so far."""

    __slots__ = ("_matcher", "places")

    def __init__(self, matcher: GlobMatcher, places: frozenset[int]) -> None:
        self._matcher = matcher
        self.places = places

    def __bool__(self) -> bool:
        return True  # also without transitions

    def __missing__(self, char: str) -> "_State":
        following = self[char] = self._matcher.next_state(self, char)
        return following


class _Places:
    """The places in globs, numbered from 0, with edges between them (a nondeterministic automaton)."""

    def __init__(self) -> None:
        self._edges: list[list[tuple[str, int]]] = []
        """By place: the character or the kind of characters that lead on, and to where."""
        self._empty_edges: list[list[int]] = []
        """By place: the places that are reached without a character."""

    def add(self, *before: int) -> int:
        """A new place, which is reached from others without a character."""
        self._edges.append([])
        self._empty_edges.append([])
        place = len(self._edges) - 1
        for each in before:
            self._empty_edges[each].append(place)
        return place

    def add_literal(self, before: int, char: str) -> int:
        """The place behind one character, or behind one of a kind."""
        place = self.add()
        self._edges[before].append((char, place))
        return place

    def add_any(self, before: int, kind: str) -> int:
        """The place behind any number of characters of a kind."""
        place = self.add(before)
        self._edges[place].append((kind, place))
        return place

    def add_folders(self, before: int, *, after_slash: bool) -> int:
        """The place behind `**/`. Behind a slash, as in `a/**/b`, it also stands for nothing."""
        if not after_slash:
            return self.add_literal(self.add_any(before, _NOT_LINE_END), "/")
        name = self.add_any(self.add_literal(before, _NOT_LINE_END), _NOT_LINE_END)
        return self.add(before, self.add_literal(name, "/"))

    def after(self, places: Iterable[int], char: str) -> frozenset[int]:
        """The places to which a character leads."""
        meant = {char, *([_NOT_SLASH] if char != "/" else []), *([_NOT_LINE_END] if char != "\n" else [])}
        return self.with_empty_edges(
            following for place in places for edge, following in self._edges[place] if edge in meant
        )

    def with_empty_edges(self, places: Iterable[int]) -> frozenset[int]:
        """Places, and those that are reached from them without a character."""
        waiting, found = list(places), set[int]()
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += self._empty_edges[place]
        return frozenset(found)


def _read(glob: str, places: _Places, start: int) -> int:
    """Add the places of a glob. Returns its end."""
    place = places.add(start)
    choice: tuple[int, list[int]] | None = None
    """Inside braces: the place before them, and the ends of the alternatives that are complete."""
    for token, before in _tokens(glob):
        match token:
            case "*":
                place = places.add_any(place, _NOT_SLASH)
            case "**":
                place = places.add_any(place, _NOT_LINE_END)
            case "**/":
                place = places.add_folders(place, after_slash=before == "/")
            case "{":
                if choice is not None:
                    raise ValueError(f"invalid glob {glob!r}: '{{' inside '{{' is not supported")
                choice = place, []
                place = places.add(place)
            case "," if choice is not None:
                choice[1].append(place)
                place = places.add(choice[0])
            case "}":
                if choice is None:
                    raise ValueError(f"invalid glob {glob!r}: '}}' has no '{{' before it")
                place = places.add(*choice[1], place)
                choice = None
            case _:
                place = places.add_literal(place, token.removeprefix("\\") or "\\")
    if choice is not None:
        raise ValueError(f"invalid glob {glob!r}: '{{' has no '}}' after it")
    return place


def _tokens(glob: str) -> Iterator[tuple[str, str]]:
    r"""The tokens of a glob (`*`, `**`, `**/`, `\x`, characters), each with the character before it."""
    position = 0
    while position < len(glob):
        start, char = position, glob[position]
        position += 1
        if char == "\\":
            char = glob[start : start + 2]
            position = start + len(char)
        elif char == "*":
            while glob[position : position + 1] == "*":
                position += 1
            char = "*" if position == start + 1 else "**"
            if char == "**" and glob[position : position + 1] == "/":
                char = "**/"
                position += 1
        yield char, glob[start - 1 : start]
