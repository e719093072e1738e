"""WebSockets of a file of mitmproxy's flows (`mitmdump -w`), also of versions before 7."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from mitmproxy import flow, http, websocket
from mitmproxy.io import compat, tnetstring

from wirewright.capture.errors import CaptureError
from wirewright.capture.formats.bodies import kept_body
from wirewright.capture.formats.flow_records import LENGTH_DIGITS, check_record
from wirewright.capture.formats.flows import OWN
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.own_fields import OWN_FIELDS, read_own_fields
from wirewright.capture.formats.recorded_messages import OPCODES, RecordedMessages, message_frame
from wirewright.capture.formats.recorded_values import (
    close_code,
    epoch_ns,
    http_status,
    recorded_url,
    shortened,
    text,
)
from wirewright.capture.records import FrameFlag, RecordedFrame, Socket, SocketFrames
from wirewright.model.handshake import Headers, asked_url, is_handshake
from wirewright.values import CLOSED_BY, Direction, Payload

State = dict[str, Any]
"""A flow's state as read from the file, migrated to mitmproxy's newest format."""

_NO_CLOSE_OF_OLD_FLOWS = "unknown status code"
_OTHER_FLOWS = ("tcp", "udp", "dns")
_PIECE = 1024 * 1024


def sockets(file: IO[bytes], path: Path, report: OmissionReport, latest_ns: int) -> SocketFrames:
    """The WebSockets of a flow file, also those that were refused.

    A flow that cannot be read is skipped and counted. `latest_ns` is for a file whose first flow has no time.
    Raises CaptureError where the file cannot be read on.
    """
    report.name_entries("flow", "flows")
    fallback_ns = latest_ns
    for number, state in _handshakes_once(_states(file, path, report)):
        try:
            read = _read(state, number, fallback_ns, report)
        except Exception as error:  # a damaged flow fails wherever mitmproxy looks at it
            report.skip_entry(number, f"{type(error).__name__}: {error}")
            continue
        if read is not None:
            fallback_ns = read[0].asked_ns
            yield read


def _states(file: IO[bytes], path: Path, report: OmissionReport) -> Iterator[tuple[int, bytearray, State]]:
    """The HTTP flows of a file, numbered from 1 among all its flows."""
    for number, record in enumerate(_records(file, path), 1):
        try:
            state = _state(record)
        except Exception as error:
            report.skip_entry(number, str(error) or type(error).__name__)
            continue
        kind = state.get("type")
        if kind == "http":
            yield number, record, state
        elif not isinstance(kind, str) or kind not in _OTHER_FLOWS:
            report.skip_entry(number, f"its type is {shortened(kind)!r}")


def _state(record: bytearray) -> State:
    """The state of a flow. Raises any exception for a damaged one."""
    check_record(record)
    state: Any = compat.migrate_flow(tnetstring.loads(record))  # type: ignore[arg-type]  # a bad one raises
    return cast(State, state)


def _records(file: IO[bytes], path: Path) -> Iterator[bytearray]:
    """The netstrings of a file. Raises CaptureError for other data."""
    while first := file.read(1):
        digits = b""
        while first.isdigit() and len(digits) < LENGTH_DIGITS:
            digits += first
            first = file.read(1)
        if first != b":" or not digits:
            raise CaptureError(f"{path}: mitmproxy cannot read it as flows: Invalid data format.")
        record = bytearray(digits + first)
        end = len(record) + int(digits) + 1
        while len(record) < end and (piece := file.read(min(_PIECE, end - len(record)))):
            record += piece
        if len(record) < end:
            raise CaptureError(f"{path}: its end is missing: the last flow is cut off")
        yield record


def _handshakes_once(states: Iterable[tuple[int, bytearray, State]]) -> Iterator[tuple[int, State]]:
    """The same flows, without the handshake flows whose WebSocket has a flow of its own.

    mitmproxy before version 7 wrote both. It gives both the same id when it reads them.
    """
    held: dict[str, tuple[int, bytearray]] = {}  # a state takes up to 24 times the memory of its record
    for number, record, state in states:
        metadata = state.get("metadata")
        is_old = isinstance(metadata, dict) and "websocket" in metadata
        if state.get("websocket") is None and is_old:
            held[shortened(state.get("id"))] = number, record
        else:
            held.pop(shortened(state.get("id")), None)
            yield number, state
    for number, record in held.values():
        yield number, _state(record)


def _read(
    state: State, number: int, fallback_ns: int, report: OmissionReport
) -> tuple[Socket, Iterator[RecordedFrame]] | None:
    """The socket of a flow; None if it has none. Raises any exception for a damaged flow."""
    of_websocket = state.get("websocket")
    messages = RecordedMessages()
    if isinstance(of_websocket, dict):  # mitmproxy refuses the whole flow for one message of these
        messages = _messages(of_websocket.get("messages"), number, report)
        of_websocket["messages"] = []
    read = flow.Flow.from_state(state)
    assert isinstance(read, http.HTTPFlow)
    own = read_own_fields(read.metadata.get(OWN), OWN, number, report)
    if read.websocket is None and not own and not _asks(read):
        return None
    for side, message in (("request", read.request), ("response", read.response)):
        if message is not None:
            fields = message.headers.fields
            as_text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
            faults = report.faults(as_text, number, f"{side}.headers")
            message.headers.fields = tuple(
                field for field, fault in zip(fields, faults, strict=True) if not fault
            )
    socket = _socket(read, own, messages, fallback_ns)
    return socket, messages.frames(socket.opened_ns or socket.asked_ns)


def _asks(read: http.HTTPFlow) -> bool:
    return is_handshake(read.request.headers.fields)


def _messages(items: Any, number: int, report: OmissionReport) -> RecordedMessages:
    """The messages that can be read. Counts the others."""
    read = RecordedMessages()
    if not isinstance(items, list):
        report.skip_value(number, "messages", "not a list")
        return read
    for position, item in enumerate(items, 1):
        try:
            read.messages.append(_message(item))
        except ValueError as reason:
            report.skip_message(number, position, str(reason))
    return read


def _message(item: Any) -> RecordedFrame:
    """Raises ValueError with the reason for a message that cannot be read."""
    if not isinstance(item, list) or len(item) != 6:
        raise ValueError("not a message")
    opcode, from_client, content, timestamp, dropped, injected = item
    if not isinstance(opcode, int) or isinstance(opcode, bool) or opcode not in OPCODES:
        raise ValueError(f"opcode {shortened(opcode)} is not one of RFC 6455")
    if isinstance(content, str):  # mitmproxy before version 7
        content = content.encode(errors="replace")
    if not isinstance(content, bytes):
        raise ValueError("no content")
    payload: Payload = content.decode(errors="replace") if opcode == 1 else content
    flags = FrameFlag.DROPPED if dropped else FrameFlag.NONE
    return message_frame(
        epoch_ns(timestamp),
        Direction.SENT if from_client else Direction.RECEIVED,
        opcode,
        payload,
        flags | (FrameFlag.INJECTED if injected else FrameFlag.NONE),
    )


def _socket(
    read: http.HTTPFlow, own: Mapping[str, Any], messages: RecordedMessages, fallback_ns: int
) -> Socket:
    request, response = read.request, read.response
    headers = None if response is None else _headers(response)
    answered_ns = epoch_ns(response.timestamp_end) if response else None
    first_ns, last_ns = messages.span()
    asked_ns = epoch_ns(request.timestamp_start) or answered_ns or first_ns or fallback_ns
    opened_ns = answered_ns or first_ns or asked_ns
    peer = read.server_conn.peername or read.server_conn.address
    values: dict[str, Any] = {
        "url": own["url"] if "url" in own else _url(request),
        "asked_ns": min(asked_ns, first_ns or asked_ns),  # mitmproxy 4 has whole seconds for messages
        "opened_ns": min(opened_ns, first_ns or opened_ns) if _was_opened(read) else None,
        "subprotocol": headers.get("sec-websocket-protocol") if headers else None,
        "extensions": headers.get("sec-websocket-extensions") if headers else None,
        "client_address": _address_text(read.client_conn.peername),
        "server_address": _address_text(peer),
        "error": text(read.error.msg) if read.error else None,
    }
    values |= _close(read, last_ns or opened_ns)
    values |= own
    if messages.messages and values["opened_ns"] is None:
        values["opened_ns"] = opened_ns
    return Socket(
        id=0,
        session_id=0,
        request_headers=_headers(request),
        response_headers=headers,
        status=_status(response),
        response_body=None if values["opened_ns"] else _body(response),
        **{name: values[name] for name in OWN_FIELDS},
    )


def _url(request: http.Request) -> str:
    """The URL that the app asked for. Raises ValueError for one that no WebSocket has."""
    where = request.host, request.port, request.path
    try:
        return recorded_url(asked_url(request.scheme, request.host_header, *where))
    except ValueError:  # the Host header of a request can be anything
        return recorded_url(asked_url(request.scheme, None, *where))


def _close(read: http.HTTPFlow, last_ns: int) -> dict[str, Any]:
    """The fields of a socket's end: time, code, reason, side. `last_ns` is the latest time that is known."""
    ended, response = read.websocket, read.response
    values: dict[str, Any] = dict.fromkeys(("closed_ns", "close_code", "close_reason", "closed_by"))
    if ended is None or read.error or ended.timestamp_end is not None or _has_close(ended):
        closed_at = ended.timestamp_end if ended else response and response.timestamp_end
        failed_at = read.error.timestamp if read.error else None
        values["closed_ns"] = epoch_ns(closed_at) or epoch_ns(failed_at) or last_ns
        values["closed_by"] = CLOSED_BY[ended.closed_by_client] if ended else None
    if ended is not None and _has_close(ended):
        values["close_code"] = close_code(ended.close_code) or 1005
        values["close_reason"] = text(ended.close_reason)
    return values


def _was_opened(read: http.HTTPFlow) -> bool:
    """True if the handshake succeeded. Over HTTP/1.1 only a 101 does that (RFC 6455, 4.1)."""
    is_switched = read.response is not None and read.response.status_code == 101
    return read.websocket is not None or (is_switched and read.error is None)


def _has_close(ended: websocket.WebSocketData) -> bool:
    """True if a close frame was recorded. mitmproxy before version 7 wrote one for each socket."""
    return ended.close_code is not None and ended.close_reason != _NO_CLOSE_OF_OLD_FLOWS


def _status(response: http.Response | None) -> int | None:
    """The status of a response. Unlike in an HTTP archive, 0 is the status of a response that came."""
    if response is None:
        return None
    return 0 if response.status_code == 0 else http_status(response.status_code)


def _headers(message: http.Request | http.Response) -> Headers:
    return Headers(message.headers.items(multi=True))


def _body(response: http.Response | None) -> bytes | None:
    if response is None:
        return None
    return kept_body(response.raw_content, response.headers.get("content-encoding", ""))


def _address_text(address: tuple[Any, ...] | None) -> str | None:
    return f"{address[0]}:{address[1]}" if address and address[0] else None
