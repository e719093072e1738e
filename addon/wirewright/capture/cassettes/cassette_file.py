"""The file of a cassette: read as a whole, and written as a whole."""

import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, Self

from wirewright.capture.cassettes.line_format import (
    BEGINNING,
    MILLISECOND,
    BadLine,
    closed_socket,
    message_of,
    socket_lines,
    socket_of,
    values_of,
)
from wirewright.capture.errors import CaptureError
from wirewright.capture.formats.bounded_json import bounded_lines
from wirewright.capture.records import FrameFlag, RecordedFrame, Session, Socket, SocketFrames
from wirewright.capture.redaction import Redaction
from wirewright.values import Direction, Payload, payload_size

LARGEST_CASSETTE = 64 * 1024 * 1024
"""Bytes of a file that is read or written."""
MOST_LINES = 500_000
MOST_SOCKETS = 10_000
_MARK = b'{"wirewright": "cassette"'
"""The beginning of every cassette, whatever its version."""


class Cassette:
    """The recorded sockets of a cassette, in memory. It is read as a `Capture` is."""

    def __init__(self) -> None:
        self._sockets: list[Socket] = []
        self._frames: list[RecordedFrame] = []
        self._spans: dict[int, tuple[int, int]] = {}
        self._lines: list[int] = []
        """The number of the line of each message."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def sessions(self) -> list[Session]:
        """One session, which began at 0."""
        return [Session(1, 0, 0, 0, "cassette")]

    def sockets(self) -> list[Socket]:
        """The sockets in the order of the file. Each was opened at 0."""
        return self._sockets.copy()

    def spans(self) -> dict[int, tuple[int, int]]:
        """The ids of the first and of the last message of each socket that has any."""
        return self._spans.copy()

    def frames(self, *, after: int, until: int, socket: int, page: int) -> Iterator[RecordedFrame]:
        """The messages of a socket whose ids are more than `after` and at most `until`."""
        first, last = self._spans.get(socket, (1, 0))
        for number in range(max(first, after + 1), min(last, until) + 1):
            yield self._frames[number - 1]

    def line_of(self, message: int) -> int:
        """The number of the line of a message, by the id of the message."""
        return self._lines[message - 1]

    def ending_at(self, end_ns: int) -> SocketFrames:
        """The sockets, each with its messages, with times such that the last one is `end_ns`."""
        times = (socket.closed_ns or 0 for socket in self._sockets)
        shift = end_ns - max(chain(times, (frame.time_ns for frame in self._frames)), default=0)
        for socket in self._sockets:
            first, last = self._spans.get(socket.id, (1, 0))
            frames = (replace(each, time_ns=each.time_ns + shift) for each in self._frames[first - 1 : last])
            yield _shifted(socket, shift), frames

    def _add_line(self, line: str, number: int) -> None:
        """Raises BadLine."""
        if message := message_of(line):
            self._add_message(*message)
            self._lines.append(number)
            return
        values = values_of(line)
        if "socket" in values:
            if len(self._sockets) == MOST_SOCKETS:
                raise BadLine(f"a cassette has at most {MOST_SOCKETS:,} sockets")
            self._sockets.append(socket_of(values, len(self._sockets) + 1))
        elif "closed_by" in values:
            self._sockets[-1] = closed_socket(self._last(), values)
        else:
            raise BadLine('it has none of "socket", "sent", "received" and "closed_by"')

    def _add_message(self, at: int, direction: Direction, payload: Payload) -> None:
        socket = self._last()
        number = len(self._frames) + 1
        self._spans[socket.id] = self._spans.get(socket.id, (number, 0))[0], number
        opcode = 1 if isinstance(payload, str) else 2
        size, flags = payload_size(payload), FrameFlag.NONE
        self._frames.append(
            RecordedFrame(number, socket.id, at * MILLISECOND, direction, opcode, size, payload, flags, None)
        )

    def _last(self) -> Socket:
        if not self._sockets:
            raise BadLine("a socket must come first")
        return self._sockets[-1]


def _shifted(socket: Socket, shift: int) -> Socket:
    def later(time_ns: int | None) -> int | None:
        return None if time_ns is None else time_ns + shift

    opened_ns, closed_ns = later(socket.opened_ns), later(socket.closed_ns)
    return replace(socket, asked_ns=socket.asked_ns + shift, opened_ns=opened_ns, closed_ns=closed_ns)


def begins_as_cassette(beginning: bytes) -> bool:
    """True if a file with these first bytes is a cassette, of any version."""
    return beginning.removeprefix(BOM_UTF8).startswith(_MARK)


def is_cassette(path: Path) -> bool:
    """True if a file can be read and begins as a cassette."""
    try:
        if not path.is_file():  # opening a pipe would wait
            return False
        with path.open("rb") as file:
            return begins_as_cassette(file.read(len(BOM_UTF8 + _MARK)))
    except OSError:
        return False


def read_cassette(path: Path) -> Cassette:
    """Read a file. Raises CaptureError, with the number of the line, for one that is not a cassette."""
    try:
        with path.open("rb") as file:
            return read_lines(file, path)
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None


def read_lines(file: IO[bytes], path: Path) -> Cassette:
    """Read an open file; `path` is its name in errors."""
    cassette, size, number = Cassette(), 0, 0
    try:
        for number, line in enumerate(bounded_lines(file), 1):
            size += len(line or b"")
            if line is None or size > LARGEST_CASSETTE or number > MOST_LINES:
                raise BadLine(f"a cassette has at most {MOST_LINES:,} lines and {LARGEST_CASSETTE >> 20} MiB")
            if number == 1:
                _check_beginning(_decoded(line.removeprefix(BOM_UTF8)))  # an editor may have written it
                continue
            text = _decoded(line)
            if text:
                cassette._add_line(text, number)
    except BadLine as error:
        raise CaptureError(f"{path}: line {number}: {error}") from None
    return cassette


def _decoded(line: bytes) -> str:
    try:
        return line.decode().strip()
    except UnicodeDecodeError:
        raise BadLine("it is not UTF-8") from None


def _check_beginning(line: str) -> None:
    if line != BEGINNING:
        version = values_of(line).get("version")
        is_newer = isinstance(version, int) and version > 1
        raise BadLine("it is of a newer Wirewright" if is_newer else f"a cassette begins with {BEGINNING}")


def write_cassette(
    path: Path, sockets: Iterable[tuple[Socket, Iterable[RecordedFrame]]], redaction: Redaction
) -> None:
    """Write a file, or replace it by another one at once.

    Raises CaptureError if that cannot be, or if the file could not be read again: it has too many lines, or a
    URL that is not one of a WebSocket. The file is then as it was.
    """
    recorded = (socket_lines(socket, frames, redaction) for socket, frames in sockets)
    lines = chain([BEGINNING], chain.from_iterable(recorded))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{os.getpid()}")  # other processes may record the same cassette
        try:
            with half.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
            with half.open("rb") as written:
                read_lines(written, path)
            half.replace(path)
        except BaseException:
            with suppress(OSError):
                half.unlink()
            raise
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}") from None
