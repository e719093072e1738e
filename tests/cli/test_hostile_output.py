"""Each output of each command, with hostile values in every place that traffic or a file can fill."""

import io
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from support.foreign_recordings import archive, entry, message
from support.hostile_text import HOSTILE, assert_is_clean
from support.processes import BIN, running
from wirewright.capture import Socket
from wirewright.capture.replay.as_client import Played
from wirewright.capture.replay.lockstep import Mismatch
from wirewright.cli import captures, live, replay
from wirewright.cli.main import app
from wirewright.model.handshake import Headers

URL = f"wss://h/{HOSTILE}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A capture whose texts are all hostile."""
    path = tmp_path / f"session{HOSTILE.replace('/', '')}.db"
    source = archive(
        tmp_path,
        entry(_webSocketMessages=[message(data=HOSTILE), message(opcode=2, data="mzE=")]),
        entry(_webSocketMessages=[message(opcode=9, data="G10="), message(opcode=8, data="D6EbXQ==")]),
        entry(_webSocketMessages=[], response={"status": 403}),
    )
    captures.import_file(Console(file=io.StringIO()), source, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sessions SET program = ?", [HOSTILE])
        headers = json.dumps([["x", HOSTILE]])
        connection.execute(
            "UPDATE sockets SET url = ?, error = ?, close_reason = ?, close_code = 3000, subprotocol = ?,"
            " extensions = ?, client_address = ?, server_address = ?, request_headers = ?, response_body = ?",
            [URL, *[HOSTILE] * 6, headers, HOSTILE.encode()],
        )
        connection.execute("UPDATE frames SET original = ? WHERE opcode = 1", [HOSTILE])
        (session_id,) = connection.execute("SELECT id FROM sessions").fetchone()
        connection.execute(
            "INSERT INTO gaps (session_id, time_ns, frames, bytes, reason) VALUES (?, ?, 1, 2, ?)",
            [session_id, 1764103478_000_000_000, HOSTILE],
        )
        connection.execute(
            "INSERT INTO annotations (session_id, time_ns, text) VALUES (?, ?, ?)",
            [session_id, 1764103478_000_000_000, HOSTILE],
        )
    return path


def outputs(*arguments: str | Path) -> str:
    """What a command prints on a terminal with colours; it must not end with a traceback."""
    ran = CliRunner().invoke(app, [str(each) for each in arguments], env={"FORCE_COLOR": "1"})
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
    return ran.output + (ran.stderr if ran.stderr_bytes else "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "{path}"),
        ("show", "{path}", "--grep", "never"),
        ("show", "{path}", "--max-preview", "500"),
        ("follow", "{path}"),
        ("stats", "{path}"),
        ("stats", "{path}", "--url", "wss://other/**"),
        ("captures", "{folder}"),
        ("captures", "{folder}/[red]none[/]"),
        ("captures", "{empty}"),
        ("export", "{path}", "-"),
        ("export", "{path}", "{folder}/[/][red]out.har"),
        ("export", "{path}", "{folder}/[/]\x1b[31mout.jsonl", "--grep", "never"),
        ("export", "{path}", "{folder}/out.\x1b[31m"),
        ("show", "{folder}/\x1b[31m\x9b[/]none.db"),
        ("import", "{folder}/\x1b[31m\x9b[/]none.har", "{path}"),
        ("replay", "{path}", "--url", "wss://other/**", "--as-client", "ws://h"),
        ("replay", "{path}", "--as-client", "ws://\x1b[31m[/]"),
    ],
    ids=lambda arguments: " ".join(arguments)[:40].encode("unicode_escape").decode(),
)
def test_output_of_a_command_is_clean(path: Path, arguments: tuple[str, ...]) -> None:
    (path.parent / "[").mkdir()  # a path can have a closing tag, too: [/]
    (empty := path.parent / "[" / "]empty\x1b[31m").mkdir()
    printed = outputs(*(each.format(path=path, folder=path.parent, empty=empty) for each in arguments))
    assert printed
    assert_is_clean(printed)


def test_lines_of_an_export_have_the_hostile_values_as_escapes(path: Path) -> None:
    events = [json.loads(line) for line in outputs("export", path, "-").splitlines()]
    assert {event["url"] for event in events if event["event"] == "socket"} == {URL}
    assert HOSTILE in {event.get("text") for event in events}
    assert HOSTILE in {event.get("reason") for event in events}


@pytest.mark.parametrize(
    "odd",
    [
        {"request": {"url": HOSTILE}, "_resourceType": "websocket"},
        entry(_webSocketMessages=[{"type": HOSTILE}, message(opcode=2, data=HOSTILE)]),
        entry(response={"content": {"_file": f"{HOSTILE}.jsonl"}}),
        entry(_wirewright={"closed_by": HOSTILE}),
    ],
    ids=["url", "message", "file", "own field"],
)
def test_report_of_an_import_is_clean(tmp_path: Path, odd: object) -> None:
    source = archive(tmp_path, entry(), odd).rename(tmp_path / "\x1b[31m\x9b[red].har")
    printed = outputs("import", source, tmp_path / "session.db")
    assert "Skipped 1" in printed or "Skipped 2" in printed
    assert_is_clean(printed)


@pytest.fixture
def screen() -> Iterator[tuple[Console, Callable[[], str]]]:
    """A terminal with colours, and what is on it."""
    out = io.StringIO()
    yield Console(file=out, force_terminal=True, width=80), out.getvalue
    assert out.getvalue()
    assert_is_clean(out.getvalue())


def test_mismatch_and_result_of_a_replay_are_clean(screen: tuple[Console, Callable[[], str]]) -> None:
    console, shown = screen
    mismatch = Mismatch(URL, 1, 2, f'{{"a": "{HOSTILE}"}}', HOSTILE, lambda *_: False)
    replay._show_mismatch(console, mismatch)
    socket = Socket(
        id=1, session_id=1, url=URL, asked_ns=1, opened_ns=1, closed_ns=1, request_headers=Headers(),
        response_headers=None, status=101, subprotocol=None, extensions=None, client_address=None,
        server_address=None, close_code=None, close_reason=None, closed_by=None, error=None,
    )  # fmt: skip
    for failure in (None, HOSTILE):
        withheld = (HOSTILE,)
        replay._show_result(
            console, Played(socket, f"{URL}REDACTED", redacted=1, withheld=withheld, failure=failure)
        )
    assert "[red]" in shown()


async def test_recorded_server_is_named_in_the_banner_without_its_escapes(path: Path, confdir: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE sockets SET error = NULL, opened_ns = asked_ns, status = 101")
    command = (BIN / "wirewright", "replay", path, "-p", "0", "--set", f"confdir={confdir}")
    async with running(*command, FORCE_COLOR="1") as run:
        await run.line("Stop")
    shown = "\n".join(run.lines)
    assert "answers" in shown
    assert_is_clean(shown)


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("value", "expected"),
    [(f"a\n{HOSTILE}", None), (b"\x1b[31m", "1b 5b 33 31 6d\n"), ("{\n\t1}", "{\n\t1}\n")],
)
def test_wait_prints_printable_text_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, value: str | bytes, expected: str | None
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := FakeTerminal())
    live._print(value)
    assert_is_clean(terminal.getvalue())
    assert expected is None or terminal.getvalue() == expected


def test_wait_prints_the_message_as_it_is_elsewhere(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    live._print(HOSTILE)
    sys.stdout.flush()
    live._print(b"\x1b\xff")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == HOSTILE.encode() + b"\n\x1b\xff"
