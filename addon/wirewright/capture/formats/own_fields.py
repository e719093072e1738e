"""Fields of a socket that other formats do not have. An export writes them under a key of its own."""

from dataclasses import fields
from typing import Any, get_args

from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.recorded_values import close_code, integer, recorded_url, shortened, text
from wirewright.capture.records import Socket
from wirewright.values import ClosedBy

OWN_FIELDS = tuple(
    field.name
    for field in fields(Socket)
    if field.name
    not in ("id", "session_id", "request_headers", "response_headers", "status", "response_body")
)


def own_fields(socket: Socket) -> dict[str, Any]:
    """The fields as they are exported."""
    return {name: getattr(socket, name) for name in OWN_FIELDS}


def read_own_fields(own: Any, key: str, entry: int, report: OmissionReport) -> dict[str, Any]:
    """The fields of an entry that can be read. Counts the others; `key` is where they are."""
    if own is None:
        return {}
    if not isinstance(own, dict):
        report.skip_value(entry, key, "not an object")
        return {}
    read = {}
    for name in OWN_FIELDS:
        if name in own:
            try:
                read[name] = _value(name, own[name])
            except ValueError as error:
                report.skip_value(entry, f"{key}.{name}", str(error))
    return read


def _value(name: str, value: Any) -> Any:
    """Raises ValueError for a value that the field never has."""
    if name == "url":
        return recorded_url(value)
    if value is None and name != "asked_ns":
        return None
    if name == "close_code":
        read: Any = None if isinstance(value, str) else close_code(value)
    elif name.endswith("_ns"):
        whole = None if isinstance(value, str) else integer(value)
        read = whole if whole is not None and whole >= 0 else None
    elif name == "closed_by":
        read = value if isinstance(value, str) and value in get_args(ClosedBy) else None
    else:
        read = text(value)
    if read is None or (name == "asked_ns" and not read):
        raise ValueError(f"it is {shortened(value)!r}")
    return read
