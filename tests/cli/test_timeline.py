"""The timeline, drawn into a string."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from rich.console import Console

from wirewright.capture import open as open_capture
from wirewright.capture.recorder import Recorder
from wirewright.capture.redaction import REDACTION_LOOKAHEAD, Redaction
from wirewright.cli.timeline import FRAMES_PER_FLUSH, Timeline
from wirewright.model.feed import Feed
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.history import HistoryLimit
from wirewright.model.origin import Origin
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.tls_failures import TlsFailure, TlsFailures
from wirewright.values import Conditions, Direction, Payload


class NoCarrier:
    def send(self, payload: Payload, *, direction: Direction) -> None: ...

    def close(self, code: int, reason: str, *, to: str) -> None: ...

    def abort(self, how: str) -> None: ...

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> None: ...


@dataclass
class Drawing:
    """A timeline, and what it has drawn when it is stopped."""

    control: Control
    timeline: Timeline
    out: io.StringIO

    failures: TlsFailures

    def open(self, url: str, client_address: tuple[str, int] | None = None) -> Feed:
        handshake = HandshakeRequest(url, origin=Origin(client_address))
        return self.control.open(url, handshake, NoCarrier(), HistoryLimit())

    def lines(self) -> list[str]:
        self.timeline.stop()
        return self.out.getvalue().splitlines()


class NoHost:
    """A proxy that runs, as far as its CA goes."""

    def __init__(self, confdir: Path) -> None:
        self.ca_certificate = confdir / "ca.pem"


def draw(
    url: str | None = None,
    max_preview: int | None = None,
    width: int = 80,
    *,
    terminal: bool = False,
    confdir: Path | None = None,
) -> Drawing:
    proxy, out, failures = Proxy(), io.StringIO(), TlsFailures()
    control = Control(proxy)
    if confdir is not None:
        control.attach(NoHost(confdir))  # type: ignore[arg-type]
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    timeline = Timeline(control, failures, console, url=url, max_preview=max_preview)
    timeline.start()
    return Drawing(control, timeline, out, failures)


async def test_a_line_tells_time_socket_direction_size_and_content() -> None:
    drawing = draw()
    feed = drawing.open("wss://example.com/live?x=1")
    feed.opened()
    feed.frames("framesent", ["hello"])
    feed.frames("framereceived", [b"\x00\xff"])
    feed.failed("Socket is odd")
    drawing.control.close("wss://example.com/live?x=1", 3001, "bye", "server")
    stamps = [line[:12] for line in drawing.lines()]
    assert all(stamp[2] == stamp[5] == ":" and stamp[8] == "." for stamp in stamps)
    assert [line[14:].split() for line in drawing.lines()] == [
        ["#1", "/live", "…", "connecting", "wss://example.com/live?x=1"],
        ["#1", "/live", "●", "open", "wss://example.com/live?x=1"],
        ["#1", "/live", "→", "5", "B", "hello"],
        ["#1", "/live", "←", "2", "B", "00", "ff"],
        ["#1", "/live", "✕", "error", "Socket", "is", "odd"],
        ["#1", "/live", "○", "close", "3001", "'bye'", "by", "server"],
    ]


async def test_a_socket_that_never_opens_is_not_said_to_be_open() -> None:
    drawing = draw()
    drawing.open("ws://example.com/live").answered(503, {})
    drawing.open("ws://example.com/live").failed("Unexpected response code: 503")
    drawing.control.close("ws://example.com/live", by="server")
    assert [line[14:].split()[2:4] for line in drawing.lines()] == [
        ["…", "connecting"],
        ["…", "connecting"],
        ["✕", "error"],
        ["○", "close"],
    ]


async def test_close_of_a_socket_that_never_opened_has_a_line_only_if_there_is_something_to_say() -> None:
    drawing = draw()
    for is_failed, reason in [(True, None), (True, "blocked"), (False, None)]:
        feed = drawing.open("ws://example.com/live")
        if is_failed:
            feed.failed("Unexpected response code: 503")
        drawing.control.close("ws://example.com/live", reason=reason)
    lines = drawing.lines()
    assert [line[14:].split()[2:] for line in lines if "connecting" not in line] == [
        ["✕", "error", "Unexpected", "response", "code:", "503"],
        ["✕", "error", "Unexpected", "response", "code:", "503"],
        ["○", "close", "'blocked'"],
        ["○", "close"],
    ]
    assert lines == [line.rstrip() for line in lines]


async def test_line_of_an_empty_message_has_no_blanks_at_its_end() -> None:
    drawing = draw()
    feed = drawing.open("ws://example.com/live")
    feed.frames("framesent", [""])
    feed.frames("framesent", [b""])
    assert [line[-3:] for line in drawing.lines()[1:]] == ["0 B", "0 B"]


async def test_a_socket_opens_once_and_before_its_first_frame() -> None:
    drawing = draw()
    feed = drawing.open("ws://example.com/live")
    feed.requested({"x-changed": "1"})
    feed.opened()
    feed.answered(101, {})
    feed.frames("framesent", ["hello"])
    assert [line.split()[4] for line in drawing.lines()] == ["connecting", "open", "5"]


def failure(side: Literal["client", "server"], reason: str, port: int = 1) -> TlsFailure:
    return TlsFailure(0.0, side, "api.example.com", reason, ("127.0.0.1", port))


HUNG_UP = "The client disconnected during the handshake. If this happens ..."


async def test_an_app_that_refuses_the_certificate_is_a_line_with_what_to_do(tmp_path: Path) -> None:
    drawing = draw(confdir=tmp_path)
    drawing.failures.add(failure("client", HUNG_UP))
    drawing.failures.add(failure("client", HUNG_UP))
    first, second = drawing.lines()
    assert first[14:].startswith("api.example.com     ✕        TLS  api.example.com: ")
    assert "the app does not trust this CA, or pins its certificate: it hung up" in first
    assert f"Remedy: install {tmp_path / 'ca.pem'} " in first
    assert "Remedy" not in second, "it is said once for each server"


async def test_a_server_whose_certificate_is_refused_is_explained_with_its_socket(tmp_path: Path) -> None:
    drawing = draw(confdir=tmp_path)
    address = ("127.0.0.1", 2)
    drawing.failures.add(failure("server", "Certificate verify failed: certificate has expired", 1))
    drawing.failures.add(failure("server", "Certificate verify failed: self-signed certificate", 2))
    for error in ("net::ERR_CERT_AUTHORITY_INVALID", "net::ERR_CONNECTION_REFUSED"):
        drawing.open("wss://example.com/", address).failed(f"Error in connection establishment: {error}")
    _, refused, _, other = drawing.lines()
    assert "ERR_CERT_AUTHORITY_INVALID: the proxy does not trust the certificate of api" in refused
    assert "self-signed certificate. Remedy: " in refused
    assert "ssl_insecure=true" in refused
    assert "ssl_verify_upstream_trusted_ca=" in refused
    assert other.endswith("net::ERR_CONNECTION_REFUSED")


async def test_no_failure_is_shown_after_the_stop(tmp_path: Path) -> None:
    drawing = draw(confdir=tmp_path)
    drawing.timeline.stop()
    drawing.failures.add(failure("client", HUNG_UP))
    assert drawing.lines() == []


async def test_waiting_lines_are_drawn_before_another_output() -> None:
    drawing = draw()
    drawing.open("ws://example.com/first")
    drawing.timeline.draw()
    drawing.out.write("another\n")
    drawing.open("ws://example.com/second")
    assert [line.split()[-1].rpartition("/")[2] for line in drawing.lines()] == ["first", "another", "second"]


async def test_sizes_are_bytes_on_the_wire_and_readable() -> None:
    drawing = draw()
    feed = drawing.open("ws://example.com/")
    feed.frames("framesent", ["é"])
    feed.frames("framesent", ["x" * 20_971_520])
    assert drawing.lines()[1].split()[4:6] == ["2", "B"]
    assert drawing.lines()[2].split()[4:6] == ["21.0", "MB"]


async def test_only_sockets_of_a_matching_url_are_shown() -> None:
    drawing = draw(url="**/live")
    drawing.open("ws://example.com/live").frames("framesent", ["shown"])
    drawing.open("ws://example.com/other").frames("framesent", ["hidden"])
    text = "\n".join(drawing.lines())
    assert "shown" in text
    assert "hidden" not in text
    assert "other" not in text


@pytest.mark.parametrize(
    ("payload", "preview"), [("x" * 30, "x" * 9 + "…"), (b"\x01" * 30, "01 01 01 …"), ("x" * 10, "x" * 10)]
)
async def test_a_preview_is_cut_where_it_was_told(payload: Payload, preview: str) -> None:
    drawing = draw(max_preview=10)
    drawing.open("ws://example.com/").frames("framesent", [payload])
    assert drawing.lines()[1].endswith(preview)


async def test_a_line_fits_the_terminal() -> None:
    drawing = draw(width=100, terminal=True)
    feed = drawing.open("ws://example.com/")
    feed.frames("framesent", ["wide 漢字 " * 100])
    feed.frames("framereceived", [b"\x01" * 1000])
    text, binary = drawing.lines()[1:]
    assert len(text) + text.count("漢") * 2 <= 100
    assert 95 <= len(binary) <= 100


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_an_error_is_broken_between_words_in_a_terminal(width: int) -> None:
    drawing = draw(width=width, terminal=True)
    sentence = "the proxy does not trust this certificate: a remedy is explained in many words " * 3
    drawing.open("wss://example.com/live").failed(sentence.strip())
    first, *more = drawing.lines()[1:]
    assert all(len(each) <= width for each in (first, *more))
    assert all(each.startswith(" " * 14) and each[14] != " " for each in more)
    assert " ".join([first, *more]).split()[5:] == sentence.split()


async def test_the_head_goes_on_under_its_texts_in_a_terminal() -> None:
    drawing = draw(width=60, terminal=True)
    drawing.timeline.head(f"[bold]Running[/].\n  {'Use the proxy':16}set [bold]{'word ' * 20}[/]\n")
    first, second, *more = drawing.lines()
    assert first == "Running."
    assert second.startswith("  Use the proxy   set word")
    assert len(more) > 1
    assert more[-1] == ""
    assert all(each.startswith(" " * 18 + "word") for each in more[:-1])
    assert all(len(each.rstrip()) <= 60 for each in (second, *more))


async def test_the_head_shows_names_of_emojis_as_they_are() -> None:
    drawing = draw()
    drawing.timeline.head("Recorded in /captures/:car:.db")
    assert drawing.lines() == ["Recorded in /captures/:car:.db"]


async def test_an_address_that_is_longer_than_a_line_stays_whole() -> None:
    drawing = draw(width=60, terminal=True)
    address = "ws://example.com/" + "x" * 100
    drawing.open("wss://example.com/live").failed(f"no answer of {address} came")
    assert any(address in each for each in drawing.lines())


async def test_an_error_is_one_line_where_the_output_is_no_terminal() -> None:
    drawing = draw(width=80)
    drawing.open("wss://example.com/live").failed("word " * 40)
    assert len(drawing.lines()) == 2


async def test_a_message_cannot_steer_the_terminal() -> None:
    drawing = draw()
    feed = drawing.open("ws://example.com/\x1b[2J")
    feed.frames("framesent", ["a\x1b[31m\nb\r\x07"])
    feed.failed("c\x1b[0m")
    text = "\n".join(drawing.lines())
    assert "\x1b" not in text
    assert r"a\x1b[31m\nb\r\x07" in text


async def test_markup_of_the_terminal_library_is_shown_as_it_is() -> None:
    drawing = draw()
    drawing.open("ws://example.com/").frames("framesent", ["[bold]x[/] :smile:"])
    assert drawing.lines()[1].endswith("[bold]x[/] :smile:")


async def test_a_flood_is_counted_and_not_drawn() -> None:
    drawing = draw()
    feed = drawing.open("ws://example.com/")
    for number in range(10_000):
        feed.frames("framereceived", [str(number)])
    drawing.control.close("ws://example.com/", 1000, "", "client")
    lines = drawing.lines()
    assert sum("←" in line for line in lines) == FRAMES_PER_FLUSH
    assert lines[-1].endswith(f"… and {10_000 - FRAMES_PER_FLUSH:,} more messages at the same moment")
    assert "1000 by client" in lines[-2]


async def test_nothing_is_shown_after_the_stop() -> None:
    drawing = draw()
    drawing.timeline.stop()
    drawing.open("ws://example.com/")
    assert drawing.lines() == []


async def test_numbers_are_those_of_the_capture(tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    drawing = draw(url="**/{early,late}")
    recorder = Recorder(path, "test")
    drawing.control.start_recording(recorder)
    for name in ("other", "early", "other", "late"):
        drawing.open(f"ws://example.com/{name}")
    recorder.stop()
    live = {tuple(line[14:].split()[:2]) for line in drawing.lines()}
    with open_capture(path) as capture:
        recorded = {(f"#{socket.id}", urlsplit(socket.url).path) for socket in capture.sockets()}
    assert live == {("#2", "/early"), ("#4", "/late")}
    assert live < recorded


async def test_open_sockets_get_the_numbers_of_a_recording_that_begins_with_a_remark(tmp_path: Path) -> None:
    drawing = draw()
    feeds = [drawing.open(f"ws://example.com/{name}") for name in "abc"]
    drawing.control.close("ws://example.com/a")
    for path, count in ((tmp_path / "1.db", 1), (tmp_path / "1.db", 2), (tmp_path / "2.db", 3)):
        recorder = Recorder(path, "test")
        drawing.control.start_recording(recorder)
        for feed in feeds[1:]:
            feed.frames("framesent", [f"{count}"])
        drawing.control.stop_recording()
        recorder.stop()
    drawing.open("ws://example.com/d")
    with open_capture(tmp_path / "1.db") as capture:
        assert [socket.id for socket in capture.sockets()] == [1, 2, 3, 4]
    said = [" ".join(line[14:].split()) for line in drawing.lines()]
    assert said[4:] == [
        "★ #2 is #1 in the capture",
        "#1 /b → 1 B 1",
        "★ #3 is #2 in the capture",
        "#2 /c → 1 B 1",
        "★ #1 is #3 in the capture",
        "#3 /b → 1 B 2",
        "★ #2 is #4 in the capture",
        "#4 /c → 1 B 2",
        "★ #3 is #1 in the capture",
        "#1 /b → 1 B 3",
        "★ #4 is #2 in the capture",
        "#2 /c → 1 B 3",
        "#3 /d … connecting ws://example.com/d",
    ]


SECRETS = (
    "wss://h/live?token=secret",
    '{"token":"secret","a":1}',
    b"token=secret",
    "jwt=secret",
    "no ws://me:secret@h/",
)


async def lines_with(redaction: Redaction | None) -> str:
    url, text, binary, reason, failure = SECRETS
    drawing = draw(max_preview=60)
    if redaction is not None:
        drawing.timeline.redaction = redaction
    feed = drawing.open(url)
    feed.opened()
    feed.frames("framesent", [text])
    feed.frames("framereceived", [binary])
    feed.failed(failure)
    drawing.control.close(url, 3001, reason, "server")
    return "\n".join(drawing.lines())


async def test_lines_show_no_secrets() -> None:
    lines = await lines_with(None)
    assert "secret" not in lines
    assert b"secret".hex(" ") not in lines
    assert lines.count("REDACTED") + lines.count(b"REDACTED".hex(" ")) == 6


async def test_lines_show_secrets_without_redaction() -> None:
    lines = await lines_with(Redaction([]))
    assert lines.count("secret") + lines.count(b"secret".hex(" ")) == 6


async def test_secret_behind_the_preview_is_not_looked_at() -> None:
    drawing = draw(max_preview=10)
    sizes: list[int] = []
    drawing.timeline.redaction.payload = lambda payload: sizes.append(len(payload)) or payload  # type: ignore
    drawing.open("ws://h/").frames("framesent", ["x" * 1_000_000])
    drawing.lines()
    assert sizes == [10 + REDACTION_LOOKAHEAD]
