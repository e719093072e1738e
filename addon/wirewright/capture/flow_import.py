"""WebSockets of a file of mitmproxy's flows (`mitmdump -w`)."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from mitmproxy import exceptions, http, websocket
from mitmproxy.io import FlowReader

from wirewright.capture.reader import Frame, FrameFlag, Socket, SocketFrames
from wirewright.capture.schema import CaptureError
from wirewright.model.handshake import asked_url, fold_headers, is_handshake
from wirewright.model.history import payload_size
from wirewright.model.websocket import ClosedBy

_CLOSED_BY: Mapping[bool | None, ClosedBy] = {True: "client", False: "server", None: "proxy"}


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
