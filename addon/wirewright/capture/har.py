"""A capture as an HTTP archive, HAR 1.2, with its messages as Chrome's developer tools write and read them.

http://www.softwareishard.com/blog/har-12-spec/ and `_webSocketMessages`: one entry a socket. What an archive
has no place for is in the entry's `_wirewright`.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, urlsplit

import wirewright
from wirewright.capture.reader import Frame, FrameFlag, Socket, SocketFrames
from wirewright.capture.schema import CaptureError
from wirewright.model.handshake import fold_headers, websocket_url
from wirewright.model.history import Payload, payload_size

MILLISECONDS_FROM = 100_000_000_000
"""A time of so much or more is in milliseconds, as Playwright writes them: in seconds it is the year 5138."""
BUFFER = 8 * 1024 * 1024
"""Bytes that are parsed at once: a message of some megabytes that comes piece by piece takes minutes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = "_wirewright"
_OWN_FIELDS = tuple(
    field.name
    for field in fields(Socket)
    if field.name not in ("id", "session_id", "url", "request_headers", "response_headers", "status")
)


def pieces(sockets: SocketFrames) -> Iterator[str]:
    """The archive in pieces: no more than a few frames are in memory at a time.

    What was dropped did not pass, and control frames are none of Chrome's: both are left out.
    """
    creator = {"name": "Wirewright", "version": wirewright.__version__}
    yield f'{{"log":{{"version":"1.2","creator":{json.dumps(creator)},"pages":[],"entries":['
    separator = ""
    for socket, frames in sockets:
        # Of the entry's JSON the messages are the end.
        yield f"{separator}\n{json.dumps(_entry(socket))[:-1]},"
        yield '"_webSocketMessages":['
        yield from _messages(frames)
        yield "]}"
        separator = ","
    yield "\n]}}\n"


def _messages(frames: Iterable[Frame]) -> Iterator[str]:
    separator = ""
    for frame in frames:
        if frame.is_message and not frame.is_dropped:
            yield f"{separator}\n{_message(frame)}"
            separator = ","


def _message(frame: Frame) -> str:
    payload = frame.payload
    data = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
    kind = "send" if frame.direction == "sent" else "receive"
    seconds, nanoseconds = divmod(frame.time_ns, 1_000_000_000)
    time = f"{seconds}.{nanoseconds:09}"  # more digits than a float has
    own = f',"_flags":{frame.flags.value},"_size":{frame.size}' if frame.flags else ""
    data = json.dumps(data, ensure_ascii=False)
    return f'{{"type":"{kind}","time":{time},"opcode":{frame.opcode},"data":{data}{own}}}'


def _entry(socket: Socket) -> dict[str, Any]:
    opened = socket.opened_ns or socket.asked_ns
    handshake = (opened - socket.asked_ns) / 1e6
    started = datetime.fromtimestamp(socket.asked_ns / 1e9, UTC)
    total = max(handshake, ((socket.closed_ns or opened) - socket.asked_ns) / 1e6)
    entry = {
        "_resourceType": "websocket",
        "startedDateTime": started.isoformat(timespec="microseconds"),
        "time": total,
        "request": {
            "method": "GET",
            "url": socket.url,
            "httpVersion": "HTTP/1.1",
            "headers": _pairs(socket.request_headers),
            "queryString": [
                {"name": name, "value": value}
                for name, value in parse_qsl(urlsplit(socket.url).query, keep_blank_values=True)
            ],
            "cookies": [],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": socket.status or 0,
            "statusText": _phrase(socket.status),
            "httpVersion": "HTTP/1.1",
            "headers": _pairs(socket.response_headers or {}),
            "cookies": [],
            "content": {"size": 0, "mimeType": "x-unknown"},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": -1,
            "_error": socket.error,
        },
        "cache": {},
        "timings": {"send": 0, "wait": handshake, "receive": total - handshake},
        _OWN: {name: getattr(socket, name) for name in _OWN_FIELDS},
    }
    if socket.server_address:
        entry["serverIPAddress"] = socket.server_address.rpartition(":")[0]
    return entry


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return ""


def sockets(file: BinaryIO, path: Path) -> SocketFrames:
    """The WebSockets of an archive, whoever wrote it; no more than one entry is in memory at a time.

    Raises CaptureError for what is none.
    """
    import ijson  # only an import needs it

    try:
        for number, entry in enumerate(ijson.items(file, "log.entries.item", buf_size=BUFFER), 1):
            with _telling_of(path, number):
                read = (_socket(entry), list(_frames(entry))) if _is_websocket(entry) else None
            if read is not None:
                yield read[0], iter(read[1])
    except ijson.JSONError as error:
        raise CaptureError(f"{path}: it is no JSON: {' '.join(str(error).split())}") from None


@contextmanager
def _telling_of(path: Path, number: int) -> Iterator[None]:
    """Turn what an entry has, or has not, into a sentence about the file."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        what = f"its entry {number} is none of a HAR: {type(error).__name__}: {error}"
        raise CaptureError(f"{path}: {what}") from None


def _is_websocket(entry: Mapping[str, Any]) -> bool:
    scheme = entry["request"]["url"].partition("://")[0].lower()
    return (
        "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket" or scheme in ("ws", "wss")
    )


def _socket(entry: Mapping[str, Any]) -> Socket:
    request, response = entry["request"], entry["response"]
    asked_ns = _since_epoch(entry["startedDateTime"])
    headers = _folded(response["headers"])
    status = int(response["status"]) or None
    handshake = Decimal(max(0, entry.get("timings", {}).get("wait", 0)))
    values = {
        "asked_ns": asked_ns,
        "opened_ns": asked_ns + int(handshake * 1_000_000) if status == 101 else None,
        "closed_ns": asked_ns + int(Decimal(entry["time"]) * 1_000_000),
        "subprotocol": headers.get("sec-websocket-protocol"),
        "extensions": headers.get("sec-websocket-extensions"),
        "server_address": entry.get("serverIPAddress") or None,
        "error": response.get("_error") or None,
        **{name: value for name, value in entry.get(_OWN, {}).items() if name in _OWN_FIELDS},
    }
    return Socket(
        id=0,
        session_id=0,
        url=websocket_url(request["url"]),
        request_headers=_folded(request["headers"]),
        response_headers=headers if headers or status else None,
        status=status,
        **{name: values.get(name) for name in _OWN_FIELDS},  # type: ignore[arg-type]  # checked by the file
    )


def _frames(entry: Mapping[str, Any]) -> Iterator[Frame]:
    for message in entry.get("_webSocketMessages", ()):
        kind, opcode, data = message["type"], int(message["opcode"]), message["data"]
        if kind not in ("send", "receive"):
            continue  # Chrome's "error" is no message
        payload = _text(data) if opcode == 1 else _binary(data)
        yield Frame(
            id=0,
            socket_id=0,
            time_ns=_nanoseconds(message["time"]),
            direction="sent" if kind == "send" else "received",
            opcode=opcode,
            size=message.get("_size", payload_size(payload)),
            payload=payload,
            flags=FrameFlag(message.get("_flags", 0)),
            original=None,
        )


def _text(data: str) -> Payload:
    """Half a surrogate pair is no character, and no text message has one."""
    return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _binary(data: str) -> Payload:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ValueError(f"a binary message must be in base64, and is {data[:40]!r}") from None


def _nanoseconds(time: Decimal | int) -> int:
    return int(Decimal(time) * (1_000_000 if time >= MILLISECONDS_FROM else 1_000_000_000))


def _since_epoch(moment: str) -> int:
    """Nanoseconds; a time of no zone is a local one."""
    return (datetime.fromisoformat(moment).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def _folded(headers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return fold_headers((header["name"], header["value"]) for header in headers)
