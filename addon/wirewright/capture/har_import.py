"""WebSockets of an HTTP archive, whichever program wrote it.

`_webSocketMessages` has the messages, as Chrome's developer tools write them.
"""

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, Any

from wirewright.capture.har_entries import Attached, read_entries
from wirewright.capture.import_report import ImportReport
from wirewright.capture.reader import SocketFrames
from wirewright.capture.schema import CaptureError
from wirewright.requirements import require

BUFFER = 8 * 1024 * 1024
"""Bytes that are parsed at once: a message of some megabytes that comes piece by piece takes minutes."""
DEEPEST = 100
"""The nesting of an archive is less deep than this."""
WHOLE_BYTES = 64 * 1024 * 1024
"""The size of an archive that may be read at once, if a NaN keeps it from being read entry by entry."""

_DEPTH_CHANGES = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}


def sockets(
    file: IO[bytes], path: Path, attached: Attached, report: ImportReport, latest_ns: int
) -> SocketFrames:
    """The WebSockets of an archive; one entry is in memory at a time.

    `attached` opens a file that lies beside it, and `latest_ns` is the time of an archive that has none.
    Raises CaptureError where the file cannot be read on.
    """
    yield from read_entries(_entries(file, path, report), attached, report, latest_ns)


def _entries(file: IO[bytes], path: Path, report: ImportReport) -> Iterator[tuple[int, Any]]:
    """The entries of an archive, numbered from 1."""
    require(["ijson"])  # only an import needs it
    import ijson

    beginning, done = file.tell() if file.seekable() else None, 0
    events = _ShallowEvents(ijson.basic_parse(file, buf_size=BUFFER))
    try:
        for done, entry in enumerate(ijson.items(ijson.parse(iter(events)), "log.entries.item"), 1):
            if events.were_deeper:
                report.skip_entry(done, f"nested more than {DEEPEST} deep")
                events.were_deeper = False
            else:
                yield done, entry
    except (ijson.JSONError, ValueError, ArithmeticError) as error:
        if events.were_deeper:
            raise CaptureError(f"{path}: it is nested more than {DEEPEST} deep") from None
        reason = str(error).partition("\n")[0]
        is_cut_off = beginning is None or "premature EOF" in reason
        whole = None if is_cut_off else _whole_entries(file, beginning or 0)
        if whole is None:
            raise CaptureError(f"{path}: its JSON is incomplete or not valid: {reason}") from None
        yield from islice(enumerate(whole, 1), done, None)


class _ShallowEvents:
    """The events of a parser, up to a depth that no archive has: deeper ones take memory by the square."""

    def __init__(self, events: Iterable[tuple[str, Any]]) -> None:
        self._events = events
        self.were_deeper = False
        """True if some were left out."""

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        depth = 0
        for event, value in self._events:
            change = _DEPTH_CHANGES.get(event, 0)
            if max(depth, depth + change) > DEEPEST:
                self.were_deeper = True
            else:
                yield event, value
            depth += change


def _whole_entries(file: IO[bytes], beginning: int) -> list[Any] | None:
    """The entries of an archive with a NaN or an infinity, which Python writes and JSON does not have."""
    file.seek(beginning)
    read = file.read(WHOLE_BYTES + 1)
    if len(read) > WHOLE_BYTES:
        return None
    try:
        archive = json.loads(read, parse_float=Decimal, parse_constant=lambda _: None)
        entries = archive["log"]["entries"]
    except (ValueError, ArithmeticError, RecursionError, LookupError, TypeError):
        return None
    return entries if isinstance(entries, list) else None
