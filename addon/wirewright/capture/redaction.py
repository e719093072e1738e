"""Secrets are taken out of a capture before they get to the disk."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from wirewright.model.handshake import Headers, split_tokens

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

MOST_FAILURES = 10
"""After so many brackets that begin no JSON a message is taken for something else: trying takes time."""

_BEARER = re.compile(r"(?i)\bbearer\b|^eyJ|^[\w.-]{40,}$")
"""A subprotocol that is a token: browsers can send one in no other header."""
_SCHEMES = frozenset({"bearer", "basic", "authorization", "jwt", "auth"})
"""Subprotocols after which a token comes."""
_URL_HEADERS = frozenset({"content-location", "location", "referer"})
_URL = re.compile(r"\w+://\S+")
_START = re.compile(r"[\[{]")
_DECODER = json.JSONDecoder()


def redacted_names(names: Iterable[str]) -> list[str]:
    """The same names. Raises TypeError for a single one: its letters would be meant."""
    if isinstance(names, str):
        raise TypeError(f"redact must be several names, such as [{names!r}], not a str")
    return list(names)


class Redaction:
    """What is taken out: the values of these names."""

    def __init__(self, names: Iterable[str] = DEFAULT) -> None:
        self._names = frozenset(name.lower() for name in redacted_names(names))
        self._roots = [
            name for name in self._names if not any(other in name for other in self._names - {name})
        ]
        """Each name has one of these in it."""
        alternatives = "|".join(map(re.escape, sorted(self._names)))
        self._broken = re.compile(
            rf'(?i)("(?:{alternatives})\\*"\s*:\s*)(?:\\*"(?:[^"\\]|\\.)*"?|[^\s,}}\]]+)'
        )
        """A key and its value in what is no whole JSON."""

    def concerns(self, texts: Iterable[str]) -> bool:
        """Whether any of these messages may have such a key: most have none, and that is soon found out."""
        if not self._names:
            return False
        joined = "\n".join(texts).lower()
        return any(root in joined for root in self._roots) or "\\u" in joined

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """The same fields with secrets replaced by REDACTED: whole values by name, subprotocols that are
        tokens, and parameters of the URLs in fields such as `Location`."""
        before = ""  # a client may send its subprotocols in more than one field
        fields: list[tuple[str, str]] = []
        for name, value in Headers(headers).pairs:
            if name.lower() in self._names:
                value = REDACTED
            elif self._names and name.lower() == "sec-websocket-protocol":
                protocols = split_tokens(value)
                kept = list(self._protocols(protocols, before))
                value = value if kept == protocols else ", ".join(kept)
                before = protocols[-1] if protocols else before
            elif name.lower() in _URL_HEADERS:
                value = self.url(value)
            fields.append((name, value))
        return Headers(fields)

    def url(self, url: str) -> str:
        """Its query parameters are looked at; the rest stays as it is."""
        before, mark, query = url.partition("?")
        return before + mark + "&".join(map(self._parameter, query.split("&"))) if mark else url

    def remark(self, text: str) -> str:
        """What a person has written: the URLs in it, and its JSON."""
        return self.text(_URL.sub(lambda found: self.url(found[0]), text))

    def text(self, message: str) -> str:
        """A text message; JSON in it that has such a key is written anew, at any depth."""
        if not self.concerns([message]):
            return message
        pieces: list[str] = []
        position = failures = 0
        while failures < MOST_FAILURES and (found := _START.search(message, position)):
            start = found.start()
            try:
                value, end = _DECODER.raw_decode(message, start)
                redacted = self._json(value)
            except (ValueError, RecursionError):
                failures += 1
                redacted, value, end = None, None, start + 1
            pieces.append(message[position:start])
            is_kept = redacted == value
            pieces.append(message[start:end] if is_kept else json.dumps(redacted, separators=(",", ":")))
            position = end
        pieces.append(message[position:])
        redacted_text = "".join(pieces)
        if failures or redacted_text == message:
            redacted_text = self._broken.sub(rf'\1"{REDACTED}"', redacted_text)
        return message if redacted_text == message else redacted_text

    def binary(self, message: bytes) -> bytes:
        """A binary message; one that is JSON is as a text message."""
        if not may_be_json(message):
            return message
        try:
            text = message.decode()
        except UnicodeDecodeError:
            return message
        redacted = self.text(text)
        return message if redacted is text else redacted.encode()

    def _protocols(self, protocols: Iterable[str], before: str) -> Iterator[str]:
        for protocol in protocols:
            is_token = before.lower() in self._names | _SCHEMES or _BEARER.search(protocol)
            yield REDACTED if is_token and protocol.lower() not in self._names | _SCHEMES else protocol
            before = protocol

    def _parameter(self, parameter: str) -> str:
        name, equals, _ = parameter.partition("=")
        is_secret = equals and unquote_plus(name).lower() in self._names
        return name + equals + REDACTED if is_secret else parameter

    def _json(self, value: Any) -> Any:
        if isinstance(value, dict):
            redacted = {key: self._json(each) for key, each in value.items()}
            return redacted | {key: REDACTED for key in value if key.lower() in self._names}
        if isinstance(value, list):
            return [self._json(each) for each in value]
        return self.text(value) if isinstance(value, str) and _START.match(value.lstrip()) else value


def may_be_json(message: bytes) -> bool:
    """Whether a binary message begins as JSON does."""
    return message[:1] in (b"{", b"[")
