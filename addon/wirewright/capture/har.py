"""A capture as an HTTP archive, HAR 1.2, with its messages as Chrome's developer tools write and read them.

http://www.softwareishard.com/blog/har-12-spec/ and `_webSocketMessages`: one entry a socket. What an archive
has no place for is in the entry's `_wirewright`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from string import punctuation
from typing import IO, Any
from urllib.parse import parse_qsl, quote, urlsplit

import wirewright
from wirewright.capture.reader import Direction, Frame, FrameFlag, Socket, SocketFrames
from wirewright.capture.schema import CaptureError
from wirewright.model.handshake import fold_headers, websocket_url
from wirewright.model.history import Payload, payload_size

MILLISECONDS_FROM = 100_000_000_000
"""A time of so much or more is in milliseconds, as Playwright writes them: in seconds it is the year 5138."""
BUFFER = 8 * 1024 * 1024
"""Bytes that are parsed at once: a message of some megabytes that comes piece by piece takes minutes."""

Attached = Callable[[str], IO[bytes]]
_DIRECTIONS: Mapping[str, Direction] = {"send": "sent", "receive": "received"}
DEEPEST = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = "_wirewright"
_OWN_FIELDS = tuple(
    field.name
    for field in fields(Socket)
    if field.name not in ("id", "session_id", "request_headers", "response_headers", "status")
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
        yield from _messages(socket, frames)
        yield "]}"
        separator = ","
    yield "\n]}}\n"


def _messages(socket: Socket, frames: Iterable[Frame]) -> Iterator[str]:
    separator = ""
    for frame in frames:
        if frame.is_message and not frame.is_dropped:
            payload = frame.payload
            data = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
            kind = "send" if frame.direction == "sent" else "receive"
            own = f',"_flags":{frame.flags.value},"_size":{frame.size}' if frame.flags else ""
            yield f"{separator}\n{_message(kind, frame.time_ns, frame.opcode, data, own)}"
            separator = ","
    if socket.error is not None:
        yield f"{separator}\n{_message('error', socket.closed_ns or socket.asked_ns, -1, socket.error)}"


def _message(kind: str, time_ns: int, opcode: int, data: str, own: str = "") -> str:
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    time = f"{seconds}.{nanoseconds:09}"  # more digits than a float has
    shown = json.dumps(data, ensure_ascii=False)
    return f'{{"type":"{kind}","time":{time},"opcode":{opcode},"data":{shown}{own}}}'


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
            "url": quote(socket.url, safe=punctuation),
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
        host, _, port = socket.server_address.rpartition(":")
        # Without the zone of a local address, which no schema takes; Chrome shows the connection as the port.
        entry |= {"serverIPAddress": host.partition("%")[0], "connection": port}
    return entry


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return ""


def sockets(file: IO[bytes], path: Path, attached: Attached) -> SocketFrames:
    """The WebSockets of an archive, whoever wrote it; no more than one entry is in memory at a time.

    `attached` opens a file that lies beside it. Raises CaptureError for what is none.
    """
    import ijson  # only an import needs it

    try:
        events = ijson.parse(_shallow(ijson.basic_parse(file, buf_size=BUFFER)))
        for number, entry in enumerate(ijson.items(events, "log.entries.item"), 1):
            with _telling_of(path, number):
                read = _read(entry, attached) if _is_websocket(entry) else None
            if read is not None:
                yield read[0], iter(read[1])
    except ValueError as error:
        raise CaptureError(f"{path}: {error}") from None
    except ijson.JSONError as error:
        raise CaptureError(f"{path}: it is no whole JSON: {str(error).partition(chr(10))[0]}") from None


def _shallow(events: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The same, up to a depth that no archive has: what is deeper takes memory by the square."""
    depth = 0
    for event, value in events:
        depth += {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}.get(event, 0)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        yield event, value


@contextmanager
def _telling_of(path: Path, number: int) -> Iterator[None]:
    """Turn what an entry has, or has not, into a sentence about the file."""
    try:
        yield
    except CaptureError:
        raise
    except (
        AttributeError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:
        reason = str(error).partition("\n")[0]
        what = f"its entry {number} is none of a HAR: {type(error).__name__}: {reason}"
        raise CaptureError(f"{path}: {what}") from None


def _is_websocket(entry: Mapping[str, Any]) -> bool:
    scheme = entry["request"]["url"].partition("://")[0].lower()
    return (
        "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket" or scheme in ("ws", "wss")
    )


def _read(entry: Mapping[str, Any], attached: Attached) -> tuple[Socket, list[Frame]]:
    messages = entry.get("_webSocketMessages", ())
    name = entry["response"].get("content", {}).get("_file", "")
    if name.endswith(".jsonl"):  # Playwright's `record_har_content="attach"`
        with attached(name) as lines:
            messages = [json.loads(line, parse_float=Decimal) for line in lines]
    asked_ns = _since_epoch(entry["startedDateTime"])
    frames: list[Frame] = []
    error = None
    for message in messages:
        if message["type"] == "error":
            error = message["data"]
        else:
            frames.append(_frame(message, frames[-1].time_ns if frames else asked_ns))
    return _socket(entry, asked_ns, frames, error), frames


def _socket(entry: Mapping[str, Any], asked_ns: int, frames: list[Frame], error: str | None) -> Socket:
    request, response = entry["request"], entry["response"]
    headers = _folded(response["headers"])
    status = max(0, int(response["status"])) or None  # nothing came: Chrome has 0, Playwright -1
    # What they call the end of the handshake, or of all, may be something else.
    times = [frame.time_ns for frame in frames]
    opened_ns = min([_after(asked_ns, entry.get("timings", {}).get("wait", 0)), *times])
    closed_ns = max([_after(asked_ns, entry["time"]), *times])
    values = {
        "url": websocket_url(request["url"]),
        "asked_ns": asked_ns,
        "opened_ns": opened_ns if status == 101 else None,
        "closed_ns": closed_ns,
        "subprotocol": headers.get("sec-websocket-protocol"),
        "extensions": headers.get("sec-websocket-extensions"),
        "server_address": entry.get("serverIPAddress") or None,
        "error": response.get("_error") or response.get("_failureText") or error,
        **{name: value for name, value in entry.get(_OWN, {}).items() if name in _OWN_FIELDS},
    }
    return Socket(
        id=0,
        session_id=0,
        request_headers=_folded(request["headers"]),
        response_headers=headers if headers or status else None,
        status=status,
        **{name: values.get(name) for name in _OWN_FIELDS},  # type: ignore[arg-type]  # as the file has them
    )


def _frame(message: Mapping[str, Any], before_ns: int) -> Frame:
    opcode, data, time = int(message["opcode"]), message["data"], message["time"]
    payload = _text(data) if opcode == 1 else _binary(data)
    return Frame(
        id=0,
        socket_id=0,
        time_ns=before_ns if time < 0 else _nanoseconds(time),  # Playwright's `mode="minimal"` has no times
        direction=_DIRECTIONS[message["type"]],
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


def _after(asked_ns: int, milliseconds: Decimal | int) -> int:
    return asked_ns + int(Decimal(max(0, milliseconds)) * 1_000_000)


def _since_epoch(moment: str) -> int:
    """Nanoseconds; a time of no zone is a local one."""
    return (datetime.fromisoformat(moment).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def _folded(headers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return fold_headers((header["name"], header["value"]) for header in headers)
