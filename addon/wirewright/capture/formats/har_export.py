"""A capture as an HTTP archive, HAR 1.2, with its messages as Chrome's developer tools write and read them.

http://www.softwareishard.com/blog/har-12-spec/ and `_webSocketMessages`: one entry a socket. What an archive
has no place for is in the entry's `_wirewright`.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from string import punctuation
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from wirewright.capture.formats import har_headers
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.own_fields import own_fields
from wirewright.capture.records import RecordedFrame, Socket, SocketFrames
from wirewright.model.handshake import Headers
from wirewright.values import VERSION, Direction

OWN = "_wirewright"
"""The key of an entry for the fields that an archive has no place for."""


def pieces(sockets: SocketFrames, report: OmissionReport) -> Iterator[str]:
    """The archive in pieces: no more than a few frames are in memory at a time.

    What was dropped did not pass, and control frames are none of Chrome's: both are left out.
    Sockets of which no entry can be made are left out and counted.
    """
    creator = {"name": "Wirewright", "version": VERSION}
    yield f'{{"log":{{"version":"1.2","creator":{json.dumps(creator)},"pages":[],"entries":['
    separator = ""
    for socket, frames in sockets:
        try:
            entry = json.dumps(_entry(socket))
        except (ValueError, OverflowError) as error:  # a URL or a time that no archive has
            report.skip_entry(socket.id, str(error))
            continue
        # The messages come last in the JSON of an entry.
        yield f"{separator}\n{entry[:-1]},"
        yield '"_webSocketMessages":['
        yield from _messages(socket, frames)
        yield "]}"
        separator = ","
    yield "\n]}}\n"


def holds(frame: RecordedFrame) -> bool:
    """True if an archive has a place for a frame."""
    return frame.is_message and not frame.is_dropped


def _messages(socket: Socket, frames: Iterable[RecordedFrame]) -> Iterator[str]:
    separator = ""
    for frame in frames:
        if holds(frame):
            payload = frame.payload
            data = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
            kind = "send" if frame.direction is Direction.SENT else "receive"
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
    answer = socket.response_headers or Headers()
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
            "headers": har_headers.to_har(socket.request_headers),
            "queryString": [
                {"name": name, "value": value}
                for name, value in parse_qsl(urlsplit(socket.url).query, keep_blank_values=True)
            ],
            "cookies": har_headers.request_cookies(socket.request_headers),
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": socket.status or 0,
            "statusText": _phrase(socket.status),
            "httpVersion": "HTTP/1.1",
            "headers": har_headers.to_har(answer),
            "cookies": har_headers.response_cookies(answer),
            "content": har_headers.content_to_har(answer, socket.response_body),
            "redirectURL": answer.readable().get("location", ""),
            "headersSize": -1,
            "bodySize": -1,
            "_error": socket.error,
        },
        "cache": {},
        "timings": {"send": 0, "wait": handshake, "receive": total - handshake},
        OWN: own_fields(socket),
    }
    if socket.opened_ns is not None and socket.close_code is not None:
        entry["_webSocketClose"] = _close(socket.close_code, socket.close_reason, socket.closed_ns)
    if socket.server_address:
        host, _, port = socket.server_address.rpartition(":")
        # Without the zone of a local address, which no schema takes; Chrome shows the connection as the port.
        entry |= {"serverIPAddress": host.partition("%")[0], "connection": port}
    return entry


def _close(code: int, reason: str | None, closed_ns: int | None) -> object:
    """How a WebSocket was closed, as HTTP Toolkit writes it: without a code if there was none (1005)."""
    if code == 1006:
        return "aborted"
    close: dict[str, Any] = {} if code == 1005 else {"code": code}
    close["reason"] = reason or ""
    return close if closed_ns is None else close | {"timestamp": closed_ns / 1e9}


def _phrase(status: int | None) -> str:
    try:
        return HTTPStatus(status or 0).phrase
    except ValueError:
        return ""
