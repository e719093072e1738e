"""The lines of a cassette: JSON, one for each socket, message and end. docs/pytest.md describes them.

A message that is a JSON object or array is written as it was sent, character for character: a reviewer reads
JSON, and the replay sends the same text.
"""

import base64
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from wirewright.capture.formats.recorded_values import http_status, recorded_url
from wirewright.capture.printable_json import printable_json
from wirewright.capture.records import RecordedFrame, Socket
from wirewright.capture.redaction import REDACTED, Redaction, secret_protocol
from wirewright.model.close_codes import MAX_REASON_SIZE
from wirewright.model.handshake import Headers, field_fault
from wirewright.requirements import require
from wirewright.values import Direction, Payload

T = TypeVar("T")

BEGINNING = '{"wirewright": "cassette", "version": 1}'
"""The first line of a cassette."""
LARGEST_JSON = 1024 * 1024
"""Characters of a message that is written as a JSON value. A longer one is written as text."""
MOST_FIELDS = 10_000
"""Header fields of a request or a response."""
MILLISECOND = 1_000_000
"""Nanoseconds."""
MOST_MILLISECONDS = 10**12
"""More than 30 years."""

_VARYING = frozenset(
    {
        "accept-encoding",
        "accept-language",
        "cache-control",
        "date",
        "host",
        "pragma",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-version",
        "server",
        "user-agent",
    }
)
"""Header fields that are left out: they differ from run to run, and no replay needs them."""
_MESSAGE = re.compile(r'\{\s*"at"\s*:\s*(\d{1,12})\s*,\s*"(sent|received)(_base64)?"\s*:\s*')
"""The beginning of a message's line, up to the message."""


@cache
def _checker() -> Callable[[str], object]:
    """Raises ValueError for a text that is not JSON, without building its values."""
    require(["msgspec"])  # the addon is also loaded without it
    import msgspec

    decode = msgspec.json.Decoder(msgspec.Raw).decode

    def check(written: str) -> None:
        try:
            decode(written)
        except msgspec.DecodeError as error:  # a ValueError in newer versions of msgspec
            raise ValueError(str(error)) from None

    return check


class BadLine(ValueError):
    """The line is not one of a cassette. The message is a sentence without its subject."""


# Writing


def socket_lines(socket: Socket, frames: Iterable[RecordedFrame], redaction: Redaction) -> Iterator[str]:
    """The lines of a socket with its messages, without secrets. Control frames are left out."""
    yield _socket_line(socket, redaction)
    opened_ns = socket.opened_ns or socket.asked_ns
    for frame in frames:
        if frame.is_message:
            yield _message_line(
                _offset(frame.time_ns, opened_ns), frame.direction, redaction.payload(frame.payload)
            )
    if socket.opened_ns is not None and socket.closed_ns is not None:
        reason = socket.close_reason and redaction.close_reason(socket.close_reason)
        end = {"closed_by": socket.closed_by, "code": socket.close_code, "reason": reason or None}
        yield printable_json({"at": _offset(socket.closed_ns, opened_ns)} | _present(end, keep="closed_by"))


def _socket_line(socket: Socket, redaction: Redaction) -> str:
    answer = socket.response_headers or Headers()
    redacted = redaction.headers(answer)
    values: dict[str, Any] = {
        "socket": redaction.url(socket.url),
        "status": None if socket.status == 101 else socket.status,
        "subprotocol": redacted.get("sec-websocket-protocol"),
        "request_headers": _kept_fields(socket.request_headers, redaction),
        "response_headers": _kept_fields(answer.of_acceptance(), redaction),
    }
    if socket.opened_ns is None:
        secret = secret_protocol(answer, redacted)
        error = socket.error or "the handshake failed"
        values["failed"] = redaction.text(error.replace(secret, REDACTED) if secret else error)
    return printable_json(_present(values))


def _kept_fields(headers: Headers, redaction: Redaction) -> list[list[str]]:
    kept = redaction.headers(headers.end_to_end().without(_VARYING)).readable()
    return [[name, value] for name, value in kept.pairs]


def _message_line(at: int, direction: Direction, payload: Payload) -> str:
    beginning = f'{{"at": {at}, "{direction.value}'
    if isinstance(payload, bytes):
        return f'{beginning}_base64": "{base64.b64encode(payload).decode()}"}}'
    return f'{beginning}": {payload if _is_json(payload) else printable_json(payload)}}}'


def _is_json(payload: str) -> bool:
    """True if a message can be written as it is: a JSON object or array, in printable characters."""
    if not (payload[:1] in ("{", "[") and payload[-1:] in ("}", "]") and payload.isprintable()):
        return False
    try:
        _check_json(payload)
    except BadLine:
        return False
    return True


def _present(values: Mapping[str, Any], keep: str = "") -> dict[str, Any]:
    return {name: value for name, value in values.items() if name == keep or value not in (None, [])}


def _offset(time_ns: int, opened_ns: int) -> int:
    return max(0, time_ns - opened_ns) // MILLISECOND


# Reading


def message_of(line: str) -> tuple[int, Direction, Payload] | None:
    """The milliseconds, the direction and the payload of a message; None for a line of another kind.

    Raises BadLine for a message that cannot be read.
    """
    found = _MESSAGE.match(line)
    if found is None or not line.endswith("}"):
        return None
    at, direction, is_binary = found.groups()
    written = line[found.end() : -1].rstrip()
    if is_binary:
        return int(at), Direction(direction), _bytes(_string(written))
    return int(at), Direction(direction), _text(written)


def _text(written: str) -> str:
    if written[:1] in ("{", "["):
        _check_json(written)
        return written
    return _string(written)


def _string(written: str) -> str:
    if written[:1] != '"':
        raise BadLine("a message must be a JSON string, object or array, and the last value of its line")
    return str(_loaded(written, most=sys.maxsize))


def _bytes(written: str) -> bytes:
    try:
        return base64.b64decode(written, validate=True)
    except ValueError:
        raise BadLine("a binary message must be base64") from None


def values_of(line: str) -> dict[str, Any]:
    """The JSON object of a line that is not a message. Raises BadLine."""
    values = _loaded(line)
    if not isinstance(values, dict):
        raise BadLine("it must be a JSON object")
    if not values.keys().isdisjoint(f"{each.value}{end}" for each in Direction for end in ("", "_base64")):
        raise BadLine('a message has "at" in milliseconds, then "sent" or "received", and nothing else')
    return values


def socket_of(values: Mapping[str, Any], number: int) -> Socket:
    """The socket of a line with its URL. Its times are those of a socket that opened at 0. Raises BadLine."""
    try:
        url = recorded_url(values["socket"])
    except ValueError as error:
        raise BadLine(str(error)) from None
    failed = _optional(values, "failed", str)
    response = _fields(values, "response_headers")
    protocol = _optional(values, "subprotocol", str)
    if protocol is not None:
        response = Headers([*response.pairs, ("Sec-WebSocket-Protocol", protocol)])
    status = _optional(values, "status", int)
    if status is not None and http_status(status) is None:
        raise BadLine('"status" must be an HTTP status')
    return Socket(
        id=number,
        session_id=1,
        url=url,
        asked_ns=0,
        opened_ns=0 if failed is None else None,
        closed_ns=None if failed is None else 0,
        request_headers=_fields(values, "request_headers"),
        response_headers=response,
        status=101 if failed is None and status is None else status,
        subprotocol=protocol,
        extensions=None,
        client_address=None,
        server_address=None,
        close_code=None,
        close_reason=None,
        closed_by=None,
        error=failed,
    )


def closed_socket(socket: Socket, values: Mapping[str, Any]) -> Socket:
    """The socket with the end of a line that says who closed it. Raises BadLine."""
    by = values["closed_by"]
    if by not in ("client", "server", "proxy", None):
        raise BadLine('"closed_by" must be "client", "server", "proxy" or null')
    at, code = _optional(values, "at", int), _optional(values, "code", int)
    if at is None or not 0 <= at < MOST_MILLISECONDS:
        raise BadLine('"at" must be a number of milliseconds')
    if code is not None and not 1000 <= code <= 4999:
        raise BadLine('"code" must be a close code, 1000 to 4999')
    reason = _optional(values, "reason", str)
    if by != "proxy" and len((reason or "").encode(errors="surrogatepass")) > MAX_REASON_SIZE:
        raise BadLine(f'"reason" has more than {MAX_REASON_SIZE} bytes')
    if code is not None and reason is None:
        reason = ""
    return replace(socket, closed_ns=at * MILLISECOND, close_code=code, close_reason=reason, closed_by=by)


def _fields(values: Mapping[str, Any], name: str) -> Headers:
    fields = values.get(name, [])
    is_list = isinstance(fields, list) and len(fields) <= MOST_FIELDS
    if not is_list or not all(
        isinstance(each, list) and list(map(type, each)) == [str, str] for each in fields
    ):
        raise BadLine(f'"{name}" must be a list of [name, value]')
    if fault := next(filter(None, (field_fault(*field) for field in fields)), None):
        raise BadLine(f'"{name}": {fault}')
    return Headers(map(tuple, fields))


def _optional(values: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    value = values.get(name)
    if value is not None and type(value) is not kind:
        raise BadLine(f'"{name}" must be {"a string" if kind is str else "a whole number"}')
    return value


def _loaded(written: str, most: int = LARGEST_JSON) -> Any:
    _check_json(written, most)
    try:
        return json.loads(written)
    except ValueError as error:  # a number of thousands of digits
        raise BadLine(f"it is not JSON: {error}") from None


def _check_json(written: str, most: int = LARGEST_JSON) -> None:
    """Raise BadLine for text that is not JSON (RFC 8259). No value is built."""
    if len(written) > most:
        raise BadLine(f"a JSON value has more than {most >> 20} MiB: write a message as a string")
    try:
        _checker()(written)
    except RecursionError:
        raise BadLine("it is nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"it is not JSON: {str(error).removeprefix('JSON is malformed: ')}") from None
