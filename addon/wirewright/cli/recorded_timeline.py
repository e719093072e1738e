"""The events of a capture as lines of the timeline."""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from urllib.parse import urlsplit

from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from wirewright.capture.events import EventReader, SocketEvent, SocketEventKind
from wirewright.capture.filters import Filter
from wirewright.capture.losses import amount
from wirewright.capture.reader import Capture
from wirewright.capture.records import Annotation, FrameFlag, Gap, RecordedFrame, Socket
from wirewright.cli.timeline import (
    FRAME_MARKS,
    MARKS,
    Part,
    close_text,
    line_parts,
    note_parts,
    preview,
    preview_width,
    shown_size,
)
from wirewright.model.chromium_errors import refusal_text
from wirewright.printable import printable
from wirewright.values import Payload

LINES = 200
"""How many lines are written at once."""
CONTROL_NAMES = {8: "close", 9: "ping", 10: "pong"}

_FLAGS = [(flag, f"  [{str(flag.name).lower()}]") for flag in FrameFlag]


class RecordedTimeline:
    """Prints the events of a capture that a filter chooses.

    Lines are written to the console's file. Console.print would take ten times as long as everything else.
    """

    def __init__(self, console: Console, capture: Capture, chosen: Filter, max_preview: int | None) -> None:
        self.is_empty = True
        """True until a frame or an event of a socket was printed."""
        self._console = console
        self._max_preview = max_preview
        self._width = 0
        self._events = EventReader(capture, chosen)
        self._painted = _painter(console)
        self._session = 0
        """The session of the last line."""
        self._second, self._clock = -1, ""
        """The second of the last line, since the epoch, and its time of day."""
        self._labels: dict[int, str] = {}

    def print_new(self) -> None:
        """Print the events that were recorded since the last call. Raises CaptureError for a damaged file."""
        self._width = preview_width(self._console, self._max_preview)
        lines: list[str] = []
        for event in self._events.read():
            if isinstance(event, RecordedFrame):
                socket = self._events.sockets[event.socket_id]
                session, parts = socket.session_id, self._frame(socket, event)
            else:
                session, parts = self._event_parts(event)
            self.is_empty = self.is_empty and isinstance(event, Annotation | Gap)
            if session != self._session:
                lines += self._begin_session(session)
            lines.append(self._painted(parts))
            if len(lines) >= LINES:
                self._write(lines)
        self._write(lines)
        self._console.file.flush()

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._console.file.write("\n".join([*lines, ""]))
            lines.clear()

    def _begin_session(self, number: int) -> list[str]:
        """The heading of a session, where there are several or it is of another day."""
        self._session = number
        session = self._events.sessions[number]
        moment = datetime.fromtimestamp(session.started_ns / 1e9)
        if len(self._events.sessions) == 1 and moment.date() == datetime.now().date():
            return []
        head = f"── session {number}, {moment:%Y-%m-%d %H:%M}, {printable(session.program)}"
        return [self._painted([(head, "bold")])]

    def _frame(self, socket: Socket, frame: RecordedFrame) -> list[Part]:
        mark, style = FRAME_MARKS[frame.direction.event]
        if frame.opcode in CONTROL_NAMES:
            detail, text = CONTROL_NAMES[frame.opcode], self._preview(_control(frame))
        else:
            detail, text = shown_size(frame.size), self._preview(frame.payload)
        parts = line_parts(self._label(socket), mark, detail, text, style, self._at(frame.time_ns))
        if frame.flags:
            parts += [(shown, "yellow") for flag, shown in _FLAGS if flag in frame.flags]
        if frame.original is not None:
            parts.append((f" was {self._preview(frame.original)}", "dim"))
        return parts

    def _event_parts(self, event: SocketEvent | Annotation | Gap) -> tuple[int, list[Part]]:
        at = self._at(event.time_ns)
        if isinstance(event, Annotation):
            return event.session_id, note_parts(event.text, at)
        if isinstance(event, Gap):
            return event.session_id, [(f"{at}  {printable(gap_text(event))}", "bold red")]
        socket, (mark, style) = event.socket, MARKS[event.kind]
        label, text = self._label(socket), _event_text(event.kind, socket)
        return socket.session_id, line_parts(label, mark, event.kind, text, style, at)

    def _label(self, socket: Socket) -> str:
        if socket.id not in self._labels:
            self._labels[socket.id] = f"#{socket.id} {printable(urlsplit(socket.url).path)}"
        return self._labels[socket.id]

    def _preview(self, payload: Payload) -> str:
        return preview(payload, self._width)

    def _at(self, time_ns: int) -> str:
        """The time of day, to the millisecond."""
        second, rest = divmod(time_ns, 1_000_000_000)
        if second != self._second:
            self._second, self._clock = second, f"{datetime.fromtimestamp(second):%H:%M:%S}"
        return f"{self._clock}.{rest // 1_000_000:03}"


def gap_text(gap: Gap) -> str:
    """A sentence: frames were not recorded, and why."""
    return f"{amount(gap.frames, decimal(gap.bytes))} are missing: {gap.reason}"


def _event_text(kind: SocketEventKind, socket: Socket) -> str:
    if kind in ("connecting", "open"):
        return socket.url
    if kind == "error":
        return socket.error or refusal_text(socket.status or 0, {})
    return close_text(socket.close_code, socket.close_reason, socket.closed_by)


def _control(frame: RecordedFrame) -> Payload:
    """A close frame's code and reason; the payload of any other."""
    payload = frame.payload
    assert isinstance(payload, bytes)
    if frame.opcode != 8 or len(payload) < 2:
        return payload
    (code,) = struct.unpack("!H", payload[:2])
    if not 1000 <= code <= 4999:  # some recorders write the reason without the code
        return payload
    return f"{code} {payload[2:].decode(errors='replace')}".rstrip()


def _painter(console: Console) -> Callable[[Sequence[Part]], str]:
    """A function that joins the parts of a line, in colour if the console has colours."""
    if not console.is_terminal or console.legacy_windows:  # an old Windows console takes no codes
        return lambda parts: "".join([text for text, _ in parts])
    codes: dict[str, tuple[str, str]] = {}

    def painted(parts: Sequence[Part]) -> str:
        pieces = []
        for text, style in parts:
            if style not in codes:
                codes[style] = _codes(console, style)
            begin, end = codes[style]
            pieces += [begin, text, end]
        return "".join(pieces)

    return painted


def _codes(console: Console, style: str) -> tuple[str, str]:
    """The codes before and after a text in this style."""
    with console.capture() as captured:
        console.print(Text("x", style), end="")
    begin, _, end = captured.get().partition("x")
    return begin, end
