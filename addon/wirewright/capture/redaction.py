"""Secrets are taken out of a capture before they get to the disk."""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import AnyStr
from urllib.parse import unquote_plus

from wirewright.capture.scanned_text import REDACTED, Span
from wirewright.capture.secret_names import DEFAULT, SEARCH_STEP, SecretNames
from wirewright.capture.secret_spans import SecretSpans
from wirewright.model.handshake import Headers, split_tokens
from wirewright.values import Payload

__all__ = ["DEFAULT", "REDACTED", "Redaction", "redacted_names", "secret_protocol"]

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


def secret_protocol(answer: Headers, redacted: Headers) -> str | None:
    """The chosen subprotocol of an answer if it was redacted, because it is a token. Errors may quote it."""
    chosen = answer.get("sec-websocket-protocol")
    return chosen if chosen != redacted.get("sec-websocket-protocol") else None


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
        texts = [each for each in payloads if isinstance(each, str)]
        binary = [each for each in payloads if isinstance(each, bytes)]
        return (
            self._may_be_in("\n".join(texts))
            or self._may_be_in(b"\n".join(binary))
            or any(map(_utf_16, binary))
        )

    def headers(self, headers: Mapping[str, str]) -> Headers:
        """The same fields with secrets replaced by REDACTED: whole values by name, subprotocols that are
        tokens, and secrets in the text of other fields, such as the URLs in `Location` and `Link`."""
        fields = list(Headers(headers).pairs)
        if not self._names:
            return Headers(fields)
        has_secrets = self.concerns([value for _, value in fields])
        secret = {name for name in {name for name, _ in fields} if name in self._names}
        kept: list[tuple[str, str]] = []
        before = ""  # a client may send its subprotocols in more than one field
        for name, value in fields:
            if name in secret:
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

    def text(self, message: str, *, is_cut: bool = False) -> str:
        """A text message. `is_cut`: it is only the beginning of one."""
        return _replaced(message, self._secrets(message, is_cut=is_cut))

    def binary(self, message: bytes, *, is_cut: bool = False) -> bytes:
        """A binary message. Text in it, such as JSON, is treated as a text message."""
        if self._names and (encoding := _utf_16(message)):
            secrets = self._secrets(_code_units(message, encoding), is_cut=is_cut)
            return _replaced(
                message,
                (
                    (2 * start, 2 * end, replacement.encode(encoding, "surrogatepass"))
                    for start, end, replacement in secrets
                ),
            )
        secrets = self._secrets(message, is_cut=is_cut)
        return _replaced(
            message, ((start, end, replacement.encode("latin-1")) for start, end, replacement in secrets)
        )

    def payload(self, payload: Payload) -> Payload:
        """A message of either kind."""
        return self.text(payload) if isinstance(payload, str) else self.binary(payload)

    def preview(self, payload: Payload, length: int) -> Payload:
        """The first `length` characters or bytes of a message, and some more, with its secrets replaced.

        A value that may be a secret is hidden if its end, or its name after it, is beyond what is looked at.
        """
        return self.beginning(payload, length)[0]

    def beginning(self, payload: Payload, length: int) -> tuple[Payload, bool]:
        """The same, and True if it is the whole message."""
        shown = payload[:length] if isinstance(payload, str) else payload[:length].decode("latin-1")
        is_open = _OPEN_IN_PREVIEW.search(shown) is not None
        end = length + (SEARCH_STEP if is_open else REDACTION_LOOKAHEAD)
        return self.part(payload, end) if is_open else (self.payload(payload[:end]), len(payload) <= end)

    def part(self, payload: Payload, end: int) -> tuple[Payload, bool]:
        """The characters or bytes of a message before `end`, with its secrets replaced; True if that is all.

        A value that may be a secret is hidden if its end, or its name after it, is not before `end`.
        """
        is_cut = len(payload) > end
        cut = payload[:end]
        hidden = self.text(cut, is_cut=is_cut) if isinstance(cut, str) else self.binary(cut, is_cut=is_cut)
        return hidden, not is_cut

    def close(self, payload: bytes) -> bytes:
        """The payload of a close frame (RFC 6455, 5.5.1): its code stays."""
        return payload[:2] + self.binary(payload[2:])

    def close_reason(self, reason: str) -> str:
        """A close reason, which has at most 123 bytes (RFC 6455, 5.5), also with REDACTED in it."""
        redacted = self.text(reason)
        return reason if redacted is reason else redacted.encode()[:123].decode(errors="ignore")

    def _may_be_in(self, message: Payload) -> bool:
        if isinstance(message, bytes) and _utf_16(message):
            return True
        if len(message) <= SEARCH_STEP:
            return self._names.may_be_in(message)
        return any(True for _ in self._names.parts(message))

    def _secrets(self, message: Payload, *, is_cut: bool) -> Iterable[Span]:
        """The secrets in a message. They are looked for in steps, so that other threads can run."""
        if not self._names:
            return ()
        parts = self._names.parts(message)
        first = next(parts, None)
        if first is None and not is_cut:
            return ()
        return SecretSpans(
            message if isinstance(message, str) else _latin_1(message),
            self._names,
            parts if first is None else chain([first], parts),
            is_binary=isinstance(message, bytes),
            is_cut=is_cut,
        )

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


def _replaced(message: AnyStr, spans: Iterable[tuple[int, int, AnyStr]]) -> AnyStr:
    """The message with other texts in the places of these; the same object if nothing changes."""
    pieces: list[AnyStr] = []
    position = 0
    for start, end, replacement in spans:
        if end - start != len(replacement) or message[start:end] != replacement:
            pieces += _pieces(message, position, start)
            pieces.append(replacement)
            position = end
    if not pieces:
        return message
    pieces += _pieces(message, position, len(message))
    return message[:0].join(pieces)


def _latin_1(message: bytes) -> str:
    """A binary message with one character for each byte."""
    return "".join([piece.decode("latin-1") for piece in _pieces(message, 0, len(message))])


def _pieces(message: AnyStr, start: int, stop: int) -> Iterator[AnyStr]:
    """A part of a message. Other threads can run between the pieces: to copy 64 MiB takes 50 ms."""
    for at in range(start, stop, SEARCH_STEP):
        yield message[at : min(at + SEARCH_STEP, stop)]


def _utf_16(message: bytes) -> str | None:
    """The encoding of a message that begins as a text in UTF-16 does."""
    if 0 not in message[:4]:
        return None
    if message[:2] == b"\xff\xfe" or (message[1:4:2] == b"\0\0" and message[0] and message[2:3] > b"\0"):
        return "utf-16-le"
    if message[:2] == b"\xfe\xff" or (message[:3:2] == b"\0\0" and message[1] and message[3:4] > b"\0"):
        return "utf-16-be"
    return None


def _code_units(message: bytes, encoding: str) -> str:
    """A text in UTF-16 with one character for two bytes, also for halves of surrogate pairs."""
    pieces: list[str] = []
    for start in range(0, len(message) - 1, SEARCH_STEP):
        piece = message[start : start + SEARCH_STEP]
        units = piece[: len(piece) & ~1]
        try:
            text = units.decode(encoding)
        except UnicodeDecodeError:
            text = ""
        if 2 * len(text) != len(units):
            order = "<" if encoding == "utf-16-le" else ">"
            text = "".join(map(chr, struct.unpack(f"{order}{len(units) // 2}H", units)))
        pieces.append(text)
    return "".join(pieces)
