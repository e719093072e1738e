"""URLs as a browser writes them, and as a log shows them."""

import pytest

from wirewright.model.urls import shown_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://host/live", "wss://host/live"),
        ("wss://host:8080/live?token=secret&a=1", "wss://host:8080/live?…"),
        ("ws://user:secret@host/a@b", "ws://host/a@b"),
        ("ws://user:sec@ret@host?x", "ws://host?…"),
        ("no URL", "no URL"),
    ],
)
def test_shown_url_has_neither_a_query_nor_a_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown
