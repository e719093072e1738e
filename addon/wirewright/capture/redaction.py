"""Secrets are taken out of a capture before they get to the disk."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote_plus

from wirewright.capture.secret_names import DEFAULT, OVERLAP, STEP, SecretNames
from wirewright.capture.secret_spans import REDACTED, SecretSpans
from wirewright.model.handshake import Headers, split_tokens
from wirewright.values import Payload

__all__ = ["DEFAULT", "REDACTED", "Redaction", "redacted_names"]

_BEARER = re.compile(r"(?i)\bbearer\b|^eyJ|^[\w.-]{40,}$")
"""A subprotocol that is a token: browsers can send one in no other header."""
_SCHEMES = frozenset({"bearer", "basic", "authorization", "jwt", "auth"})
"""Subprotocols after which a token comes."""
_URL_HEADERS = frozenset({"content-location", "location", "referer"})
"""Fields that are a URL as a whole, possibly a relative one."""


def redacted_names(names: Iterable[str]) -> list[str]:
    """The same names. Raises TypeError for a single one: its letters would be meant."""
    if isinstance(names, str):
        raise TypeError(f"redact must be several names, such as [{names!r}], not a str")
    return list(names)


class Redaction:
    """Replaces the values of secret names. The rest of a message stays as it is, byte for byte."""

    def __init__(self, names: Iterable[str] = DEFAULT) -> None:
        self._names = SecretNames(redacted_names(names))

    def concerns(self, payloads: Iterable[Payload]) -> bool:
        """False if none of these messages has a secret: that is soon found out, and true of most."""
        if not self._names:
            return False
        payloads = list(payloads)
        if len(payloads) == 1:
            return self._may_be_in(payloads[0])
        texts: list[str] = []
        binary: list[bytes] = []
        for payload in payloads:
            if isinstance(payload, str):
                texts.append(payload)
            else:
                binary.append(payload)
        return self._may_be_in("\n".join(texts)) or self._may_be_in(b"\n".join(binary))

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """The same fields with secrets replaced by REDACTED: whole values by name, subprotocols that are
        tokens, and secrets in the text of other fields, such as the URLs in `Location` and `Link`."""
        fields = list(Headers(headers).pairs)
        if not self._names:
            return Headers(fields)
        has_secrets = self.concerns([value for _, value in fields])
        kept: list[tuple[str, str]] = []
        before = ""  # a client may send its subprotocols in more than one field
        for name, value in fields:
            if name in self._names:
                value = REDACTED
            elif name.lower() == "sec-websocket-protocol":
                protocols = split_tokens(value)
                redacted = list(self._protocols(protocols, before))
                value = value if redacted == protocols else ", ".join(redacted)
                before = protocols[-1] if protocols else before
            elif name.lower() in _URL_HEADERS:
                value = self.url(value)
            elif has_secrets:
                value = self.text(value)
            kept.append((name, value))
        return Headers(kept)

    def url(self, url: str) -> str:
        """A URL without the secrets in its query, its password and those in the URLs in it."""
        if not self._names:
            return url
        before, mark, query = url.partition("?")
        parameters = "&".join(map(self._parameter, query.split("&")))
        return self._replaced(before + mark + parameters, is_thorough=True)

    def text(self, message: str) -> str:
        """A text message."""
        return self._replaced(message) if self._may_be_in(message) else message

    def binary(self, message: bytes) -> bytes:
        """A binary message. Text in it, such as JSON, is treated as a text message."""
        if not self._may_be_in(message):
            return message
        text = message.decode("latin-1")
        redacted = self._replaced(text, is_binary=True)
        return message if redacted is text else redacted.encode("latin-1")

    def payload(self, payload: Payload) -> Payload:
        """A message of either kind."""
        return self.text(payload) if isinstance(payload, str) else self.binary(payload)

    def close(self, payload: bytes) -> bytes:
        """The payload of a close frame (RFC 6455, 5.5.1): its code stays."""
        return payload[:2] + self.binary(payload[2:])

    def close_reason(self, reason: str) -> str:
        """A close reason, which has at most 123 bytes (RFC 6455, 5.5), also with REDACTED in it."""
        redacted = self.text(reason)
        return reason if redacted is reason else redacted.encode()[:123].decode(errors="ignore")

    def _may_be_in(self, message: Payload) -> bool:
        """Whether a message may have a secret. It is looked at in steps, so that other threads can run."""
        if not self._names or not message:
            return False
        if len(message) <= STEP:
            return self._names.may_be_in(message)
        starts = range(0, len(message), STEP)
        return any(self._names.may_be_in(message[start : start + STEP + OVERLAP]) for start in starts)

    def _replaced(self, text: str, *, is_binary: bool = False, is_thorough: bool = False) -> str:
        """The text with its secrets replaced; the same object if it has none."""
        pieces: list[str] = []
        position = 0
        for start, end, replacement in SecretSpans(
            text, self._names, is_binary=is_binary, is_thorough=is_thorough
        ):
            pieces += (text[position:start], replacement)
            position = end
        if not pieces:
            return text
        pieces.append(text[position:])
        redacted = "".join(pieces)
        return text if redacted == text else redacted

    def _protocols(self, protocols: Iterable[str], before: str) -> Iterator[str]:
        for protocol in protocols:
            is_token = self._announces_token(before) or _BEARER.search(protocol)
            yield REDACTED if is_token and not self._announces_token(protocol) else protocol
            before = protocol

    def _announces_token(self, protocol: str) -> bool:
        return protocol in self._names or protocol.lower() in _SCHEMES

    def _parameter(self, parameter: str) -> str:
        name, equals, _ = parameter.partition("=")
        is_secret = equals and unquote_plus(name) in self._names
        return name + equals + REDACTED if is_secret else parameter
