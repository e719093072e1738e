"""Exports a capture as a file of mitmproxy's flows: `mitmweb --rfile out.mitm` shows it.

Each flow is one netstring, which begins with its length. mitmproxy's own writer builds it in memory. This one
puts the messages of a flow into a temporary file first.
"""

import shutil
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from mitmproxy import connection, flow, http, websocket
from mitmproxy.io import tnetstring

from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.own_fields import own_fields
from wirewright.capture.records import FrameFlag, RecordedFrame, Socket, SocketFrames, was_open
from wirewright.model.handshake import Headers, upstream_url
from wirewright.values import CLOSED_BY, Direction

IN_MEMORY = 8 * 1024 * 1024
"""Bytes of a flow's messages that are not yet put into a file."""

_CLOSED_BY_CLIENT: Mapping[str | None, bool | None] = {by: by_client for by_client, by in CLOSED_BY.items()}

OWN = "wirewright"
"""The key of a flow's metadata for the fields that a flow has no place for."""


def write(file: BinaryIO, sockets: SocketFrames, folder: Path, report: OmissionReport) -> None:
    """A flow a socket, with its messages; mitmproxy has no control frames. `folder` takes what is too much
    for the memory. Sockets of which mitmproxy can have no flow are left out and counted."""
    for socket, frames in sockets:
        try:
            made = _flow(socket)
        except ValueError as error:  # a host, a port or a user that no URL of mitmproxy has
            report.skip_entry(socket.id, str(error))
            continue
        first = next(frames, None)
        if was_open(socket, has_frames=first is not None):
            made.websocket = _websocket(socket)
        state = made.get_state()
        of_websocket = state.pop("websocket")
        with SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(folder)) as messages:
            for frame in () if first is None else chain([first], frames):
                if frame.is_message:
                    messages.write(tnetstring.dumps(_message(frame).get_state()))
            if of_websocket is None:
                tnetstring.dump({**state, "websocket": None}, file)
                continue
            del of_websocket["messages"]
            size = messages.tell()
            inner = _items(of_websocket) + tnetstring.dumps("messages") + b"%d:" % size
            outer = _items(state) + tnetstring.dumps("websocket") + b"%d:" % (len(inner) + size + 1)
            file.write(b"%d:" % (len(outer) + len(inner) + size + 2) + outer + inner)
            messages.seek(0)
            shutil.copyfileobj(messages, file)
            file.write(b"]}}")  # of the list, the WebSocket and the flow


def _items(values: Mapping[str, Any]) -> bytes:
    """The content of the netstring of a dict."""
    return b"".join(tnetstring.dumps(each) for item in values.items() for each in item)


def _flow(socket: Socket) -> http.HTTPFlow:
    """The handshake. Raises ValueError for one that mitmproxy cannot have."""
    asked, opened = socket.asked_ns / 1e9, (socket.opened_ns or socket.asked_ns) / 1e9
    client = connection.Client(
        peername=_address(socket.client_address) or ("", 0), sockname=("", 0), timestamp_start=asked
    )
    request = http.Request.make("GET", upstream_url(socket.url))
    request.headers = _fields(socket.request_headers)
    request.path = urlunsplit(("", "", *urlsplit(socket.url)[2:4], ""))  # as it came, even if it is no ASCII
    request.timestamp_start = request.timestamp_end = asked
    server = connection.Server(address=(request.host, request.port))
    server.peername = _address(socket.server_address)
    made = http.HTTPFlow(client, server)
    made.request = request
    if socket.status is not None:
        made.response = http.Response.make(socket.status)
        made.response.headers = _fields(socket.response_headers or Headers())
        if socket.response_body:
            made.response.content = socket.response_body  # compressed as its Content-Encoding says
        made.response.timestamp_start = made.response.timestamp_end = opened
    if socket.error is not None:
        made.error = flow.Error(socket.error, (socket.closed_ns or socket.asked_ns) / 1e9)
    made.metadata[OWN] = own_fields(socket)
    return made


def _websocket(socket: Socket) -> websocket.WebSocketData:
    return websocket.WebSocketData(
        closed_by_client=_CLOSED_BY_CLIENT.get(socket.closed_by),
        close_code=socket.close_code,
        close_reason=socket.close_reason,
        timestamp_end=None if socket.closed_ns is None else socket.closed_ns / 1e9,
    )


def _message(frame: RecordedFrame) -> websocket.WebSocketMessage:
    payload = frame.payload
    return websocket.WebSocketMessage(
        frame.opcode,
        frame.direction is Direction.SENT,
        payload.encode() if isinstance(payload, str) else payload,
        frame.time_ns / 1e9,
        frame.is_dropped,
        FrameFlag.INJECTED in frame.flags,
    )


def _fields(headers: Headers) -> http.Headers:
    return http.Headers(
        [
            (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
            for name, value in headers.pairs
        ]
    )


def _address(shown: str | None) -> tuple[str, int] | None:
    if shown is None:
        return None
    host, _, port = shown.rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else (shown, 0)
