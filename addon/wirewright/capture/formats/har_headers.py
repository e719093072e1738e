"""Header fields, cookies and bodies of an HTTP archive's requests and responses.

http://www.softwareishard.com/blog/har-12-spec/#headers and #cookies
"""

import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

from wirewright.capture.formats.bodies import kept_body
from wirewright.model.handshake import Headers

_BYTES = "_base64"
"""The key of a field for a value that is not UTF-8: its `value` is the text that a browser shows."""


def to_har(headers: Headers) -> list[dict[str, str]]:
    """The fields of an archive, in wire order."""
    fields = headers.readable().as_array()
    for field, (_, value) in zip(fields, headers.pairs, strict=True):
        octets = value.encode("utf-8", "surrogateescape")
        if field["value"].encode() != octets:
            field[_BYTES] = base64.b64encode(octets).decode()
    return fields


def values_from_har(field: Any, value: str) -> list[str]:
    """The values of a field of an archive. `value` is the text of the field.

    Some recorders join the values of a name by newlines, as Chrome's protocol does.
    """
    octets = field.get(_BYTES) if isinstance(field, dict) else None
    if isinstance(octets, str):
        with suppress(ValueError):
            return [base64.b64decode(octets, validate=True).decode("utf-8", "surrogateescape")]
    return value.split("\n")


def request_cookies(headers: Headers) -> list[dict[str, str]]:
    """The cookies that a request sends (RFC 6265, 5.4)."""
    pairs = (pair.strip() for line in headers.readable().get_all("cookie") for pair in line.split(";"))
    return [_cookie(pair) for pair in pairs if "=" in pair]


def response_cookies(headers: Headers) -> list[dict[str, Any]]:
    """The cookies that a response sets, with their attributes (RFC 6265, 5.2)."""
    return list(_set_cookies(headers.readable().get_all("set-cookie")))


def _set_cookies(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        pair, *attributes = (part.strip() for part in line.split(";"))
        if "=" not in pair:
            continue
        cookie: dict[str, Any] = _cookie(pair) | {"httpOnly": False, "secure": False}
        for attribute in attributes:
            name, _, value = attribute.partition("=")
            match name.strip().lower():
                case "path" | "domain" as key:
                    cookie[key] = value.strip()
                case "expires":
                    with suppress(ValueError):
                        cookie["expires"] = parsedate_to_datetime(value.strip()).isoformat()
                case "httponly":
                    cookie["httpOnly"] = True
                case "secure":
                    cookie["secure"] = True
                case "samesite":
                    cookie["sameSite"] = value.strip()
        yield cookie


def _cookie(pair: str) -> dict[str, str]:
    name, _, value = pair.partition("=")
    return {"name": name.strip(), "value": value.strip()}


def content_to_har(headers: Headers, body: bytes | None) -> dict[str, Any]:
    """The `content` of a response."""
    media_type = headers.readable().get("content-type", "x-unknown")
    content: dict[str, Any] = {"size": len(body or b""), "mimeType": media_type}
    if body:
        try:
            content["text"] = body.decode()
        except UnicodeDecodeError:
            content |= {"text": base64.b64encode(body).decode(), "encoding": "base64"}
    return content


def content_from_har(content: Any) -> bytes | None:
    """The body of a response. None if the archive does not have it, and if it is too large to be kept."""
    text = content.get("text") if isinstance(content, dict) else None
    if not isinstance(text, str):
        return None
    try:
        is_base64 = content.get("encoding") == "base64"
        body = base64.b64decode(text) if is_base64 else text.encode(errors="replace")
    except ValueError:
        return None
    return kept_body(body, "")
