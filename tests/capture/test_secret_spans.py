"""Secrets that are written in rare ways, or lie across the parts that are searched."""

import pytest

from wirewright.capture.redaction import Redaction
from wirewright.capture.secret_names import SEARCH_STEP


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("https://m\U0001f600e:s@h/", "https://m\U0001f600e:REDACTED@h/"),
        ("u=https%3A%2F%2Fm\U0001f600e%3As%40h", "u=https%3A%2F%2Fm\U0001f600e%3AREDACTED%40h"),
        ("a%2574oken%3Ds&b=1", "a%2574oken%3Ds&b=1"),
        ("?%2574oken%253Ds&b=1", "?%2574oken%253DREDACTED&b=1"),
        ("50%a_token=s&b=1", "50%a_token=REDACTED&b=1"),
        ("x%3F%20token%3Ds&b=1", "x%3F%20token%3DREDACTED&b=1"),
        (r'{"a":"\ntoken=s\nb=1"}', r'{"a":"\ntoken=REDACTED\nb=1"}'),
        (r"C:\token=s", r"C:\token=REDACTED"),
        ("TO_KEN=s", "TO_KEN=REDACTED"),
        ("\u212aey=s, to\u212aen=s", "\u212aey=s, to\u212aen=s"),
    ],
)
def test_secret_is_found_in_rare_writings(message: str, kept: str) -> None:
    assert Redaction().text(message) == kept
    assert Redaction().binary(message.encode("utf-16")) == kept.encode("utf-16")


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("https://me:s@h/", "https://me:REDACTED@h/"),
        ("https%3A%2F%2Fme%3As%40h", "https%3A%2F%2Fme%3AREDACTED%40h"),
        ("?to_ken=s&b=1", "?to_ken=REDACTED&b=1"),
        ("?%74%6fken%3Ds&b=1", "?%74%6fken%3DREDACTED&b=1"),
        (r'{"pass\u0077ord":"s"}', r'{"pass\u0077ord":"REDACTED"}'),
    ],
)
def test_secret_is_found_across_the_end_of_a_part(message: str, kept: str) -> None:
    for before in range(SEARCH_STEP - len(message) - 1, SEARCH_STEP + 2):
        assert Redaction().text(" " * before + message) == " " * before + kept


def test_halves_of_surrogate_pairs_stay_as_they_are() -> None:
    halves = b"\xff\xfe" + b"\x00\xd8" * SEARCH_STEP
    assert Redaction().binary(halves) is halves
    secret = '"token":"s"'.encode("utf-16-le")
    assert Redaction().binary(halves + secret) == halves + secret.replace(
        b"s\0", "REDACTED".encode("utf-16-le")
    )


def test_text_that_names_secrets_often_is_not_redacted_as_a_whole() -> None:
    message = '{"id":1,"url":"https://h/p","mail":"ada@h","max_tokens":5},' * 20_000
    assert Redaction().text(message) is message
