"""What others have recorded becomes a session of a capture: HTTP archives, and mitmproxy's flow files."""

import lzma
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, get_args
from urllib.parse import urlsplit

import wirewright
from wirewright.capture import har_import
from wirewright.capture.reader import SOCKET_COLUMNS, Frame, Socket, SocketFrames, socket_row
from wirewright.capture.schema import (
    CaptureError,
    close,
    create_or_append,
    explain,
    newest_socket,
    writable,
)
from wirewright.capture.writer import insertion
from wirewright.model.websocket import ClosedBy

IMPORTABLE = "a HAR, a zip with one, and a file of mitmproxy's flows can"

_ZIP = b"PK\3\4"
_BOM = b"\xef\xbb\xbf"
_INSERT_SOCKET = (
    f"INSERT INTO sockets ({', '.join(SOCKET_COLUMNS)}) VALUES ({', '.join('?' * len(SOCKET_COLUMNS))})"  # noqa: S608
)


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has come to."""

    sockets: int
    frames: int
    cut_off: str | None
    """Why the file could be read no further, if it could not be read to its end."""


def import_file(source: Path, target: Path) -> Imported:
    """Add the WebSockets of a HAR, or of a flow file, to a capture, which is made if there is none.

    They are a session of their own, with the times of the source. Nothing is redacted. Raises CaptureError
    where no WebSocket can be read; then the target is as it was.
    """
    with _opened(source) as (file, attached):
        reader = _reader(file, source, attached)
        first = next(reader, None)
        if first is None:
            raise CaptureError(f"{source}: there is no WebSocket in it")
        session = _Session(target, f"wirewright {wirewright.__version__}, from {source.name}")
        return session.add(_after(first, reader))


@contextmanager
def _opened(source: Path) -> Iterator[tuple[IO[bytes], har_import.Attached]]:
    """A file to read, and what reads those beside it: in its folder, or in the zip file that it comes in."""
    try:
        with source.open("rb") as file:
            if file.read(4) != _ZIP:
                file.seek(0)
                yield file, lambda name: source.with_name(name).open("rb")  # a name with a slash is refused
                return
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.endswith(".har")]
            if len(names) != 1:
                raise CaptureError(f"{source}: there must be one .har file in it, and there are {len(names)}")
            with archive.open(names[0]) as file:
                yield file, archive.open
    except OSError as error:
        raise CaptureError(f"{source}: {error.strerror}") from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError) as error:
        raise CaptureError(f"{source}: it cannot be unpacked: {error}") from None


def _reader(file: IO[bytes], path: Path, attached: har_import.Attached) -> SocketFrames:
    beginning = file.read(64)
    if beginning.startswith(b"SQLite format 3\0"):
        raise CaptureError(f"{path}: a database cannot be imported: {IMPORTABLE}")
    if beginning.startswith(b'{"event":'):
        raise CaptureError(f"{path}: JSON lines cannot be imported: {IMPORTABLE}")
    has_bom = beginning.startswith(_BOM)
    file.seek(len(_BOM) if has_bom else 0)
    if beginning.removeprefix(_BOM).lstrip().startswith(b"{"):
        return har_import.sockets(file, path, attached)
    from wirewright.capture import flow_import  # mitmproxy takes a second to import

    return flow_import.sockets(file, path)


def _after(first: tuple[Socket, Iterator[Frame]], rest: SocketFrames) -> SocketFrames:
    yield first
    yield from rest


class _Session:
    """One transaction: all of it is in the file in the end, or nothing."""

    def __init__(self, path: Path, program: str) -> None:
        self._path = path
        self._is_new = not path.exists()
        self._connection, self._id = create_or_append(path, program)
        self._socket_id = newest_socket(self._connection, path)
        self._sockets = self._frames = 0
        self._url = ""
        self._first_ns: int | None = None
        self._last_ns = 0

    def add(self, sockets: SocketFrames) -> Imported:
        cut_off = None
        try:
            self._connection.execute("BEGIN")
            try:
                for socket, frames in sockets:
                    self._add_socket(socket, frames)
            except CaptureError as error:
                if not self._frames:
                    raise
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
            if isinstance(error, OverflowError):
                raise CaptureError("a number of it has more than 64 bits") from None
            raise
        close(self._connection)
        return Imported(self._sockets, self._frames, cut_off)

    def _add_socket(self, socket: Socket, frames: Iterable[Frame]) -> None:
        _check(socket)
        self._socket_id += 1
        self._url = socket.url
        row = socket_row(replace(socket, id=self._socket_id, session_id=self._id))
        self._connection.execute(_INSERT_SOCKET, [writable(each) for each in row])
        self._connection.executemany(insertion(1, 8), map(self._frame_row, frames))
        self._sockets += 1
        self._first_ns = min(self._first_ns or socket.asked_ns, socket.asked_ns)
        self._last_ns = max(self._last_ns, socket.asked_ns, socket.closed_ns or 0)

    def _frame_row(self, frame: Frame) -> tuple[Any, ...]:
        if not all(type(each) is int for each in (frame.time_ns, frame.opcode, frame.size)):
            raise CaptureError(f"a message of {self._url} has a time, an opcode or a size that is no number")
        self._frames += 1
        self._last_ns = max(self._last_ns, frame.time_ns)
        return (
            self._socket_id,
            frame.time_ns,
            frame.direction == "sent",
            frame.opcode,
            frame.size,
            writable(frame.payload),
            frame.flags.value,
            frame.original,
        )

    def _take_back(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.execute("ROLLBACK")
            self._connection.execute("DELETE FROM sessions WHERE id = ?", (self._id,))
        close(self._connection)
        if self._is_new:
            self._path.unlink(missing_ok=True)


def _check(socket: Socket) -> None:
    """Raise CaptureError for what no reader could make sense of."""
    for name in SOCKET_COLUMNS:
        value = getattr(socket, name)
        if name.endswith("_headers"):
            is_right = value is None or (
                isinstance(value, Mapping) and all(isinstance(each, str) for each in value.values())
            )
        elif name.endswith("_ns") or name in ("status", "close_code"):
            is_right = type(value) is int or (value is None and name != "asked_ns")
        elif name not in ("id", "session_id"):
            is_right = isinstance(value, str) or (value is None and name != "url")
        else:
            continue
        if not is_right:
            raise CaptureError(f"{socket.url}: its {name} is none: {value!r}")
    if socket.closed_by not in (None, *get_args(ClosedBy)):
        raise CaptureError(f"{socket.url}: its closed_by is none: {socket.closed_by!r}")
    try:
        urlsplit(socket.url)
    except ValueError as error:
        raise CaptureError(f"{socket.url}: it is no URL: {error}") from None
