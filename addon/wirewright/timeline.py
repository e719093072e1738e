"""The frames of all sockets as lines in a terminal, while they pass."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from wirewright.model.history import Payload, payload_size
from wirewright.model.matching import UrlMatch, compile_match
from wirewright.model.proxy import Control, Proxy
from wirewright.model.websocket import ClosedBy, WebSocket

FLUSH_SECONDS = 0.05
FRAMES_PER_FLUSH = 50
"""A terminal shows no more than this anyway, and drawing must not slow the traffic down."""

MARKS = {
    "connecting": ("…", "dim"),
    "open": ("●", "bold"),
    "error": ("✕", "bold red"),
    "close": ("○", "dim"),
}
"""The mark and the style of what happens to a socket."""

_LABEL_WIDTH = 18
_DETAIL_WIDTH = 10
_FIXED_WIDTH = len("12:34:56.789") + _LABEL_WIDTH + _DETAIL_WIDTH + 8
_LOG_PREVIEW = 120
"""Characters of a payload where the output is no terminal."""


class Timeline:
    """Prints a line for each socket that opens, each message, each failure and each close.

    `url` chooses the sockets; `max_preview` is how many characters of a payload are shown (as many as fit
    the terminal if it is None). Lines are drawn a few at a time: in a flood, what is left out is counted.
    """

    def __init__(
        self, proxy: Proxy, console: Console, *, url: UrlMatch | None = None, max_preview: int | None = None
    ) -> None:
        self._proxy = proxy
        self._control = Control(proxy)
        self._console = console
        self._matches = compile_match(url)
        self._max_preview = max_preview
        self._lines: list[Text] = []
        self._frames = 0
        self._left_out = 0
        self._flush_handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Show the sockets that open from now on."""
        self._proxy.on("websocket", self._watch)

    def stop(self) -> None:
        """Show what is still to be shown, and no more sockets."""
        self._proxy.remove_listener("websocket", self._watch)
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush()

    def note(self, text: str) -> None:
        """A remark between the lines, in its place."""
        self._append(Text.assemble(*note_parts(text, clock(datetime.now()))))

    def _watch(self, ws: WebSocket) -> None:
        if not self._matches(ws.url):
            return
        shown = _Shown(ws, self._control.number_of(ws))
        self._event(shown, "open", ws.url)
        ws.on("framesent", partial(self._frame, shown, "→", "cyan"))
        ws.on("framereceived", partial(self._frame, shown, "←", "green"))
        ws.on("socketerror", partial(self._failed, shown))
        ws.on("close", partial(self._closed, shown))

    def _label(self, shown: "_Shown") -> str:
        """The number that the capture has, and the path; a remark if it is another number than before."""
        number = self._control.number_of(shown.socket)
        if number != shown.number:
            self.note(f"#{shown.number} is #{number} in the capture")
            shown.number = number
        return f"#{number} {printable(urlsplit(shown.socket.url).path)}"

    def _frame(self, shown: "_Shown", arrow: str, style: str, payload: Payload) -> None:
        if self._frames >= FRAMES_PER_FLUSH:
            self._left_out += 1
            return
        self._frames += 1
        size = shown_size(payload_size(payload))
        text = preview(payload, preview_width(self._console, self._max_preview))
        self._append(line(self._label(shown), arrow, size, text, style))

    def _failed(self, shown: "_Shown", message: str) -> None:
        self._event(shown, "error", message)

    def _closed(self, shown: "_Shown", ws: WebSocket) -> None:
        self._event(shown, "close", close_text(ws.close_code, ws.close_reason, ws.closed_by))

    def _event(self, shown: "_Shown", kind: str, text: str) -> None:
        mark, style = MARKS[kind]
        self._append(line(self._label(shown), mark, kind, printable(text), style))

    def _append(self, line: Text) -> None:
        self._lines.append(line)
        if self._flush_handle is None:
            self._flush_handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        lines, self._lines = self._lines, []
        left_out, self._left_out, self._frames = self._left_out, 0, 0
        if left_out:
            lines.append(Text(f"{'':14}… and {left_out:,} more messages at the same moment", "dim"))
        self._console.print(Text("\n").join(lines), soft_wrap=True, highlight=False)


@dataclass
class _Shown:
    """A socket of the timeline."""

    socket: WebSocket
    number: int
    """That of its last line."""


Part = tuple[str, str]
"""Some text and its style."""


def line(label: str, mark: str, detail: str, text: str, style: str) -> Text:
    """A line of now."""
    return Text.assemble(*line_parts(label, mark, detail, text, style, clock(datetime.now())))


def line_parts(label: str, mark: str, detail: str, text: str, style: str, at: str) -> list[Part]:
    """One line: time, socket, direction or event, size, text. Messages are coloured in their mark alone."""
    return [
        (at, "dim"),
        (f"  {_fit(label, _LABEL_WIDTH)} ", ""),
        (f" {mark} {detail:>{_DETAIL_WIDTH}}  ", style),
        (text, "" if mark in "→←" else style),
    ]


def note_parts(text: str, at: str) -> list[Part]:
    """A line that is a remark."""
    return [(at, "dim"), (f"  ★ {text}", "bold yellow")]


def close_text(code: int | None, reason: str | None, by: ClosedBy | None) -> str:
    """How a socket ended, as far as that is known."""
    said = [] if code is None else [str(code)]
    said += [repr(reason)] if reason else []
    said += [f"by {by}"] if by else []
    return " ".join(said)


def shown_size(size: int) -> str:
    """A number of bytes, as short as can be."""
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


def printable(text: str) -> str:
    """What an app sends must not steer the terminal that it is shown on."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def clock(moment: datetime) -> str:
    """A time of day, to the millisecond."""
    return f"{moment:%H:%M:%S.%f}"[:-3]


def _fit(text: str, width: int) -> str:
    """The text in exactly so many columns of a terminal, with "…" where it was cut."""
    cells = len(text) if text.isascii() else cell_len(text)
    if cells <= width:
        return text + " " * (width - cells)
    return f"{set_cell_size(text, max(0, width - 1))}…"
