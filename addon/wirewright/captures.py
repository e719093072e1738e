"""Captures on the command line: what they hold, as lines and tables."""

import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from rich import progress
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from wirewright.capture import exporting, importing, jsonl
from wirewright.capture.filters import Filter
from wirewright.capture.reader import Annotation, Capture, Frame, FrameFlag, Session, Socket, T
from wirewright.capture.schema import CaptureError
from wirewright.capture.statistics import PERCENTILES, DirectionStatistics, statistics
from wirewright.model.history import Payload
from wirewright.timeline import line, preview, printable

FOLLOW_SECONDS = 0.2
"""How often `follow` looks whether there is more."""
PROGRESS_AFTER = 1.0
"""Seconds that something may take before there is a progress bar."""

BETWEEN = [f"between: p{PERCENTILES[0]}", *(f"p{each}" for each in PERCENTILES[1:])]
"""Headings of the time between one message and the next."""
CONTROL_NAMES = {8: "close", 9: "ping", 10: "pong"}


def list_captures(console: Console, folder: Path) -> None:
    """The captures in a folder, newest first."""
    table = Table(
        "capture", "sessions", "sockets", "frames", "size", "last session", box=None, pad_edge=False
    )
    found = 0
    for path in sorted(_files(folder), key=lambda path: -path.stat().st_mtime):
        try:
            with Capture(path) as capture:
                sessions = capture.sessions()
                counts = (len(sessions), len(capture.sockets()), capture.count())
        except CaptureError:
            continue
        found += 1
        last = f"{_moment(sessions[-1].started_ns):%Y-%m-%d %H:%M}" if sessions else ""
        size = decimal(sum(each.stat().st_size for each in (path, _wal(path)) if each.exists()))
        table.add_row(escape(printable(path.name)), *(f"{count:,}" for count in counts), size, last)
    console.print(table if found else f"There is no capture in {printable(str(folder))}.", highlight=False)


def show(console: Console, path: Path, chosen: Filter, max_preview: int | None) -> None:
    """A timeline: a line a frame, a line where a socket opens and closes, and what is missing."""
    with Capture(path) as capture:
        lines = TimelineOfCapture(console, max_preview)
        lines.note(capture.annotations())
        lines.know(capture.sessions())
        for socket, frame in chosen.frames(capture):
            lines.frame(socket, frame)
        sockets = chosen.sockets(capture).values()
        lines.closings(sockets)
        if chosen.takes_all_frames:
            lines.without_frames(sockets)
        lines.remarks()
        _print_gaps(console, capture)
        if not lines.printed:
            console.print("No frame matches." if capture.count() else "There is no frame yet.")


def follow(
    console: Console,
    path: Path,
    chosen: Filter,
    max_preview: int | None,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """A timeline that goes on with what is being written, until the recorder ends."""
    with Capture(path) as capture:
        lines, after = TimelineOfCapture(console, max_preview), 0
        while True:
            is_over = all(session.is_over for session in capture.sessions()[-1:])
            newest = capture.newest()
            lines.note(capture.annotations())
            lines.know(capture.sessions())
            for socket, frame in chosen.frames(capture, after=after):
                lines.frame(socket, frame)
            after = max(newest, lines.last)
            lines.closings(chosen.sockets(capture).values())
            lines.remarks()
            if is_over:
                _print_gaps(console, capture)
                return
            wait(FOLLOW_SECONDS)


def show_statistics(console: Console, path: Path, chosen: Filter) -> None:
    """A table of two lines for each socket."""
    with Capture(path) as capture:
        with Progress(capture) as watch:
            found = statistics(watch(chosen.frames(capture)))
        for each in found:
            table = Table("", "messages", "bytes", "a second", *BETWEEN, box=None)
            for column in table.columns[1:]:
                column.justify = "right"
            table.add_row(Text("→ sent", "cyan"), *_figures(each.sent))
            table.add_row(Text("← received", "green"), *_figures(each.received))
            head = f"#{each.socket.id} {printable(each.socket.url)}"
            console.print(Text(head, "bold"), soft_wrap=True, highlight=False)
            console.print(table, highlight=False)
            console.print(f"  {each.control_frames:,} control frames", style="dim", highlight=False)
        if not found:
            console.print("No frame matches." if capture.count() else "There is no frame yet.")
        _print_gaps(console, capture)


def export(console: Console, path: Path, target: Path, chosen: Filter) -> None:
    """Write what is chosen into a new file of the format that its name tells; `-` is JSON lines on stdout."""
    with Capture(path) as capture:
        if str(target) == "-":
            sys.stdout.writelines(jsonl.lines(capture, chosen))
            return
        with Progress(capture) as watch:
            exporting.export(capture, target, chosen, watch)
        what = f"{_count(watch.frames, 'frame')} in {printable(str(target))}."
        console.print(what, highlight=False, soft_wrap=True)
        _print_gaps(console, capture)


def import_file(console: Console, source: Path, target: Path) -> bool:
    """Add the WebSockets of another program's file to a capture; False if it could not be read to its end."""
    imported = importing.import_file(source, target)
    came = f"{_count(imported.sockets, 'WebSocket')} with {_count(imported.frames, 'message')}"
    console.print(printable(f"{came} came from {source.name}."), highlight=False, soft_wrap=True)
    if imported.cut_off is not None:
        console.print(f"The rest of it is missing: {imported.cut_off}", style="bold red", soft_wrap=True)
    return imported.cut_off is None


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CaptureError(f"{folder}: {'it is no folder' if folder.exists() else 'there is no such folder'}")
    return [path for path in folder.iterdir() if path.is_file() and _is_database(path)]


def _wal(path: Path) -> Path:
    """What was written and is not in the file itself yet."""
    return path.with_name(f"{path.name}-wal")


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


class Progress:
    """A bar for what looks at all frames of a capture, if that takes long; a context manager."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._started = time.monotonic()
        self.frames = 0
        """How many there were."""
        self._bar: progress.Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, frames: Iterable[T], /) -> Iterator[T]:
        """The same frames, counted."""
        for frame in frames:
            yield frame
            self.frames += 1
            if self.frames % 1000 == 0 and time.monotonic() - self._started > PROGRESS_AFTER:
                self._show()

    def _show(self) -> None:
        if self._bar is None:
            self._bar = progress.Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._bar.add_task("frames", total=self._capture.count())
        self._bar.update(self._bar.task_ids[0], completed=self.frames)


class TimelineOfCapture:
    """Prints frames as the live timeline does, and when their sockets opened and closed."""

    def __init__(self, console: Console, max_preview: int | None) -> None:
        self.last = 0
        """The id of the last frame."""
        self.printed = 0
        self._console = console
        self._max_preview = max_preview
        self._annotations: deque[Annotation] = deque()
        self._noted = 0
        self._sessions: dict[int, Session] = {}
        self._session = 0
        """That of the last line."""
        self._open: dict[int, Socket] = {}
        self._closed: set[int] = set()

    def frame(self, socket: Socket, frame: Frame) -> None:
        self.closings(
            each for each in list(self._open.values()) if (each.closed_ns or frame.time_ns) < frame.time_ns
        )
        self.remarks(min(frame.time_ns, socket.opened_ns or frame.time_ns))
        self._opening(socket)
        self.remarks(frame.time_ns)
        arrow, style = ("→", "cyan") if frame.direction == "sent" else ("←", "green")
        detail, shown = decimal(frame.size).replace(" bytes", " B").replace(" byte", " B"), frame.payload
        if frame.opcode in CONTROL_NAMES:
            detail, shown = CONTROL_NAMES[frame.opcode], _control(frame)
        text = Text(self._preview(shown))
        for flag in FrameFlag:
            if flag in frame.flags and flag.name:
                text.append(f"  [{flag.name.lower()}]", "yellow")
        if frame.original is not None:
            text.append(f" was {self._preview(frame.original)}", "dim")
        self._print(socket, arrow, detail, text, style, frame.time_ns)
        self.last = frame.id

    def know(self, sessions: Sequence[Session]) -> None:
        """All that a capture has now: where there are several, or it is of another day, each is told of."""
        self._sessions = {session.id: session for session in sessions}

    def _begin_session(self, number: int) -> None:
        session = self._sessions.get(number)
        if session is None or number == self._session:
            return
        self._session = number
        moment = _moment(session.started_ns)
        if len(self._sessions) > 1 or moment.date() != datetime.now().date():
            head = f"── session {number}, {moment:%Y-%m-%d %H:%M}, {printable(session.program)}"
            self._console.print(Text(head, "bold"), soft_wrap=True, highlight=False)

    def note(self, annotations: Sequence[Annotation]) -> None:
        """All that a capture has now; those that are new are printed in their places."""
        self._annotations.extend(annotations[self._noted :])
        self._noted = len(annotations)

    def remarks(self, until_ns: int | None = None) -> None:
        """Those that were made until then and are not printed yet; None for all."""
        while self._annotations and (until_ns is None or self._annotations[0].time_ns <= until_ns):
            remark = self._annotations.popleft()
            text = Text(f"{_moment(remark.time_ns):%H:%M:%S.%f}"[:-3], "dim")
            text.append(f"  ★ {printable(remark.text)}", "bold yellow")
            self._console.print(text, soft_wrap=True, highlight=False)

    def without_frames(self, sockets: Iterable[Socket]) -> None:
        """Those that were refused, or that nothing has passed."""
        for socket in sockets:
            if socket.id not in self._closed:
                self._opening(socket)
                self.closings([socket])

    def closings(self, sockets: Iterable[Socket]) -> None:
        """Of those that were open until now, and of which a frame was printed."""
        for socket in sockets:
            if socket.closed_ns is None or self._open.pop(socket.id, None) is None:
                continue
            self._closed.add(socket.id)
            if socket.error:
                self._print(socket, "✕", "error", printable(socket.error), "bold red", socket.closed_ns)
            said = [] if socket.close_code is None else [str(socket.close_code)]
            said += [repr(socket.close_reason)] if socket.close_reason else []
            said += [f"by {socket.closed_by}"] if socket.closed_by else []
            self._print(socket, "○", "close", printable(" ".join(said)), "dim", socket.closed_ns)

    def _opening(self, socket: Socket) -> None:
        if socket.id not in self._open and socket.id not in self._closed:
            self._begin_session(socket.session_id)
            self._open[socket.id] = socket
            since_ns = socket.opened_ns or socket.asked_ns
            self._print(socket, "●", "open", printable(socket.url), "bold", since_ns)

    def _preview(self, payload: Payload) -> str:
        return preview(self._console, payload, self._max_preview)

    def _print(
        self, socket: Socket, mark: str, detail: str, text: str | Text, style: str, time_ns: int
    ) -> None:
        label = f"#{socket.id} {printable(urlsplit(socket.url).path)}"
        self._console.print(
            line(label, mark, detail, text, style, _moment(time_ns)), soft_wrap=True, highlight=False
        )
        self.printed += 1


def _control(frame: Frame) -> str | bytes:
    """A close frame's code and reason; the payload of any other."""
    payload = frame.payload
    assert isinstance(payload, bytes)
    if frame.opcode != 8 or len(payload) < 2:
        return payload
    return f"{struct.unpack('!H', payload[:2])[0]} {payload[2:].decode(errors='replace')}".rstrip()


def _print_gaps(console: Console, capture: Capture) -> None:
    for gap in capture.gaps():
        missing = f"{gap.frames:,} frames ({decimal(gap.bytes)}) are missing: {gap.reason}"
        console.print(f"{_moment(gap.time_ns):%H:%M:%S}  {missing}", style="bold red", highlight=False)


def _figures(direction: DirectionStatistics) -> list[str]:
    rate = "" if direction.rate is None else f"{direction.rate:,.1f}"
    gaps = [f"{gap:,.1f} ms" for gap in direction.gaps()] or [""] * len(PERCENTILES)
    return [f"{direction.messages:,}", decimal(direction.bytes), rate, *gaps]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / 1e9)
