"""Recordings as other programs write them."""

import json
from pathlib import Path
from typing import Any

from wirewright.capture import RecordedFrame, Socket
from wirewright.capture import open as open_capture
from wirewright.capture.formats.importer import import_file
from wirewright.capture.formats.omission_report import OmissionReport

BEGINNING_NS = 1_764_103_477_000_000_000


def entry(**changes: Any) -> dict[str, Any]:
    """A socket as Chrome writes it."""
    return {
        "_connectionId": "17",
        "_resourceType": "websocket",
        "_webSocketMessages": [
            {"type": "send", "time": 1764103477.5, "opcode": 1, "data": "hello"},
            {"type": "receive", "time": 1764103477.123456, "opcode": 2, "data": "AP8="},
        ],
        "cache": {},
        "request": {
            "method": "GET",
            "url": "wss://h/live?a=1",
            "httpVersion": "http/1.1",
            "headers": [{"name": "Host", "value": "h"}, {"name": "Cookie", "value": "a=b"}],
        },
        "response": {
            "status": 101,
            "statusText": "Switching Protocols",
            "headers": [
                {"name": "Sec-WebSocket-Protocol", "value": "chat"},
                {"name": "X", "value": "1"},
                {"name": "x", "value": "2"},
            ],
            "_error": None,
        },
        "serverIPAddress": "10.0.0.1",
        "startedDateTime": "2025-11-25T20:44:37.000Z",
        "time": 30_000.25,
        "timings": {"blocked": -1, "send": 0, "wait": 12.5, "receive": 0},
    } | changes


def http_entry() -> dict[str, Any]:
    return {
        "request": {"url": "https://h/", "headers": []},
        "response": {"status": 200, "headers": [], "content": {}},
        "startedDateTime": "2025-11-25T20:44:37.000Z",
    }


def archive(tmp_path: Path, *entries: object) -> Path:
    path = tmp_path / "chrome.har"
    path.write_text(json.dumps({"log": {"version": "1.2", "entries": entries}}))
    return path


def imported(source: Path, target: Path) -> list[tuple[Socket, list[RecordedFrame]]]:
    import_file(source, target)
    with open_capture(target) as capture:
        return [(socket, list(capture.frames(socket=socket.id))) for socket in capture.sockets()]


def with_message(**changes: Any) -> dict[str, Any]:
    message = {"type": "send", "time": 1764103477, "opcode": 1, "data": "a"} | changes
    return entry(_webSocketMessages=[message])


def message(**changes: Any) -> dict[str, Any]:
    """A text message a second after the beginning."""
    return {"type": "send", "time": 1764103478, "opcode": 1, "data": "a"} | changes


def read(source: Path, target: Path) -> tuple[list[tuple[Socket, list[RecordedFrame]]], OmissionReport]:
    """The sockets that an import makes of a recording, and its report."""
    report = import_file(source, target).report
    with open_capture(target) as capture:
        return [(socket, list(capture.frames(socket=socket.id))) for socket in capture.sockets()], report
