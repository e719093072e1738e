"""WebSockets of an HTTP archive, whichever program wrote it.

`_webSocketMessages` has the messages, as Chrome's developer tools write them.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from wirewright.capture.har import OWN, OWN_FIELDS
from wirewright.capture.reader import Direction, Frame, FrameFlag, Socket, SocketFrames
from wirewright.capture.schema import CaptureError
from wirewright.model.handshake import fold_headers, websocket_url
from wirewright.model.history import Payload, payload_size
from wirewright.requirements import require

MILLISECONDS_FROM = 100_000_000_000
"""A time of so much or more is in milliseconds, as Playwright writes them: in seconds it is the year 5138."""
BUFFER = 8 * 1024 * 1024
"""Bytes that are parsed at once: a message of some megabytes that comes piece by piece takes minutes."""

Attached = Callable[[str], IO[bytes]]
_DIRECTIONS: Mapping[str, Direction] = {"send": "sent", "receive": "received"}
DEEPEST = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sockets(file: IO[bytes], path: Path, attached: Attached) -> SocketFrames:
    """The WebSockets of an archive, whoever wrote it; no more than one entry is in memory at a time.

    `attached` opens a file that lies beside it. Raises CaptureError for what is none.
    """
    require(["ijson"])  # only an import needs it
    import ijson

    try:
        events = ijson.parse(_shallow(ijson.basic_parse(file, buf_size=BUFFER)))
        for number, entry in enumerate(ijson.items(events, "log.entries.item"), 1):
            with _telling_of(path, number):
                read = _read(entry, attached) if _is_websocket(entry) else None
            if read is not None:
                yield read[0], iter(read[1])
    except ValueError as error:
        raise CaptureError(f"{path}: {error}") from None
    except ijson.JSONError as error:
        raise CaptureError(f"{path}: it is no whole JSON: {str(error).partition(chr(10))[0]}") from None


def _shallow(events: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The same, up to a depth that no archive has: what is deeper takes memory by the square."""
    depth = 0
    for event, value in events:
        depth += {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}.get(event, 0)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")
        yield event, value


@contextmanager
def _telling_of(path: Path, number: int) -> Iterator[None]:
    """Turn what an entry has, or has not, into a sentence about the file."""
    try:
        yield
    except CaptureError:
        raise
    except (
        AttributeError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:
        reason = str(error).partition("\n")[0]
        what = f"its entry {number} is none of a HAR: {type(error).__name__}: {reason}"
        raise CaptureError(f"{path}: {what}") from None


def _is_websocket(entry: Mapping[str, Any]) -> bool:
    scheme = entry["request"]["url"].partition("://")[0].lower()
    return (
        "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket" or scheme in ("ws", "wss")
    )


def _read(entry: Mapping[str, Any], attached: Attached) -> tuple[Socket, list[Frame]]:
    messages = entry.get("_webSocketMessages", ())
    name = entry["response"].get("content", {}).get("_file", "")
    if name.endswith(".jsonl"):  # Playwright's `record_har_content="attach"`
        with attached(name) as lines:
            messages = [json.loads(line, parse_float=Decimal) for line in lines]
    asked_ns = _since_epoch(entry["startedDateTime"])
    frames: list[Frame] = []
    error = None
    for message in messages:
        if message["type"] == "error":
            error = message["data"]
        else:
            frames.append(_frame(message, frames[-1].time_ns if frames else asked_ns))
    return _socket(entry, asked_ns, frames, error), frames


def _socket(entry: Mapping[str, Any], asked_ns: int, frames: list[Frame], error: str | None) -> Socket:
    request, response = entry["request"], entry["response"]
    headers = _folded(response["headers"])
    status = max(0, int(response["status"])) or None  # nothing came: Chrome has 0, Playwright -1
    # What they call the end of the handshake, or of all, may be something else.
    times = [frame.time_ns for frame in frames]
    opened_ns = min([_after(asked_ns, entry.get("timings", {}).get("wait", 0)), *times])
    closed_ns = max([_after(asked_ns, entry["time"]), *times])
    values = {
        "url": websocket_url(request["url"]),
        "asked_ns": asked_ns,
        "opened_ns": opened_ns if status == 101 else None,
        "closed_ns": closed_ns,
        "subprotocol": headers.get("sec-websocket-protocol"),
        "extensions": headers.get("sec-websocket-extensions"),
        "server_address": entry.get("serverIPAddress") or None,
        "error": response.get("_error") or response.get("_failureText") or error,
        **{name: value for name, value in entry.get(OWN, {}).items() if name in OWN_FIELDS},
    }
    return Socket(
        id=0,
        session_id=0,
        request_headers=_folded(request["headers"]),
        response_headers=headers if headers or status else None,
        status=status,
        **{name: values.get(name) for name in OWN_FIELDS},  # type: ignore[arg-type]  # as the file has them
    )


def _frame(message: Mapping[str, Any], before_ns: int) -> Frame:
    opcode, data, time = int(message["opcode"]), message["data"], message["time"]
    payload = _text(data) if opcode == 1 else _binary(data)
    return Frame(
        id=0,
        socket_id=0,
        time_ns=before_ns if time < 0 else _nanoseconds(time),  # Playwright's `mode="minimal"` has no times
        direction=_DIRECTIONS[message["type"]],
        opcode=opcode,
        size=message.get("_size", payload_size(payload)),
        payload=payload,
        flags=FrameFlag(message.get("_flags", 0)),
        original=None,
    )


def _text(data: str) -> Payload:
    """Half a surrogate pair is no character, and no text message has one."""
    return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _binary(data: str) -> Payload:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ValueError(f"a binary message must be in base64, and is {data[:40]!r}") from None


def _nanoseconds(time: Decimal | int) -> int:
    return int(Decimal(time) * (1_000_000 if time >= MILLISECONDS_FROM else 1_000_000_000))


def _after(asked_ns: int, milliseconds: Decimal | int) -> int:
    return asked_ns + int(Decimal(max(0, milliseconds)) * 1_000_000)


def _since_epoch(moment: str) -> int:
    """Nanoseconds; a time of no zone is a local one."""
    return (datetime.fromisoformat(moment).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def _folded(headers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return fold_headers((header["name"], header["value"]) for header in headers)
