"""The reference is the regular expression into which Playwright translates a glob."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from playwright._impl.errors import Error
from playwright._impl.isomorphic.url_match import glob_to_regex_pattern

from wirewright.model import globs
from wirewright.model.globs import GlobMatcher
from wirewright.model.matching import any_of_globs, compile_match

TOKENS = [
    "*",
    "**",
    "**/",
    "/**/",
    "/",
    "a",
    "b",
    ".",
    "?",
    "[",
    "^",
    "$",
    "\n",
    "é",
    "{",
    ",",
    "}",
    "\\",
    "\\*",
]
GLOBS = st.lists(st.sampled_from(TOKENS), max_size=10).map("".join)
CHOICES = st.lists(GLOBS.map(lambda glob: re.sub(r"[{}\\]", "", glob)), min_size=1, max_size=3).map(
    lambda each: "{" + ",".join(each) + "}"
)
URLS = st.text("//aab.?[^$*{},\n\\é", max_size=8)


def reference(glob: str) -> re.Pattern[str]:
    """Playwright's translation of a glob."""
    return re.compile(glob_to_regex_pattern(glob))


@pytest.mark.once("no dependency has a part in it")
@settings(max_examples=500)
@given(st.lists(GLOBS | CHOICES, max_size=3).map("".join), st.lists(URLS, min_size=1, max_size=8))
def test_glob_matches_what_playwright_s_regex_matches(glob: str, urls: list[str]) -> None:
    try:
        regex = reference(glob)
    except Error:
        with pytest.raises(ValueError, match="invalid glob"):
            GlobMatcher([glob])
        return
    matches = GlobMatcher([glob]).matches
    assert [url for url in urls if matches(url)] == [url for url in urls if regex.search(url)]


@pytest.mark.once("no dependency has a part in it")
@settings(max_examples=200)
@given(st.lists(GLOBS, min_size=1, max_size=3), st.lists(URLS, min_size=1, max_size=8))
def test_several_globs_match_with_or_without_a_query(several: list[str], urls: list[str]) -> None:
    try:
        bodies = [reference(glob).pattern.removesuffix("$") for glob in several]
    except Error:
        assume(False)
    regex = re.compile("|".join(rf"(?:{body}(?:\?.*)?$)" for body in bodies))
    matches = GlobMatcher(several, any_query=True).matches
    assert [url for url in urls if matches(url)] == [url for url in urls if regex.search(url)]


@given(st.lists(URLS, min_size=1, max_size=20))
def test_answers_stay_the_same_when_transitions_are_dropped(urls: list[str]) -> None:
    glob = "**/a*b/**/{a,b*}**"
    regex, matches = reference(glob), GlobMatcher([glob]).matches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(globs, "MOST_TRANSITIONS", 3)
        assert [matches(url) for url in urls] == [regex.search(url) is not None for url in urls]


class CountedUrl(str):
    """Counts how many of its characters are read."""

    read = 0

    def __iter__(self) -> Iterator[str]:
        for char in super().__iter__():
            self.read += 1
            yield char


@pytest.mark.parametrize(
    ("glob", "piece"),
    [
        ("**/api/**/room/**/live", "api/room/"),
        ("**/*a*b*c*d", "abc"),
        ("**a**a**a**a**b", "a"),
        ("**/{a*,*b}{*a*,b*}*c", "ab"),
    ],
)
def test_each_character_of_a_long_url_is_read_once(glob: str, piece: str) -> None:
    """As a regular expression, each of them takes minutes."""
    url = CountedUrl("ws://a.test/" + piece * 20_000 + "x")
    matcher = GlobMatcher([glob])
    assert not matcher.matches(url)
    assert url.read == len(url)
    assert matcher._transitions < 200  # each is made once, not at each character
    for rule in (glob, any_of_globs([glob])):
        url = CountedUrl(url)
        assert not compile_match(rule)(url)
        assert url.read == len(url)


def test_transitions_that_are_kept_are_bounded() -> None:
    matcher = GlobMatcher(["**/*a"])
    assert matcher.matches("".join(map(chr, range(0x4E00, 0x9E00))) + "/a")
    assert matcher._transitions <= globs.MOST_TRANSITIONS
