"""Messages of an entry of an HTTP archive: `_webSocketMessages`, whichever program wrote them."""

import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from wirewright.capture.formats.bounded_json import Item
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.recorded_messages import OPCODES, RecordedMessages, message_frame
from wirewright.capture.formats.recorded_values import base64_bytes, epoch_ns, integer, shortened, text
from wirewright.capture.records import FrameFlag, RecordedFrame
from wirewright.values import Direction

MESSAGES = "_webSocketMessages"
"""The key of an entry's messages."""
NO_REASON = "failed, Chrome gives no reason"
"""The error of a socket whose error message is empty, as Chrome writes it."""

_DIRECTIONS: Mapping[str, Direction] = {"send": Direction.SENT, "receive": Direction.RECEIVED}
_KNOWN_FLAGS = sum(flag.value for flag in FrameFlag)
_CLOSE_TEXT = re.compile(r"([1-4]\d{3})(?:\s*[:,;]?\s*(.*))?", re.ASCII | re.DOTALL)


def read_messages(
    items: Iterable[Item], entry: int, report: OmissionReport, read: RecordedMessages | None = None
) -> RecordedMessages:
    """The messages that can be read, after those of `read`. Counts the others."""
    read = RecordedMessages() if read is None else read
    for item, reason in items:
        read.total += 1
        if reason is not None:
            report.skip_message(entry, read.total, reason)
            continue
        if isinstance(item, dict) and item.get("type") == "error":
            read.error = text(item.get("data")) or read.error or NO_REASON
            read.error_ns = epoch_ns(item.get("time")) or read.error_ns
            continue
        try:
            read.messages.append(_message(item))
        except ValueError as error:
            report.skip_message(entry, read.total, str(error))
    return read


def _message(item: Any) -> RecordedFrame:
    """Raises ValueError with the reason for a message that cannot be read."""
    if not isinstance(item, dict):
        raise ValueError("not an object")
    kind = item.get("type")
    direction = _DIRECTIONS.get(kind) if isinstance(kind, str) else None
    if direction is None:
        raise ValueError(_wrong(item, "type"))
    opcode = integer(item.get("opcode"))
    if opcode is None:
        raise ValueError(_wrong(item, "opcode"))
    if opcode not in OPCODES:
        raise ValueError(f"opcode {opcode} is not one of RFC 6455")
    data = text(item.get("data"))
    if data is None:
        raise ValueError(_wrong(item, "data"))
    payload = data if opcode == 1 else _bytes(opcode, data)
    flags = integer(item.get("_flags"))
    return message_frame(
        epoch_ns(item.get("time")),
        direction,
        opcode,
        payload,
        FrameFlag(flags & _KNOWN_FLAGS if flags is not None and flags > 0 else 0),
        integer(item.get("_size")),
    )


def _wrong(item: Mapping[str, Any], name: str) -> str:
    if item.get(name) is None:
        return f"no `{name}`"
    return f"its `{name}` is {shortened(item[name])!r}"


def _bytes(opcode: int, data: str) -> bytes:
    """The payload of a frame that is not text: base64, or for a control frame also plain text."""
    payload = base64_bytes(data)
    if opcode < 8:
        if payload is None:
            raise ValueError(f"its data must be base64, and is {data[:40]!r}")
        return payload
    if payload is not None and len(data.strip()) % 4 == 0 and _may_be(opcode, payload):
        return payload
    return _close_payload(data) if opcode == 8 else data.encode()


def _may_be(opcode: int, payload: bytes) -> bool:
    """True if a control frame may have this payload (RFC 6455, 5.5.1)."""
    if opcode != 8 or not payload:
        return True
    return len(payload) >= 2 and 1000 <= struct.unpack("!H", payload[:2])[0] <= 4999


def _close_payload(data: str) -> bytes:
    """The payload of a close frame that was written as text: `1000 bye`, or its bytes as characters."""
    if matched := _CLOSE_TEXT.fullmatch(data):
        return struct.pack("!H", int(matched[1])) + (matched[2] or "").encode()
    try:
        written = data.encode("latin-1")
    except UnicodeEncodeError:
        return data.encode()
    return written if len(written) >= 2 and _may_be(8, written) else data.encode()
