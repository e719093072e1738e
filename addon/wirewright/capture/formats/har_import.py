"""WebSockets of an HTTP archive, whichever program wrote it.

`_webSocketMessages` has the messages, as Chrome's developer tools write them.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

from wirewright.capture.errors import CaptureError
from wirewright.capture.formats.bounded_json import InvalidJson, TokenReader, build, list_items, parse
from wirewright.capture.formats.har_entries import Attached, read_entries
from wirewright.capture.formats.har_messages import MESSAGES, read_messages
from wirewright.capture.formats.import_report import ImportReport
from wirewright.capture.reader import SocketFrames


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
