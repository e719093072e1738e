"""A capture as JSON lines, one event a line, for jq, DuckDB and the like."""

import base64
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from wirewright.capture.events import EventReader, SocketEvent
from wirewright.capture.filters import Filter
from wirewright.capture.printable_json import printable_json
from wirewright.capture.reader import Capture, Watch
from wirewright.capture.records import Annotation, FrameFlag, Gap, RecordedFrame, Socket
from wirewright.model.handshake import Headers
from wirewright.values import Payload


def lines(capture: Capture, chosen: Filter, watch: Watch = iter) -> Iterator[str]:
    """A line for each socket, frame, remark and gap: session after session, in the order of time.

    A socket's line is at its opening, or at its request if it never opened. Remarks are left out where the
    filter chooses frames by their content, as are sockets that have no chosen frame.
    """
    for event in EventReader(capture, chosen).read(watch):
        if isinstance(event, RecordedFrame):
            yield _line(_frame(event))
        elif isinstance(event, SocketEvent):
            if event.kind in ("connecting", "open"):
                yield _line(_socket(event.socket))
        elif isinstance(event, Gap):
            yield _line(_note("gap", event))
        elif not chosen.has_content:
            yield _line(_note("annotation", event))


def _socket(socket: Socket) -> dict[str, Any]:
    return {
        "event": "socket",
        "socket": socket.id,
        "session": socket.session_id,
        "url": socket.url,
        "asked": socket.asked_ns,
        "opened": socket.opened_ns,
        "closed": socket.closed_ns,
        "status": socket.status,
        **_headers("request", socket.request_headers),
        **_headers("response", socket.response_headers),
        "subprotocol": socket.subprotocol,
        "extensions": socket.extensions,
        "client_address": socket.client_address,
        "server_address": socket.server_address,
        "close_code": socket.close_code,
        "close_reason": socket.close_reason,
        "closed_by": socket.closed_by,
        "error": socket.error,
        **_body(socket.response_body),
    }


def _headers(of: str, headers: Headers | None) -> dict[str, Any]:
    """By lower-case name, joined as in the API, and all fields as they were written."""
    if headers is None:
        return {f"{of}_headers": None, f"{of}_headers_array": None}
    shown = headers.readable()
    return {f"{of}_headers": shown.as_dict(), f"{of}_headers_array": shown.as_array()}


def _body(body: bytes | None) -> dict[str, str]:
    if body is None:
        return {}
    try:
        return _payload("response_body_", body.decode())
    except UnicodeDecodeError:
        return _payload("response_body_", body)


def _note(kind: str, note: Gap | Annotation) -> dict[str, Any]:
    values = asdict(note).items()
    return {"event": kind} | {name.removesuffix("_id").removesuffix("_ns"): value for name, value in values}


def _frame(frame: RecordedFrame) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event": "frame",
        "socket": frame.socket_id,
        "time": frame.time_ns,
        "direction": frame.direction,
        "opcode": frame.opcode,
        "size": frame.size,
        **_payload("", frame.payload),
    }
    if frame.original is not None:
        event |= _payload("original_", frame.original)
    if flags := [flag.name.lower() for flag in FrameFlag if flag in frame.flags and flag.name]:
        event["flags"] = flags
    return event


def _payload(prefix: str, payload: Payload) -> dict[str, str]:
    if isinstance(payload, str):
        return {f"{prefix}text": payload}
    return {f"{prefix}base64": base64.b64encode(payload).decode()}


def _line(event: dict[str, Any]) -> str:
    return printable_json(event, is_compact=True) + "\n"
