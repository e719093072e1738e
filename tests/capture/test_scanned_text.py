"""Searches that are made in steps."""

import re

import pytest

from wirewright.capture import scanned_text
from wirewright.capture.scanned_text import ScannedText

SEMICOLON = re.compile(";")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanned_text, "SEARCH_STEP", 8)


def test_search_finds_the_same_whatever_was_searched_before() -> None:
    text = "a" * 20 + ";" + "b" * 20 + ";" + "c" * 20
    scanned = ScannedText(text)
    for at in (0, 5, 20, 21, 3, 41, 42, 0, 62):
        expected = text.find(";", at)
        assert scanned.search(SEMICOLON, at) == (len(text) if expected < 0 else expected)


def test_text_before_a_place_that_is_known_is_not_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a message of thousands of names before one far end would take quadratic time."""
    searched: list[int] = []
    search = ScannedText._search

    def noted(scanned: ScannedText, pattern: re.Pattern[str], at: int, end: int) -> int:
        searched.append(at)
        return search(scanned, pattern, at, end)

    monkeypatch.setattr(ScannedText, "_search", noted)
    scanned = ScannedText("a" * 1_000)
    for at in range(1_000):
        assert scanned.search(SEMICOLON, at) == 1_000
    assert searched == [0]


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 100])
def test_backslashes_before_a_place_are_counted(count: int) -> None:
    scanned = ScannedText("\\a" + "\\" * count + '"')
    assert scanned.backslashes_before(2 + count) == count
    assert scanned.backslashes_before(2 + count, 2 + count // 2) == count - count // 2
