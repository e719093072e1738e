"""Secrets are taken out of a capture before they get to the disk."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote_plus

from wirewright.capture.scanned_text import REDACTED
from wirewright.capture.secret_names import AT_SIGNS, DEFAULT, OVERLAP, SEARCH_STEP, SecretNames
from wirewright.capture.secret_spans import SecretSpans
from wirewright.model.handshake import Headers, split_tokens
from wirewright.values import Payload

__all__ = ["DEFAULT", "REDACTED", "Redaction", "redacted_names"]

_BEARER = re.compile(r"(?i)\bbearer\b|^eyJ|^[\w.-]{40,}$")
"""A subprotocol that is a token: browsers can send one in no other header."""
_SCHEMES = frozenset({"bearer", "basic", "authorization", "jwt", "auth"})
"""Subprotocols after which a token comes."""
_URL_HEADERS = frozenset({"content-location", "location", "referer"})
"""Fields that are a URL as a whole, possibly a relative one."""
REDACTION_LOOKAHEAD = 1_024
"""Characters or bytes behind those of a preview that are looked at to find secrets."""
_OPEN_IN_PREVIEW = re.compile(r"(?i)values?\\{0,16}(?:[\"']|u002[27])|://|:\\+/")
"""A value whose name may follow, or a URL whose password may be longer than the context."""


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
        """True if one of these messages may have a secret. Quick, because most messages have none."""
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
        if any(map(_utf_16, binary)):
            return True
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
        return self.text(before + mark + parameters)

    def text(self, message: str) -> str:
        """A text message."""
        return self._replaced(message) if self._may_be_in(message) else message

    def binary(self, message: bytes) -> bytes:
        """A binary message. Text in it, such as JSON, is treated as a text message."""
        if not self._may_be_in(message):
            return message
        if encoding := _utf_16(message):
            end = len(message) & ~1
            text = message[:end].decode(encoding, "surrogatepass")
            redacted = self.text(text)
            return message if redacted is text else redacted.encode(encoding, "surrogatepass") + message[end:]
        text = message.decode("latin-1")
        redacted = self._replaced(text, is_binary=True)
        return message if redacted is text else redacted.encode("latin-1")

    def payload(self, payload: Payload) -> Payload:
        """A message of either kind."""
        return self.text(payload) if isinstance(payload, str) else self.binary(payload)

    def preview(self, payload: Payload, length: int) -> Payload:
        """The first `length` characters or bytes of a message, and some more, with its secrets replaced.

        A value that may be a secret is hidden if its end, or its name after it, is beyond what is looked at.
        """
        shown = payload[:length] if isinstance(payload, str) else payload[:length].decode("latin-1")
        context = SEARCH_STEP if _OPEN_IN_PREVIEW.search(shown) else REDACTION_LOOKAHEAD
        if len(payload) <= length + context or context == REDACTION_LOOKAHEAD or not self._names:
            return self.payload(payload[: length + context])
        cut = payload[: length + context]
        if isinstance(cut, str):
            return self._replaced(cut, is_cut=True)
        return self._replaced(cut.decode("latin-1"), is_binary=True, is_cut=True).encode("latin-1")

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
        if isinstance(message, bytes) and _utf_16(message):
            return True
        if len(message) <= SEARCH_STEP:
            return self._names.may_be_in(message)
        starts = range(0, len(message), SEARCH_STEP)
        has_at = _has_at(message, starts)
        return any(
            self._names.may_be_in(message[start : start + SEARCH_STEP + OVERLAP], has_at=has_at)
            for start in starts
        )

    def _replaced(self, text: str, *, is_binary: bool = False, is_cut: bool = False) -> str:
        """The text with its secrets replaced; the same object if it has none."""
        pieces: list[str] = []
        position = 0
        for start, end, replacement in SecretSpans(text, self._names, is_binary=is_binary, is_cut=is_cut):
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


def _has_at(message: Payload, starts: Iterable[int]) -> bool:
    """Whether a message has a mark of a URL with a password."""
    if isinstance(message, str):
        return any(
            message.find(each, start, start + SEARCH_STEP + 4) >= 0 for each in AT_SIGNS for start in starts
        )
    marks = [each.encode() for each in AT_SIGNS]
    return any(message.find(each, start, start + SEARCH_STEP + 4) >= 0 for each in marks for start in starts)


def _utf_16(message: bytes) -> str | None:
    """The encoding of a message that begins as a text in UTF-16 does."""
    if 0 not in message[:4]:
        return None
    if message[:2] == b"\xff\xfe" or (message[1:4:2] == b"\0\0" and message[0] and message[2:3] > b"\0"):
        return "utf-16-le"
    if message[:2] == b"\xfe\xff" or (message[:3:2] == b"\0\0" and message[1] and message[3:4] > b"\0"):
        return "utf-16-be"
    return None
