"""How the protocol's messages are written.

A connection is a WebSocket whose subprotocol names the version and the codec.
"""

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeVar, cast

import msgspec

from wirewright.remote.protocol import FromClient, FromProxy, messages_of
from wirewright.values import payload_size

VERSION = 2
MESSAGEPACK, JSON = f"wirewright.v{VERSION}.msgpack", f"wirewright.v{VERSION}.json"
SUBPROTOCOLS = (MESSAGEPACK, JSON)
"""The best first."""

LARGEST_MESSAGE = 128 * 1024 * 1024
"""Bytes of a message on its way: a frame of `ws_max_message` fits."""
MOST_ATTACHMENTS = 10_000
TEXT_STEP = 1 << 20
"""Characters of a text that are written as JSON in one step."""
T = TypeVar("T")
EncodingSteps = Generator[None, None, T]
_ESCAPED_SIZE = 6
"""Bytes of a control character in JSON, such as \\u0000; no other character has more."""
_CONTROL_CHARACTERS = bytes(range(0x20))
_LONG_TEXT = secrets.token_hex(16)
"""Stands for a long text in a JSON value, until the text is written part by part in its place."""
Sender = type[FromProxy] | type[FromClient]


class InvalidMessage(Exception):
    """The other side has sent what it must not: its connection is closed with this code (RFC 6455, 7.4)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class MessageTooLarge(ValueError):
    """A message has more than LARGEST_MESSAGE bytes. The other side would close the connection with 1009."""

    def __init__(self) -> None:
        super().__init__(f"a message has {LARGEST_MESSAGE:,} bytes at most")


class Codec(ABC):
    """Writes messages, and reads those of the other side."""

    @abstractmethod
    def __init__(self, sender: Sender) -> None:
        """`sender` is the one whose messages are decoded."""

    def encode(self, message: Any) -> list[Any]:
        """Encode a message as one or more WebSocket messages.

        Raises MessageTooLarge above LARGEST_MESSAGE bytes, and ValueError or OverflowError for other invalid
        values.
        """
        steps = self.encode_in_steps(message)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast(list[Any], end.value)

    @abstractmethod
    def encode_in_steps(self, message: Any) -> "EncodingSteps[list[Any]]":
        """As `encode`, in short steps: the event loop may do other work between them."""

    @abstractmethod
    def decode(self, data: Any) -> Any:
        """The message that is complete with this WebSocket message, or None. Raises InvalidMessage."""


class MessagePackCodec(Codec):
    """One binary WebSocket message each; text is str, bytes are bytes."""

    def __init__(self, sender: Sender) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(messages_of(sender))

    def encode_in_steps(self, message: Any) -> "EncodingSteps[list[Any]]":
        yield from ()
        data = self._encoder.encode(message)
        if len(data) > LARGEST_MESSAGE:
            raise MessageTooLarge
        return [data]

    def decode(self, data: str | bytes) -> Any:
        if isinstance(data, str):
            raise InvalidMessage(1003, "a message of this subprotocol is binary")
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, OverflowError) as error:
            raise InvalidMessage(1007, _error_text(error)) from None


class JsonCodec(Codec):
    """One text WebSocket message each, and after it a binary one for each of its `attachments`.

    A payload of bytes is `{"attachment": 0}`, with the number of its attachment: so it is never base64.
    """

    def __init__(self, sender: Sender) -> None:
        self._expected = messages_of(sender)
        self._pending: Any = None
        self._attachments: list[bytes] = []
        self._missing = 0

    def encode_in_steps(self, message: Any) -> EncodingSteps[list[Any]]:
        attachments: list[bytes] = []
        texts: list[str] = []
        shown = _replaced(msgspec.to_builtins(message, builtin_types=(bytes,)), attachments, texts)
        if attachments:
            shown["attachments"] = len(attachments)
        if len(attachments) > MOST_ATTACHMENTS or sum(map(len, attachments)) > LARGEST_MESSAGE:
            raise MessageTooLarge
        yield from _check_size(texts)
        text = yield from _write(shown, texts)
        if payload_size(text) > LARGEST_MESSAGE:
            raise MessageTooLarge
        return [text, *attachments]

    def decode(self, data: str | bytes) -> Any:
        if self._missing:
            return self._attach(data)
        if isinstance(data, bytes):
            raise InvalidMessage(1003, "a message of this subprotocol is text")
        try:
            value = json.loads(data)
            missing = value.pop("attachments", 0) if isinstance(value, dict) else 0
        except (ValueError, RecursionError) as error:
            raise InvalidMessage(1007, _error_text(error)) from None
        if not (type(missing) is int and 0 <= missing <= MOST_ATTACHMENTS):
            raise InvalidMessage(1007, "attachments must be how many binary messages follow")
        self._pending, self._missing, self._attachments = value, missing, []
        return None if missing else self._complete()

    def _attach(self, data: str | bytes) -> Any:
        if isinstance(data, str):
            raise InvalidMessage(1003, "an attachment is binary")
        self._attachments.append(data)
        if sum(map(len, self._attachments)) > LARGEST_MESSAGE:
            raise InvalidMessage(1009, f"attachments have {LARGEST_MESSAGE:,} bytes together at most")
        self._missing -= 1
        return None if self._missing else self._complete()

    def _complete(self) -> Any:
        pending, self._pending = self._pending, None
        try:
            return msgspec.convert(
                _attached(pending, self._attachments), self._expected, builtin_types=(bytes,)
            )
        except (msgspec.ValidationError, RecursionError, IndexError, TypeError, OverflowError) as error:
            raise InvalidMessage(1007, _error_text(error)) from None


def make_codec(subprotocol: str, sender: Sender) -> Codec:
    """The codec that a subprotocol names, for a connection to this sender."""
    return MessagePackCodec(sender) if subprotocol == MESSAGEPACK else JsonCodec(sender)


def _error_text(error: Exception) -> str:
    """For a close frame: at most 123 bytes (RFC 6455, 5.5)."""
    return str(error).encode("ascii", "replace")[:120].decode() or type(error).__name__


def _replaced(value: Any, attachments: list[bytes], texts: list[str]) -> Any:
    """A JSON value in which bytes are numbers of `attachments`, and _LONG_TEXT stands for each long text.

    All its texts are in `texts`, too.
    """
    if isinstance(value, str):
        texts.append(value)
        return value if len(value) <= TEXT_STEP else _LONG_TEXT
    if isinstance(value, bytes):
        attachments.append(value)
        return {"attachment": len(attachments) - 1}
    if isinstance(value, dict):
        return {name: _replaced(each, attachments, texts) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(each, attachments, texts) for each in value]
    return value


def _check_size(texts: Sequence[str]) -> EncodingSteps[None]:
    """Raise MessageTooLarge for texts that are too large in JSON, before they take six times their memory.

    A quotation mark and a backslash have one byte more than is counted here.
    """
    if _ESCAPED_SIZE * sum(map(len, texts)) <= LARGEST_MESSAGE:
        return
    size = 0
    for text in texts:
        for part in _parts(text):
            data = part.encode(errors="surrogatepass")
            plain = data.translate(None, _CONTROL_CHARACTERS)
            size += len(plain) + _ESCAPED_SIZE * (len(data) - len(plain))
            if len(part) == TEXT_STEP:
                yield
    if size > LARGEST_MESSAGE:
        raise MessageTooLarge


def _write(value: Any, texts: Sequence[str]) -> EncodingSteps[str]:
    """A JSON value as text, with the long ones of its texts part by part in their places."""
    long_texts = [text for text in texts if len(text) > TEXT_STEP]
    if not long_texts:
        return _dumps(value)
    start, *rest = _dumps(value).split(f'"{_LONG_TEXT}"')
    written = [start]
    for text, after in zip(long_texts, rest, strict=True):
        written.append('"')
        for part in _parts(text):
            written.append(_dumps(part)[1:-1])
            yield
        written += ['"', after]
    return "".join(written)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _parts(text: str) -> Iterator[str]:
    return (text[start : start + TEXT_STEP] for start in range(0, len(text), TEXT_STEP))


def _attached(value: Any, attachments: Sequence[bytes]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"attachment"}:
            return attachments[value["attachment"]]
        return {name: _attached(each, attachments) for name, each in value.items()}
    if isinstance(value, list):
        return [_attached(each, attachments) for each in value]
    return value
