"""The frames of all sockets as lines in a terminal, while they pass."""

import asyncio
import re
from collections.abc import Container, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from wirewright.capture.redaction import Redaction
from wirewright.model.chromium_errors import SERVER_TLS_ERRORS
from wirewright.model.emitter import EmittedEvent
from wirewright.model.feed import Feed
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.proxy_control import Control
from wirewright.model.tls_failures import TlsFailure, TlsFailures
from wirewright.model.websocket import WebSocket
from wirewright.printable import printable
from wirewright.values import ClosedBy, FrameEvent, Payload, payload_size

FLUSH_SECONDS = 0.05
FRAMES_PER_FLUSH = 50
"""A terminal shows no more than this anyway, and drawing must not slow the traffic down."""

MARKS = {
    "connecting": ("…", "dim"),
    "open": ("●", "bold"),
    "error": ("✕", "bold red"),
    "close": ("○", "dim"),
}
"""The mark and the style of each event of a socket."""
FRAME_MARKS: dict[FrameEvent, tuple[str, str]] = {"framesent": ("→", "cyan"), "framereceived": ("←", "green")}
"""The mark and the style of a message."""

HEAD_INDENT = 18
"""Where the texts of the head begin, behind its headings."""
_LABEL_INDENT = len("12:34:56.789  ")
_LABEL_WIDTH = 18
_DETAIL_WIDTH = 10
_FIXED_WIDTH = len("12:34:56.789") + _LABEL_WIDTH + _DETAIL_WIDTH + 8
_LOG_PREVIEW = 120
"""Characters of a payload where the output is no terminal."""


class Timeline:
    """Prints a line for each socket that is asked for and opens, each message, each failure and each close.

    `url` chooses the sockets; `max_preview` is how many characters of a payload are shown (as many as fit
    the terminal if it is None). Lines are drawn a few at a time: in a flood, what is left out is counted.
    """

    def __init__(
        self,
        control: Control,
        tls_failures: TlsFailures,
        console: Console,
        *,
        url: UrlMatch | None = None,
        max_preview: int | None = None,
    ) -> None:
        self._control, self._tls_failures = control, tls_failures
        self._console = console
        self._matches = compile_match(url)
        self._max_preview = max_preview
        self._lines: list[Text] = []
        self._frames = 0
        self._left_out = 0
        self._flush_handle: asyncio.TimerHandle | None = None
        self.redaction = Redaction()
        """Takes secrets out of the messages, URLs, close reasons and failures that are shown."""
        self._advised: set[str] = set()
        """Servers for which the timeline has said what to do about a refused certificate."""

    def head(self, markup: str) -> None:
        """Print a text in rich's markup above the lines."""
        lines = Text.from_markup(markup, emoji=False).split("\n", allow_blank=True)
        wrapped = [self._wrapped(each, HEAD_INDENT) for each in lines]
        self._console.print(Text("\n").join(wrapped), highlight=False, soft_wrap=True)

    def start(self) -> None:
        """Show the sockets that open from now on, and apps that refuse the proxy's certificate."""
        self._control.watchers.append(self)
        self._tls_failures.watchers.append(self._tls_failed)

    def stop(self) -> None:
        """Print the waiting lines, and show no more sockets."""
        with suppress(ValueError):  # it has not started, or has stopped already
            self._control.watchers.remove(self)
            self._tls_failures.watchers.remove(self._tls_failed)
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush()

    def note(self, text: str) -> None:
        """Print a remark after the lines so far."""
        self._append(Text.assemble(*note_parts(text, clock(datetime.now()))))

    def draw(self) -> None:
        """Print the lines that wait. Call it before something else is printed, to keep the order."""
        lines, self._lines = self._lines, []
        if lines:
            self._console.print(Text("\n").join(lines), soft_wrap=True, highlight=False)

    def opening(self, key: str, feed: Feed) -> None:
        """Show a socket that an app asks for, before any listener is called."""
        if self._matches(feed.socket.url):
            feed.attach(_SocketLines(self, self._control, feed.socket))

    def frame(self, label: str, event: FrameEvent, payload: Payload) -> None:
        if self._frames >= FRAMES_PER_FLUSH:
            self._left_out += 1
            return
        self._frames += 1
        mark, style = FRAME_MARKS[event]
        width = preview_width(self._console, self._max_preview)
        text = preview(self.redaction.preview(payload, width), width)
        self._append(line(label, mark, shown_size(payload_size(payload)), text, style))

    def event(self, label: str, kind: str, text: str, title: str | None = None) -> None:
        """Show what happened to a socket. `kind` is one of `MARKS`, and the title if there is no other."""
        mark, style = MARKS[kind]
        shown = line(label, mark, title or kind, text, style)
        self._append(self._wrapped(shown, _LABEL_INDENT) if kind == "error" else shown)

    def explained(self, ws: WebSocket, message: str) -> str:
        """The message of a socket's failure, with what to do if it was the server's certificate."""
        failure = self._tls_failures.of_server(ws.client_address)
        if failure is None or not message.endswith(SERVER_TLS_ERRORS):
            return message
        return f"{message}: {self._with_remedy(failure)}"

    def _tls_failed(self, failure: TlsFailure) -> None:
        """Show an app's failure. A server's is shown with the socket that it ends."""
        if failure.side != "client":
            return
        text = failure.sentence
        if failure.server_name not in self._advised:
            self._advised.add(failure.server_name)
            text = self._with_remedy(failure)
        self.event(failure.server_name, "error", f"{failure.server_name}: {text}", "TLS")

    def _with_remedy(self, failure: TlsFailure) -> str:
        remedy = failure.remedy(self._control.proxy.ca_certificate)
        return failure.sentence if remedy is None else f"{failure.sentence}. Remedy: {remedy}"

    def _wrapped(self, sentence: Text, indent: int) -> Text:
        """In a terminal, a text that is too long for a line is broken between words and indented."""
        width = self._console.width
        if not self._console.is_terminal or width <= 2 * indent:
            return sentence
        breaks, column = [], 0
        for word in re.finditer(r"\s*\S+\s*", sentence.plain):
            # A path or an address that is longer than a line stays whole.
            if column > indent and column + cell_len(word[0].rstrip()) > width:
                breaks.append(word.start())
                column = indent
            column += cell_len(word[0])
        lines = sentence.divide(breaks)
        for each in lines[:-1]:
            each.rstrip()
        return Text("\n" + " " * indent).join(lines)

    def _append(self, line: Text) -> None:
        self._lines.append(line)
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        left_out, self._left_out, self._frames = self._left_out, 0, 0
        if left_out:
            text = f"… and {left_out:,} more messages at the same moment"
            self._lines.append(Text(" " * _LABEL_INDENT + text, "dim"))
        self.draw()


class _SocketLines:
    """The lines of one socket."""

    wants: Container[str] = tuple(FRAME_MARKS)

    def __init__(self, timeline: Timeline, control: Control, ws: WebSocket) -> None:
        self._timeline = timeline
        self._control = control
        self._ws = ws
        self._number = control.number_of(ws)
        """The number in the last line."""
        self._is_open = self._has_failed = False
        timeline.event(self._label(), "connecting", timeline.redaction.url(ws.url))

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        match event:
            case "framesent" | "framereceived":
                label = self._label()
                for payload in values:
                    self._timeline.frame(label, event, payload)
            case "changed":
                if self._ws.opened_at is not None and not self._is_open:
                    self._is_open = True
                    self._timeline.event(self._label(), "open", self._timeline.redaction.url(self._ws.url))
            case "socketerror":
                self._has_failed = True
                explained = self._timeline.explained(self._ws, values[0])
                self._timeline.event(self._label(), "error", self._timeline.redaction.text(explained))
            case "close":
                self._closed()

    def _closed(self) -> None:
        ws = self._ws
        reason = self._timeline.redaction.text(ws.close_reason or "")
        text = close_text(ws.close_code, reason, ws.closed_by)
        if text or not self._has_failed or ws.opened_at is not None:
            self._timeline.event(self._label(), "close", text)

    def _label(self) -> str:
        """The number that the capture has, and the path; a remark if it is another number than before."""
        number = self._control.number_of(self._ws)
        if number != self._number:
            self._timeline.note(f"#{self._number} is #{number} in the capture")
            self._number = number
        return f"#{number} {urlsplit(self._ws.url).path}"


Part = tuple[str, str]
"""Some text and its style."""


def line(label: str, mark: str, detail: str, text: str, style: str) -> Text:
    """A line with the time of now."""
    return Text.assemble(*line_parts(label, mark, detail, text, style, clock(datetime.now())))


def line_parts(label: str, mark: str, detail: str, text: str, style: str, at: str) -> list[Part]:
    """One line: time, socket, direction or event, size, text. Messages are coloured in their mark alone."""
    label, text = printable(label), printable(text)
    parts = [(at, "dim"), (f"  {_fit(label, _LABEL_WIDTH)} ", "")]
    head = f" {mark} {detail:>{_DETAIL_WIDTH}}"
    if not text:
        return [*parts, (head, style)]
    return [*parts, (f"{head}  ", style), (text, "" if mark in "→←" else style)]


def note_parts(text: str, at: str) -> list[Part]:
    """A line that is a remark."""
    return [(at, "dim"), (f"  ★ {printable(text)}", "bold yellow")]


def close_text(code: int | None, reason: str | None, by: ClosedBy | None) -> str:
    """How a socket ended, as far as that is known."""
    said = [] if code is None else [str(code)]
    said += [repr(reason)] if reason else []
    said += [f"by {by}"] if by else []
    return " ".join(said)


def shown_size(size: int) -> str:
    """A number of bytes in a short form."""
    return f"{size} B" if size < 1_000 else decimal(size)


def preview_width(console: Console, most: int | None) -> int:
    """How many columns a payload may take: `most`, or as many as are left of a line."""
    if most is not None:
        return most
    return max(20, console.width - _FIXED_WIDTH) if console.is_terminal else _LOG_PREVIEW


def preview(payload: Payload, width: int) -> str:
    """The beginning of a payload in so many columns of a terminal."""
    if isinstance(payload, bytes):
        shown = payload[: width // 3 + 2].hex(" ")
    else:
        shown = printable(payload[: width + 1])
    return _fit(shown, width).rstrip()


def clock(moment: datetime) -> str:
    """A time of day, to the millisecond."""
    return f"{moment:%H:%M:%S.%f}"[:-3]


def _fit(text: str, width: int) -> str:
    """The text in exactly so many columns of a terminal, with "…" where it was cut."""
    cells = len(text) if text.isascii() else cell_len(text)
    if cells <= width:
        return text + " " * (width - cells)
    return f"{set_cell_size(text, max(0, width - 1))}…"
