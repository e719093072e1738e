"""The lines of a capture, as a terminal gets them."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from support.model_sockets import begin_socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.recorder import Recorder
from wirewright.cli.recorded_timeline import RecordedTimeline
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "session.db"
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/a/long/path/that/is/cut/漢字?a=1")
    feed.answered(101, {})
    feed.opened()
    assert feed.tape is not None
    feed.tape.messages(
        ["plain", "wide 漢字 " * 50, "\x1b[31m\nred", b"\x00" * 500, ""], 0, direction=Direction.SENT
    )
    feed.tape.offered("buy", direction=Direction.RECEIVED)
    feed.tape.settled("sell", direction=Direction.RECEIVED)
    recorder.annotate("a [bold]remark[/]")
    control.close("1", 3000, "bye [dim]", "client")
    recorder.stop()
    return path


def drawn(path: Path, max_preview: int | None = None, **options: Any) -> str:
    out = io.StringIO()
    with open_capture(path) as capture:
        RecordedTimeline(Console(file=out, **options), capture, Filter(), max_preview).print_new()
    return out.getvalue()


@pytest.mark.parametrize("color_system", ["standard", "256", "truecolor"])
def test_colours_are_those_of_the_live_timeline(filled: Path, color_system: str) -> None:
    coloured = drawn(filled, width=100, force_terminal=True, color_system=color_system)
    lines = coloured.splitlines()
    opened, sent, received, closed = lines[0], lines[1], lines[-3], lines[-1]
    assert "\x1b[1m ●       open  \x1b[0m" in opened
    assert "\x1b[36m →        5 B  \x1b[0mplain" in sent
    assert "\x1b[32m ←        4 B  \x1b[0msell\x1b[33m  [changed]\x1b[0m\x1b[2m was buy\x1b[0m" in received
    assert "\x1b[2m3000 'bye [dim]' by client\x1b[0m" in closed
    plain = drawn(filled, width=100, force_terminal=True, color_system=None)
    assert [Text.from_ansi(line).plain for line in lines] == plain.splitlines()


def test_messages_fit_the_terminal(filled: Path) -> None:
    for width in (80, 100, 200):
        text = drawn(filled, width=width, force_terminal=True, color_system=None)
        cells = [Text(line).cell_len for line in text.splitlines() if "→" in line]
        assert max(cells) <= width
        assert sum(each >= width - 3 for each in cells) == 2  # of the two long ones


def test_no_colours_and_long_lines_where_the_output_is_a_file(filled: Path) -> None:
    text = drawn(filled, width=80)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) > 120


def test_no_codes_for_a_windows_console_that_takes_none(filled: Path) -> None:
    assert "\x1b" not in drawn(filled, width=100, force_terminal=True, legacy_windows=True)


def test_what_an_app_sends_does_not_steer_the_terminal(filled: Path) -> None:
    text = drawn(filled, width=100, force_terminal=True, color_system=None)
    assert "\x1b" not in text
    assert r"\x1b[31m\nred" in text
    assert "★ a [bold]remark[/]" in text


def test_close_of_a_socket_that_never_opened_has_a_line_only_if_there_is_something_to_say(
    tmp_path: Path,
) -> None:
    recorder, control = Recorder(tmp_path / "session.db", "test"), Control(Proxy())
    control.start_recording(recorder)
    for key, is_failed, reason in [("1", True, None), ("2", True, "blocked"), ("3", False, None)]:
        feed = begin_socket(control.proxy, "ws://h/live", key=key)
        if is_failed:
            feed.failed("Unexpected response code: 503")
        control.close(key, reason=reason)
    recorder.stop()
    lines = drawn(tmp_path / "session.db").splitlines()
    shown = [line[14:].split() for line in lines if "connecting" not in line]
    assert [[line[0], *line[3:4], line[-1]] for line in shown] == [
        ["#1", "error", "503"],
        ["#2", "error", "503"],
        ["#2", "close", "'blocked'"],
        ["#3", "close", "close"],
    ]
    assert lines == [line.rstrip() for line in lines]


def test_no_line_has_blanks_at_its_end(filled: Path) -> None:
    lines = drawn(filled).splitlines()
    assert lines == [line.rstrip() for line in lines]


def test_preview_is_as_long_as_it_was_told(filled: Path) -> None:
    text = drawn(filled, max_preview=4)
    assert "  pla…\n" in text
    assert "  sell" in text
    assert "  00 …\n" in text
