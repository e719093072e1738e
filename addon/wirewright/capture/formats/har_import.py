"""WebSockets of an HTTP archive, whichever program wrote it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Any

from wirewright.capture.errors import CaptureError
from wirewright.capture.formats.bounded_json import (
    InvalidJson,
    Item,
    TokenReader,
    build,
    lines,
    list_items,
    parse,
)
from wirewright.capture.formats.har_export import OWN
from wirewright.capture.formats.har_headers import content_from_har, values_from_har
from wirewright.capture.formats.har_messages import MESSAGES, read_messages
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.own_fields import OWN_FIELDS, read_own_fields
from wirewright.capture.formats.recorded_messages import RecordedMessages
from wirewright.capture.formats.recorded_values import (
    LARGEST_INTEGER,
    close_code,
    duration_ns,
    epoch_ns,
    http_status,
    moment_ns,
    recorded_url,
    text,
)
from wirewright.capture.records import RecordedFrame, Socket, SocketFrames
from wirewright.model.handshake import Headers, field_fault
from wirewright.values import ClosedBy

Attached = Callable[[str], IO[bytes]]
"""Opens a file that lies beside the archive. Raises OSError or ValueError; reading it, CaptureError."""

MOST_FIELDS = 10_000
"""Header fields of a request or a response that are read."""

_CLOSED_BY: Mapping[str, ClosedBy] = {"sent": "client", "received": "server"}
_HANDSHAKE_FAILED = "Error during WebSocket handshake"
"""The beginning of Chromium's sentences for failed handshakes."""


@dataclass(slots=True)
class _Entry:
    """An entry with a WebSocket, partly parsed."""

    number: int
    values: Mapping[str, Any]
    url: str
    started_ns: int | None
    messages: RecordedMessages

    @property
    def request(self) -> Mapping[str, Any]:
        return _mapping(self.values.get("request"))

    @property
    def response(self) -> Mapping[str, Any]:
        return _mapping(self.values.get("response"))


def archive_entries(file: IO[bytes], path: Path, report: OmissionReport) -> Iterator[tuple[int, Any]]:
    """The entries of an archive, numbered from 1; one is in memory at a time.

    Raises CaptureError where the file cannot be read on.
    """
    tokens = TokenReader(file)
    events = parse(tokens)
    try:
        for number, first in enumerate(list_items(events, ["log", "entries"]), 1):
            lists = {MESSAGES: partial(read_messages, entry=number, report=report)}
            entry, reason = build(first, events, lists)
            if reason is None:
                yield number, entry
            else:
                report.skip_entry(number, reason)
    except InvalidJson as error:
        raise CaptureError(f"{path}: {error}") from None
    finally:
        report.note_long_strings(tokens.long_strings)


def read_entries(
    entries: Iterable[tuple[int, Any]], attached: Attached, report: OmissionReport, latest_ns: int
) -> SocketFrames:
    """The WebSockets among numbered entries; one entry is in memory at a time.

    An entry without any time has the time of the entry before it, or else after it. `latest_ns` is for an
    archive that has no time at all.
    """
    reader = _EntryReader(attached, report)
    undated: list[_Entry] = []
    fallback_ns = None
    for number, values in entries:
        entry = reader.read(number, values)
        started_ns = _moment(values) if entry is None else entry.started_ns
        fallback_ns = started_ns or fallback_ns
        if fallback_ns is None:
            undated += [] if entry is None else [entry]
            continue
        for each in (*undated, entry):
            if each is not None:
                yield reader.finish(each, fallback_ns)
        undated.clear()
    for each in undated:
        yield reader.finish(each, latest_ns)


class _EntryReader:
    def __init__(self, attached: Attached, report: OmissionReport) -> None:
        self._attached = attached
        self._report = report

    def read(self, number: int, values: Any) -> _Entry | None:
        """The entry if it is a WebSocket; None for any other, and for one that cannot be read."""
        if not isinstance(values, dict):
            self._report.skip_entry(number, "not an object")
            return None
        request = values.get("request")
        url = _mapping(request).get("url")
        if not isinstance(url, str):
            self._report.skip_entry(number, "no `request.url`" if request else "no `request`")
            return None
        if not _is_websocket(values, url):
            return None
        try:
            url = recorded_url(url)
        except ValueError as error:
            self._report.skip_entry(number, str(error))
            return None
        messages = self._messages(number, values)
        return _Entry(number, values, url, _moment(values) or messages.first_ns, messages)

    def finish(self, entry: _Entry, fallback_ns: int) -> tuple[Socket, Iterator[RecordedFrame]]:
        """The socket. `fallback_ns` is its time if the entry has none."""
        asked_ns = entry.started_ns or fallback_ns
        times = [frame.time_ns for frame in entry.messages.frames(asked_ns)]
        return self._socket(entry, asked_ns, times), entry.messages.frames(asked_ns)

    def _messages(self, number: int, entry: Mapping[str, Any]) -> RecordedMessages:
        """The messages in the entry, and those in a file beside it."""
        embedded = entry.get(MESSAGES)
        if isinstance(embedded, RecordedMessages):
            messages = embedded
        else:
            items = embedded if isinstance(embedded, list) else ()
            messages = read_messages(((item, None) for item in items), number, self._report)
            if embedded is not None and not isinstance(embedded, list):
                self._report.skip_value(number, MESSAGES, "not a list")
        return read_messages(self._attached_items(number, entry), number, self._report, messages)

    def _attached_items(self, number: int, entry: Mapping[str, Any]) -> Iterator[Item]:
        """The messages in a file beside the archive, one a line."""
        content = _mapping(_mapping(entry.get("response")).get("content"))
        name = content.get("_file")  # Playwright's `record_har_content="attach"`
        if not (isinstance(name, str) and name.endswith(".jsonl")):
            return
        try:
            with self._attached(name) as file:
                yield from lines(file)
        except FileNotFoundError:
            self._report.skip_value(number, "_file", f"{name} is missing, and its messages with it")
        except OSError as error:
            self._report.skip_value(number, "_file", f"{name}: {error.strerror or error}")
        except ValueError as error:
            self._report.skip_value(number, "_file", f"{name}: {error}")
        except CaptureError as error:
            self._report.skip_value(number, "_file", error.message)

    def _socket(self, entry: _Entry, asked_ns: int, times: list[int]) -> Socket:
        request_headers = self._headers(entry, "request")
        response_headers = self._headers(entry, "response")
        status = http_status(entry.response.get("status"))
        error = text(entry.response.get("_error")) or text(entry.response.get("_failureText"))
        error = error or entry.messages.error
        # The handshake's end and the total time mean something else in some programs: messages lie between.
        waited_ns = asked_ns + duration_ns(_mapping(entry.values.get("timings")).get("wait"))
        ended_ns = asked_ns + duration_ns(entry.values.get("time"))
        was_opened = bool(times) or _opens(status, error, entry.values)
        values: dict[str, Any] = {
            "url": entry.url,
            "asked_ns": min([asked_ns, *times]),
            "opened_ns": min([waited_ns, LARGEST_INTEGER, *times]) if was_opened else None,
            "closed_ns": min(LARGEST_INTEGER, max([ended_ns, entry.messages.error_ns or asked_ns, *times])),
            "subprotocol": response_headers.get("sec-websocket-protocol"),
            "extensions": response_headers.get("sec-websocket-extensions"),
            "server_address": text(entry.values.get("serverIPAddress")) or None,
            "error": error,
        }
        values |= _close(entry)
        values |= read_own_fields(entry.values.get(OWN), OWN, entry.number, self._report)
        if times and values["opened_ns"] is None:
            values["opened_ns"] = min([waited_ns, *times])
        return Socket(
            id=0,
            session_id=0,
            request_headers=request_headers,
            response_headers=response_headers if response_headers or status else None,
            status=status,
            response_body=None if values["opened_ns"] else content_from_har(entry.response.get("content")),
            **{name: values.get(name) for name in OWN_FIELDS},  # type: ignore[arg-type]  # each was checked
        )

    def _headers(self, entry: _Entry, side: str) -> Headers:
        listed = (entry.request if side == "request" else entry.response).get("headers")
        if listed is None:
            return Headers()
        if not isinstance(listed, list):
            self._report.skip_value(entry.number, f"{side}.headers", "not a list")
            return Headers()
        pairs: list[tuple[str, str]] = []
        for header in listed:
            name, value = _header(header)
            if len(pairs) + (value or "").count("\n") >= MOST_FIELDS:
                self._report.skip_value(entry.number, f"{side}.headers", f"more than {MOST_FIELDS:,} fields")
                break
            if name is None or value is None:
                reason = f"{name or 'a header'} has no value" if value is None else "a header has no name"
                self._report.skip_value(entry.number, f"{side}.headers", reason)
            else:
                fields = [(name, each) for each in values_from_har(header, value)]
                if fault := next(filter(None, (field_fault(*field) for field in fields)), None):
                    self._report.skip_value(entry.number, f"{side}.headers", fault)
                else:
                    pairs += fields
        return Headers(pairs)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _moment(values: Any) -> int | None:
    return moment_ns(_mapping(values).get("startedDateTime"))


def _is_websocket(entry: Mapping[str, Any], url: str) -> bool:
    """True if an entry has messages, or says that it is a WebSocket, or has the request of a handshake."""
    messages = entry.get(MESSAGES)
    if isinstance(messages, RecordedMessages):
        has_messages = messages.total > 0
    else:
        has_messages = isinstance(messages, list) and len(messages) > 0
    return has_messages or _names_websocket(entry, url) or _upgrades(entry)


def _names_websocket(entry: Mapping[str, Any], url: str) -> bool:
    kind = entry.get("_resourceType")
    scheme = url.partition("://")[0].strip().lower()
    return (isinstance(kind, str) and kind.lower() == "websocket") or scheme in ("ws", "wss")


def _upgrades(entry: Mapping[str, Any]) -> bool:
    headers = _mapping(entry.get("request")).get("headers")
    for header in headers if isinstance(headers, list) else ():
        name, value = _header(header)
        if name and value and name.lower() == "upgrade" and value.strip().lower() == "websocket":
            return True
    return False


def _header(header: Any) -> tuple[str | None, str | None]:
    """Name and value of `{"name": …, "value": …}`, or of a list of both, as Slack writes it."""
    if isinstance(header, dict):
        name, value = header.get("name"), header.get("value")
    elif isinstance(header, list) and len(header) == 2:
        name, value = header
    else:
        return None, None
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        value = str(value)
    return text(name) or None, text(value)


def _opens(status: int | None, error: str | None, entry: Mapping[str, Any]) -> bool:
    """True if a response without messages opened a WebSocket: a 101, or any 2xx (RFC 8441, 5)."""
    if status is None or (error or "").startswith(_HANDSHAKE_FAILED):
        return False
    if status == 101:
        return True
    # An entry of an HTTP request with `Upgrade` is one over HTTP/1.1, where a 2xx refuses the handshake.
    url = _mapping(entry.get("request")).get("url")
    return 200 <= status <= 299 and isinstance(url, str) and _names_websocket(entry, url)


def _close(entry: _Entry) -> dict[str, Any]:
    """How the socket was closed: HTTP Toolkit's `_webSocketClose`, or else the first close frame."""
    close = entry.values.get("_webSocketClose")
    framed = entry.messages.close()
    if close == "aborted":
        return {"close_code": 1006, "close_reason": ""}
    if isinstance(close, dict):
        read: dict[str, Any] = {
            "close_code": close_code(close.get("code")) or 1005,
            "close_reason": text(close.get("reason")) or "",
        }
        if (closed_ns := epoch_ns(close.get("timestamp"))) is not None:
            read["closed_ns"] = closed_ns
    elif framed is not None:
        read = {"close_code": framed[0], "close_reason": framed[1]}
    else:
        return {}
    return read if framed is None else read | {"closed_by": _CLOSED_BY[framed[2]]}
