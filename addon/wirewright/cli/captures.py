"""The work of commands for captures: lists, timelines, statistics, export and import."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wirewright.capture.capture_file import begins_as_capture
from wirewright.capture.errors import CaptureError
from wirewright.capture.filters import Filter
from wirewright.capture.read_limits import size_of
from wirewright.capture.reader import Capture, T
from wirewright.capture.reasons import why_no_frame
from wirewright.capture.records import ALIVE_SECONDS, Session
from wirewright.capture.statistics import PERCENTILES, DirectionStatistics, statistics
from wirewright.cli.recorded_timeline import RecordedTimeline, gap_text
from wirewright.cli.timeline import FRAME_MARKS
from wirewright.memory import parse_size
from wirewright.printable import print_line, printable
from wirewright.values import Direction

if TYPE_CHECKING:
    import rich.progress

FOLLOW_SECONDS = 0.2
"""Seconds between two looks of `follow` into the file."""
PROGRESS_AFTER = 1.0
"""Seconds of work after which there is a progress bar."""

BETWEEN = [f"between: p{PERCENTILES[0]}", *(f"p{each}" for each in PERCENTILES[1:])]
"""Headings of the time between one message and the next."""


def list_captures(console: Console, folder: Path) -> None:
    """Print a table of the captures in a folder, newest first."""
    table = Table(
        "capture", "sessions", "sockets", "frames", "size", "last session", box=None, pad_edge=False
    )
    found, unreadable = 0, []
    for path in sorted(_files(folder), key=_modified_at, reverse=True):
        try:
            with Capture(path) as capture:
                sessions = capture.sessions()
                counts = (len(sessions), len(capture.sockets()), capture.count())
        except CaptureError as error:
            if begins_as_capture(path):  # and is not just any other database
                unreadable.append(error.message)
            continue
        found += 1
        last = f"{_moment(sessions[-1].started_ns):%Y-%m-%d %H:%M}" if sessions else ""
        size = decimal(size_of(path))
        table.add_row(Text(printable(path.name)), *(f"{count:,}" for count in counts), size, last)
    if found:
        console.print(table, highlight=False)
    else:
        print_line(console, f"There is no capture in {folder}.")
    for sentence in unreadable:
        print_line(console, sentence, "yellow")


def show(console: Console, path: Path, chosen: Filter, max_preview: int | None) -> None:
    """Print a line for each frame, each opening and end of a socket, and each gap."""
    with Capture(path) as capture:
        lines = RecordedTimeline(console, capture, chosen, max_preview)
        lines.print_new()
        if lines.is_empty:
            print_line(console, why_no_frame(capture, chosen))


def follow(
    console: Console,
    path: Path,
    chosen: Filter,
    max_preview: int | None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Print the same lines, and those of new events, until the recorder ends.

    A recorder whose session has not changed for ALIVE_SECONDS has ended, too. The clock may be set meanwhile.
    """
    with Capture(path) as capture:
        lines = RecordedTimeline(console, capture, chosen, max_preview)
        last: list[Session] = []
        looks = 0
        is_told = False
        while True:
            newest = capture.sessions()[-1:]
            last, looks = newest, looks + 1 if newest == last else 0
            is_silent = looks * FOLLOW_SECONDS >= ALIVE_SECONDS
            is_over = is_silent or all(session.ended_ns is not None for session in newest)
            lines.print_new()
            if lines.is_empty and not is_told and (is_over or capture.count()):
                is_told = True
                print_line(console, why_no_frame(capture, chosen))
            if is_over:
                return
            wait(FOLLOW_SECONDS)


def show_statistics(console: Console, path: Path, chosen: Filter) -> None:
    """Print a table for each socket, with a line for each direction."""
    with Capture(path) as capture:
        with Progress(capture) as watch:
            found = statistics(watch(chosen.frames(capture)))
        for each in found:
            table = Table("", "messages", "bytes", "a second", *BETWEEN, box=None, collapse_padding=True)
            for column in table.columns[1:]:
                column.justify = "right"
            for direction in Direction:
                mark, style = FRAME_MARKS[direction.event]
                table.add_row(Text(f"{mark} {direction}", style), *_figures(each.direction(direction)))
            print_line(console, f"#{each.socket.id} {each.socket.url}", "bold")
            console.print(table, highlight=False)
            console.print(f"  {each.control_frames:,} control frames", style="dim", highlight=False)
        if not found:
            print_line(console, why_no_frame(capture, chosen))
        _print_gaps(console, capture)


def export(console: Console, path: Path, target: Path, chosen: Filter) -> None:
    """Write the chosen frames into a new file, in the format of its ending; `-` is JSON lines on stdout."""
    from wirewright.capture.formats import exporter, json_lines  # the other commands start faster without

    with Capture(path) as capture:
        if str(target) == "-":
            watch = Progress(capture, is_shown=False)
            sys.stdout.writelines(json_lines.lines(capture, chosen, watch))
            if not watch.frames:
                print_line(Console(stderr=True), why_no_frame(capture, chosen))
            return
        with Progress(capture) as watch:
            exported = exporter.export(capture, target, chosen, watch)
        print_line(console, f"{_count(exported.number, exported.unit)} in {target}.")
        for sentence in exported.report.sentences():
            print_line(console, sentence, "yellow")
        if not watch.frames:
            print_line(console, why_no_frame(capture, chosen))
        _print_gaps(console, capture)


def import_file(console: Console, source: Path, target: Path, min_free: str | None = None) -> None:
    """Add the WebSockets of another program's recording to a capture, and print what was left out.

    `min_free` is a size such as `100m`. Raises ValueError for anything else.
    """
    from wirewright.capture.formats import importer

    imported = importer.import_file(source, target, min_free=None if min_free is None else _size(min_free))
    came = f"{_count(imported.sockets, 'socket')} and {_count(imported.frames, 'message')}"
    print_line(console, f"Imported {came} from {source.name}.")
    for sentence in imported.report.sentences():
        print_line(console, sentence, "yellow")
    if imported.cut_off is not None:
        print_line(console, f"The rest of it is missing: {imported.cut_off}", "bold red")


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError(f"--min-free must be a size such as 100m, not {text!r}") from None


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CaptureError(f"{folder}: {'it is no folder' if folder.exists() else 'there is no such folder'}")
    return [path for path in folder.iterdir() if path.is_file() and _is_database(path)]


def _modified_at(path: Path) -> float:
    """When a file was last written; 0 if it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


class Progress:
    """A bar for work on all frames of a capture, if that takes long; a context manager.

    SQLite sorts the frames before the first one is there.
    """

    def __init__(self, capture: Capture, *, is_shown: bool = True) -> None:
        self._capture = capture
        self._is_shown = is_shown
        self._started = time.monotonic()
        self.frames = 0
        """The number of frames so far."""
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> Self:
        self._capture.on_progress(self._show_if_late)
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.on_progress(lambda: None)
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, frames: Iterable[T], /) -> Iterator[T]:
        """The same frames, counted."""
        for frame in frames:
            yield frame
            self.frames += 1
            if self.frames % 1000 == 0:
                self._show_if_late()
                self._show_count()

    def _show_if_late(self) -> None:
        if self._bar is not None or not self._is_shown or time.monotonic() - self._started <= PROGRESS_AFTER:
            return
        from rich import progress

        self._bar = progress.Progress(console=Console(stderr=True), transient=True)
        self._bar.start()
        self._bar.add_task("sorting", total=None)

    def _show_count(self) -> None:
        if self._bar is not None:
            (task,) = self._bar.tasks
            total = self._capture.count() if task.total is None else task.total
            self._bar.update(task.id, description="frames", total=total, completed=self.frames)


def _print_gaps(console: Console, capture: Capture) -> None:
    for gap in capture.gaps():
        print_line(console, f"{_moment(gap.time_ns):%H:%M:%S}  {gap_text(gap)}", "bold red")


def _figures(direction: DirectionStatistics) -> list[str]:
    rate = "" if direction.rate is None else f"{direction.rate:,.1f}"
    gaps = [f"{gap:,.1f} ms" for gap in direction.gaps()] or [""] * len(PERCENTILES)
    return [f"{direction.messages:,}", decimal(direction.bytes), rate, *gaps]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / 1e9)
