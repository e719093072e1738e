"""A capture as a file of mitmproxy's flows, and the other way round: `mitmweb --rfile out.mitm` shows it.

A flow file has each flow as one netstring with its length before it, and mitmproxy's own writer makes it in
memory. Here the messages of a flow go through a temporary file.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from mitmproxy import connection, exceptions, flow, http, websocket
from mitmproxy.io import FlowReader, tnetstring

from wirewright.capture.reader import Frame, FrameFlag, Socket, SocketFrames
from wirewright.capture.schema import CaptureError
from wirewright.model.handshake import asked_url, fold_headers, is_handshake, upstream_url
from wirewright.model.history import payload_size
from wirewright.model.websocket import ClosedBy

IN_MEMORY = 8 * 1024 * 1024
"""Bytes of a flow's messages that are not yet put into a file."""

_CLOSED_BY: Mapping[bool | None, ClosedBy] = {True: "client", False: "server", None: "proxy"}


def write(file: BinaryIO, sockets: SocketFrames, folder: Path) -> None:
    """A flow a socket, with its messages; mitmproxy has no control frames. `folder` takes what is too much
    for the memory."""
    for socket, frames in sockets:
        state = _flow(socket).get_state()
        of_websocket = state.pop("websocket")
        with SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(folder)) as messages:
            for frame in frames:
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
    """What is in a netstring of a dict."""
    return b"".join(tnetstring.dumps(each) for item in values.items() for each in item)


def _flow(socket: Socket) -> http.HTTPFlow:
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
        made.response.headers = _fields(socket.response_headers or {})
        made.response.timestamp_start = made.response.timestamp_end = opened
    if socket.error is not None:
        made.error = flow.Error(socket.error, (socket.closed_ns or socket.asked_ns) / 1e9)
    if socket.opened_ns is not None:
        made.websocket = websocket.WebSocketData(
            closed_by_client={"client": True, "server": False}.get(socket.closed_by or ""),
            close_code=socket.close_code,
            close_reason=socket.close_reason,
            timestamp_end=None if socket.closed_ns is None else socket.closed_ns / 1e9,
        )
    return made


def _message(frame: Frame) -> websocket.WebSocketMessage:
    payload = frame.payload
    return websocket.WebSocketMessage(
        frame.opcode,
        frame.direction == "sent",
        payload.encode() if isinstance(payload, str) else payload,
        frame.time_ns / 1e9,
        frame.is_dropped,
        FrameFlag.INJECTED in frame.flags,
    )


def _fields(headers: Mapping[str, str]) -> http.Headers:
    return http.Headers([(name.encode(), value.encode()) for name, value in headers.items()])


def _address(shown: str | None) -> tuple[str, int] | None:
    if shown is None:
        return None
    host, _, port = shown.rpartition(":")
    return (host, int(port)) if host and port.isdecimal() else (shown, 0)


def sockets(file: IO[bytes], path: Path) -> SocketFrames:
    """The WebSockets of a flow file, also those that were refused. Raises CaptureError for what is none."""
    try:
        for each in FlowReader(file).stream():  # type: ignore[arg-type]  # any file will do
            if isinstance(each, http.HTTPFlow) and (
                each.websocket is not None or is_handshake(each.request.method, _folded(each.request.headers))
            ):
                yield _socket(each), iter(list(_frames(each.websocket.messages if each.websocket else ())))
    except CaptureError:
        raise
    except exceptions.FlowReadException as error:
        raise CaptureError(f"{path}: mitmproxy cannot read it as flows: {error}") from None
    except Exception as error:  # a damaged flow fails wherever mitmproxy, or we, look at it
        what = f"{type(error).__name__}: {error}"
        raise CaptureError(f"{path}: mitmproxy cannot read it as flows: {what}") from None


def _socket(read: http.HTTPFlow) -> Socket:
    request, response, ended = read.request, read.response, read.websocket
    headers = None if response is None else _folded(response.headers)
    is_over = read.error is not None or ended is None or ended.timestamp_end is not None
    closed_at = ended.timestamp_end if ended else response and response.timestamp_end
    closed_at = closed_at or (read.error.timestamp if read.error else None)
    peer = read.server_conn.peername or read.server_conn.address
    return Socket(
        id=0,
        session_id=0,
        url=asked_url(request.scheme, request.host_header, request.host, request.port, request.path),
        asked_ns=_nanoseconds(request.timestamp_start) or 0,
        opened_ns=_nanoseconds(response.timestamp_end) if ended and response else None,
        closed_ns=_nanoseconds(closed_at) if is_over else None,
        request_headers=_folded(request.headers),
        response_headers=headers,
        status=None if response is None else response.status_code,
        subprotocol=None if headers is None else headers.get("sec-websocket-protocol"),
        extensions=None if headers is None else headers.get("sec-websocket-extensions"),
        client_address=_shown(read.client_conn.peername),
        server_address=_shown(peer),
        close_code=ended.close_code if ended else None,
        close_reason=ended.close_reason if ended else None,
        closed_by=_CLOSED_BY[ended.closed_by_client] if ended and ended.timestamp_end is not None else None,
        error=read.error.msg if read.error else None,
    )


def _frames(messages: Iterable[websocket.WebSocketMessage]) -> Iterator[Frame]:
    for message in messages:
        flags = FrameFlag.DROPPED if message.dropped else FrameFlag.NONE
        payload = message.content.decode(errors="replace") if message.is_text else message.content
        yield Frame(
            id=0,
            socket_id=0,
            time_ns=_nanoseconds(message.timestamp) or 0,
            direction="sent" if message.from_client else "received",
            opcode=int(message.type),
            size=payload_size(payload),
            payload=payload,
            flags=flags | (FrameFlag.INJECTED if message.injected else FrameFlag.NONE),
            original=None,
        )


def _folded(headers: http.Headers) -> dict[str, str]:
    return fold_headers(headers.items(multi=True))


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def _shown(address: tuple[Any, ...] | None) -> str | None:
    return f"{address[0]}:{address[1]}" if address and address[0] else None
