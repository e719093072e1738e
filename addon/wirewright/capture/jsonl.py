"""A capture as JSON lines, one event a line, for jq, DuckDB and the like."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from wirewright.capture.filters import Filter
from wirewright.capture.reader import Annotation, Capture, Frame, FrameFlag, Gap, Socket, Watch
from wirewright.model.history import Payload


def lines(capture: Capture, chosen: Filter, watch: Watch = iter) -> Iterator[str]:
    """A `socket` line before the first frame of each socket, and a `frame` line for each frame.

    In the end there is a `socket` line for each that had no frame and an `annotation` line for each remark,
    if all frames are chosen, and a `gap` line for what is missing.
    """
    shown: set[int] = set()
    for socket, frame in watch(chosen.frames(capture)):
        if socket.id not in shown:
            shown.add(socket.id)
            yield _line(_socket(socket))
        yield _line(_frame(frame))
    if chosen.takes_all_frames:
        for socket in chosen.sockets(capture).values():
            if socket.id not in shown:
                yield _line(_socket(socket))
        for annotation in capture.annotations():
            yield _line(_annotation(annotation))
    for gap in capture.gaps():
        yield _line(_gap(gap))


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
        "request_headers": socket.request_headers,
        "response_headers": socket.response_headers,
        "subprotocol": socket.subprotocol,
        "extensions": socket.extensions,
        "client_address": socket.client_address,
        "server_address": socket.server_address,
        "close_code": socket.close_code,
        "close_reason": socket.close_reason,
        "closed_by": socket.closed_by,
        "error": socket.error,
    }


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "event": "gap",
        "session": gap.session_id,
        "time": gap.time_ns,
        "frames": gap.frames,
        "bytes": gap.bytes,
        "reason": gap.reason,
    }


def _annotation(annotation: Annotation) -> dict[str, Any]:
    return {
        "event": "annotation",
        "session": annotation.session_id,
        "time": annotation.time_ns,
        "text": annotation.text,
    }


def _frame(frame: Frame) -> dict[str, Any]:
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
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n"
