"""Imports recordings into a capture: HTTP archives, traces, mitmproxy's flows, and cassettes."""

import codecs
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

from wirewright.capture.cassettes.cassette_file import begins_as_cassette, read_lines
from wirewright.capture.errors import CaptureError
from wirewright.capture.formats.har_import import archive_entries, read_entries
from wirewright.capture.formats.import_source import ImportSource, opened
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.formats.playwright_trace import trace_entries
from wirewright.capture.frame_insertion import insertion
from wirewright.capture.free_space import FreeSpace
from wirewright.capture.interrupts import interrupts_allowed, interrupts_deferred
from wirewright.capture.records import RecordedFrame, Socket, SocketFrames
from wirewright.capture.row_types import SOCKET_COLUMNS, socket_row
from wirewright.capture.schema import create_or_append, explain, newest_socket, writable
from wirewright.values import VERSION, Direction, payload_size

IMPORTABLE = "a HAR, a zip with one, a trace of Playwright, a cassette and a file of mitmproxy's flows can"

SPACE_STEP = 1024 * 1024
"""Bytes of messages after which the free space is looked at again."""
_NETSTRING = re.compile(rb"\d+:")
"""The beginning of a file of flows."""
_UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_INSERT_SOCKET = (
    f"INSERT INTO sockets ({', '.join(SOCKET_COLUMNS)}) VALUES ({', '.join('?' * len(SOCKET_COLUMNS))})"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import."""

    sockets: int
    frames: int
    cut_off: str | None
    """Why the file could be read no further, if it could not be read to its end."""
    report: OmissionReport
    """The entries and messages that were left out."""


def import_file(source: Path, target: Path, *, min_free: int | None = None) -> Imported:
    """Add the WebSockets of another program's recording to a capture, which is made if there is none.

    They are a session of their own, with the times of the source. Nothing is redacted. Entries and messages
    that cannot be read are left out and counted. Raises CaptureError where no WebSocket can be read, and
    where fewer than `min_free` bytes would be left free on the disk (None for 100 MiB, 0 for no limit); then
    the target is as it was. Raises ValueError for a negative `min_free`.
    """
    report, space = OmissionReport(), FreeSpace(target, min_free)
    with opened(source) as recording, ExitStack() as files:
        sockets = _sockets(recording, files, report)
        first = _first(sockets, recording, report)
        with interrupts_deferred():
            session = _Session(target, f"wirewright {VERSION}, from {source.name}", report, space)
            imported = session.add(chain([first], sockets))
        return replace(imported, cut_off=recording.failure or imported.cut_off)


def _sockets(recording: ImportSource, files: ExitStack, report: OmissionReport) -> SocketFrames:
    """The sockets of a source, by its kind. Raises CaptureError for one of another kind."""
    latest_ns, name = recording.latest_ns, None
    if recording.archive is not None:
        archives, networks = recording.names(".har"), recording.names(".network")
        if len(archives) != 1:
            if archives or not networks:
                what = f"there must be one .har file in it, and there are {len(archives)}"
                raise CaptureError(f"{recording.path}: {what}")
            openers = [partial(recording.open, each) for each in networks]
            return read_entries(trace_entries(openers, report), recording.attached, report, latest_ns)
        (name,) = archives
    file = files.enter_context(recording.open(name))
    beginning = file.peek(64)[:64]
    if beginning.startswith(b"SQLite format 3\0"):
        raise CaptureError(f"{recording.path}: a database cannot be imported: {IMPORTABLE}")
    if begins_as_cassette(beginning):
        return read_lines(file, recording.path).ending_at(latest_ns)
    if beginning.startswith(b'{"event":'):
        raise CaptureError(f"{recording.path}: JSON lines cannot be imported: {IMPORTABLE}")
    if beginning.startswith(b'{"type":"resource-snapshot"'):
        entries = trace_entries([recording.open], report)
        return read_entries(entries, recording.attached, report, latest_ns)
    if beginning.startswith(_UTF_16_BOMS):  # a redirection of PowerShell's
        recoded = cast(IO[bytes], codecs.EncodedFile(file, "utf-8", "utf-16"))
        entries = archive_entries(recoded, recording.path, report)
        return read_entries(entries, recording.attached, report, latest_ns)
    if beginning.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    if beginning.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
        attached = partial(recording.attached, beside=name or "")
        return read_entries(archive_entries(file, recording.path, report), attached, report, latest_ns)
    if beginning and not _NETSTRING.match(beginning):
        raise CaptureError(f"{recording.path}: a file of this kind cannot be imported: {IMPORTABLE}")
    from wirewright.capture.formats import flow_import  # mitmproxy takes a second to import

    return flow_import.sockets(file, recording.path, report, latest_ns)


def _first(
    sockets: SocketFrames, recording: ImportSource, report: OmissionReport
) -> tuple[Socket, Iterator[RecordedFrame]]:
    """The first socket. Raises CaptureError with the reasons where there is none."""
    try:
        first, reason = next(sockets, None), None
    except CaptureError as error:
        first, reason = None, error.message
    if first is None:
        skipped = "".join(f" {sentence}" for sentence in report.sentences())
        what = f"{recording.path}: there is no WebSocket in it" + (" that can be read." if skipped else "")
        raise CaptureError((recording.failure or reason or what) + skipped)
    return first


class _DiskNearlyFull(CaptureError):
    """All of the import is taken back."""


class _Session:
    """One transaction: all of it is in the file in the end, or nothing."""

    def __init__(self, path: Path, program: str, report: OmissionReport, space: FreeSpace) -> None:
        self._path = path
        self._report = report
        self._space = space
        self._bytes = 0
        """Bytes of the messages that were imported until now: they are in the `-wal` file until the end."""
        self._checked_bytes = 0
        self._target = create_or_append(path, program)
        self._connection, self._id = self._target.connection, self._target.session_id
        try:
            self._socket_id = newest_socket(self._connection, path)
        except BaseException:
            self._take_back()
            raise
        self._sockets = self._opened = self._frames = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    def add(self, sockets: SocketFrames) -> Imported:
        """Add the sockets, and close the capture. Ctrl-C may interrupt only the reading of the sockets."""
        cut_off = None
        try:
            self._connection.execute("BEGIN")
            try:
                with interrupts_allowed():
                    for socket, frames in sockets:
                        self._add_socket(socket, frames)
            except _DiskNearlyFull:
                raise
            except CaptureError as error:
                cut_off = error.message
            self._connection.execute(
                "UPDATE sessions SET started_ns = ?, seen_ns = ?, ended_ns = ? WHERE id = ?",
                (self._first_ns, self._last_ns, self._last_ns, self._id),
            )
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._take_back()
            if isinstance(error, sqlite3.Error):
                raise CaptureError(f"{self._path}: {explain(error)}") from error
            raise
        self._target.close()
        if self._opened and not self._frames and not self._report.messages.count:
            self._report.notes.append("It has no messages: it was recorded without frames, or none passed.")
        return Imported(self._sockets, self._frames, cut_off, self._report)

    def _add_socket(self, socket: Socket, frames: Iterable[RecordedFrame]) -> None:
        self._socket_id += 1
        row = socket_row(replace(socket, id=self._socket_id, session_id=self._id))
        self._connection.execute(_INSERT_SOCKET, [writable(each) for each in row])
        self._connection.executemany(insertion(1, 8), map(self._frame_row, frames))
        self._sockets += 1
        self._opened += socket.opened_ns is not None
        self._first_ns = socket.asked_ns if self._first_ns is None else min(self._first_ns, socket.asked_ns)
        self._last_ns = max(self._last_ns, socket.asked_ns, socket.closed_ns or 0)

    def _frame_row(self, frame: RecordedFrame) -> tuple[Any, ...]:
        self._frames += 1
        self._bytes += payload_size(frame.payload)
        if self._bytes - self._checked_bytes > SPACE_STEP:
            self._check_space()
        self._last_ns = max(self._last_ns, frame.time_ns)
        return (
            self._socket_id,
            frame.time_ns,
            frame.direction is Direction.SENT,
            frame.opcode,
            frame.size,
            writable(frame.payload),
            frame.flags.value,
            frame.original,
        )

    def _check_space(self) -> None:
        waiting, self._checked_bytes = self._bytes - self._checked_bytes, self._bytes
        if self._space.is_short(waiting, self._bytes - waiting):
            raise _DiskNearlyFull(f"{self._path}: nothing was imported: {self._space.shortage}")

    def _take_back(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
            self._connection.execute("DELETE FROM sessions WHERE id = ?", (self._id,))
        self._target.discard()
