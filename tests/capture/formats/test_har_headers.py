"""Header fields, cookies and bodies of an archive."""

import base64
from typing import Any

import pytest

from wirewright.capture.formats.har_headers import (
    content_from_har,
    content_to_har,
    request_cookies,
    response_cookies,
    to_har,
    values_from_har,
)
from wirewright.model.handshake import Headers


def test_fields_are_in_wire_order_and_keep_their_bytes() -> None:
    headers = Headers([("Set-Cookie", "a=1"), ("X", "caf\udce9"), ("set-cookie", "b=2"), ("X", "é")])
    fields = to_har(headers)
    assert fields == [
        {"name": "Set-Cookie", "value": "a=1"},
        {"name": "X", "value": "café", "_base64": base64.b64encode(b"caf\xe9").decode()},
        {"name": "set-cookie", "value": "b=2"},
        {"name": "X", "value": "é"},
    ]
    again = [(field["name"], each) for field in fields for each in values_from_har(field, field["value"])]
    assert Headers(again) == headers


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ({"value": "a=1\nb=2"}, ["a=1", "b=2"]),
        ({"value": "a", "_base64": "no base64"}, ["a"]),
        ({"value": "a", "_base64": 7}, ["a"]),
        (["X", "a"], ["a"]),
    ],
)
def test_values_that_a_recorder_has_joined_are_parted(field: Any, values: list[str]) -> None:
    value = field["value"] if isinstance(field, dict) else field[1]
    assert values_from_har(field, value) == values


def test_cookies_of_a_request_are_those_of_all_its_lines() -> None:
    headers = Headers([("Cookie", "a=1; b=x=y"), ("X", "c=3"), ("cookie", 'd="4"; bare')])
    assert request_cookies(headers) == [
        *({"name": "a", "value": "1"}, {"name": "b", "value": "x=y"}, {"name": "d", "value": '"4"'}),
    ]


def test_cookies_of_a_response_have_their_attributes() -> None:
    expires = "Expires=Wed, 21 Oct 2026 07:28:00 GMT"
    headers = Headers(
        [
            ("Set-Cookie", f"a=1; {expires}; Path=/x; Domain=h.test; Secure; HttpOnly; SameSite=Lax"),
            ("set-cookie", "b=2; expires=never; Unknown=1"),
            ("set-cookie", "REDACTED"),
        ]
    )
    assert response_cookies(headers) == [
        {
            "name": "a",
            "value": "1",
            "expires": "2026-10-21T07:28:00+00:00",
            "path": "/x",
            "domain": "h.test",
            "secure": True,
            "httpOnly": True,
            "sameSite": "Lax",
        },
        {"name": "b", "value": "2", "secure": False, "httpOnly": False},
    ]


@pytest.mark.parametrize("body", [b"", "é".encode(), b"\xff\0", b"x" * 65_536])
def test_body_comes_back(body: bytes) -> None:
    content = content_to_har(Headers([("Content-Type", "text/x")]), body)
    assert (content["size"], content["mimeType"]) == (len(body), "text/x")
    assert content_from_har(content) == (body or None)


@pytest.mark.parametrize(
    "content",
    [None, "text", {}, {"text": None}, {"text": "a", "encoding": "base64"}, {"text": "x" * 65_537}],
)
def test_body_that_is_not_there_is_none(content: Any) -> None:
    assert content_from_har(content) is None
