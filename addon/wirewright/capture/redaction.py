"""Secrets are taken out of a capture before they get to the disk."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

REDACTED = "REDACTED"
DEFAULT = (
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "access_token",
    "refresh_token",
    "id_token",
    "api_key",
    "apikey",
    "client_secret",
    "password",
    "token",
)
"""Names of headers, of query parameters and of keys in JSON messages, in whatever case."""

_BEARER = re.compile(r"(?i)\bbearer\b|^eyJ|^[\w.-]{40,}$")
"""A subprotocol that is a token: browsers can send one in no other header."""


class Redaction:
    """What is taken out: the values of these names."""

    def __init__(self, names: Iterable[str] = DEFAULT) -> None:
        self._names = frozenset(name.lower() for name in names)
        self._roots = [
            name for name in self._names if not any(other in name for other in self._names - {name})
        ]
        """Each name has one of these in it."""
        alternatives = "|".join(map(re.escape, sorted(self._names)))
        key = rf'(?i)("(?:{alternatives})"\s*:\s*)'
        self._key = re.compile(key) if self._names else None
        self._value = re.compile(key + r'(?:"(?:[^"\\]|\\.)*"?|[^\s,}\]]+)')

    def concerns(self, texts: Iterable[str]) -> bool:
        """Whether any of these messages may have such a key: most have none, and that is soon found out."""
        joined = "\n".join(texts).lower()
        return any(root in joined for root in self._roots)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Names in lower case."""
        redacted = {name: REDACTED if name in self._names else value for name, value in headers.items()}
        if self._names and (protocols := redacted.get("sec-websocket-protocol")):
            kept = [REDACTED if _BEARER.search(each) else each for each in re.split(r",\s*", protocols)]
            redacted["sec-websocket-protocol"] = ", ".join(kept)
        return redacted

    def url(self, url: str) -> str:
        """Its query parameters are looked at; the rest stays as it is."""
        before, mark, query = url.partition("?")
        return before + mark + "&".join(map(self._parameter, query.split("&"))) if mark else url

    def text(self, message: str) -> str:
        """A text message; one that is JSON and has such a key is written anew."""
        if self._key is None or not self._key.search(message):
            return message
        try:
            return json.dumps(self._json(json.loads(message)), separators=(",", ":"))
        except (ValueError, RecursionError):
            return self._value.sub(rf'\1"{REDACTED}"', message)

    def _parameter(self, parameter: str) -> str:
        name, equals, _ = parameter.partition("=")
        is_secret = equals and unquote_plus(name).lower() in self._names
        return name + equals + REDACTED if is_secret else parameter

    def _json(self, value: Any) -> Any:
        if isinstance(value, dict):
            redacted = {key: self._json(each) for key, each in value.items()}
            return redacted | {key: REDACTED for key in value if key.lower() in self._names}
        return [self._json(each) for each in value] if isinstance(value, list) else value
