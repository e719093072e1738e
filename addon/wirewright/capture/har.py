"""A capture as an HTTP archive, HAR 1.2, with its messages as Chrome's developer tools write and read them.

http://www.softwareishard.com/blog/har-12-spec/ and `_webSocketMessages`: one entry a socket.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import wirewright
from wirewright.capture.filters import Filter
from wirewright.capture.reader import Capture, Frame, Socket


def pieces(capture: Capture, chosen: Filter) -> Iterator[str]:
    """The archive in pieces: no more than a few frames are in memory at a time.

    What was dropped did not pass, and control frames are none of Chrome's: both are left out.
    """
    creator = {"name": "Wirewright", "version": wirewright.__version__}
    yield f'{{"log":{{"version":"1.2","creator":{json.dumps(creator)},"pages":[],"entries":['
    separator = ""
    spans = capture.spans()
    for socket in chosen.sockets(capture).values():
        # Of the entry's JSON the messages are the end.
        yield f"{separator}\n{json.dumps(_entry(socket))[:-1]},"
        yield '"_webSocketMessages":['
        yield from _messages(capture, chosen, socket, spans.get(socket.id, (0, 0)))
        yield "]}"
        separator = ","
    yield "\n]}}\n"


def _messages(capture: Capture, chosen: Filter, socket: Socket, span: tuple[int, int]) -> Iterator[str]:
    separator, (first, last) = "", span
    for frame in capture.frames(after=first - 1, until=last, socket=socket.id):
        if frame.is_message and not frame.is_dropped and chosen.holds(frame):
            yield f"{separator}\n{json.dumps(_message(frame))}"
            separator = ","


def _message(frame: Frame) -> dict[str, Any]:
    payload = frame.payload
    data = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
    return {
        "type": "send" if frame.direction == "sent" else "receive",
        "time": frame.time_ns / 1e9,
        "opcode": frame.opcode,
        "data": data,
    }


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
            "queryString": _pairs(dict(parse_qsl(urlsplit(socket.url).query, keep_blank_values=True))),
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
        "_closeCode": socket.close_code,
        "_closeReason": socket.close_reason,
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
