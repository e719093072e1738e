"""Captures on the command line, as a user types it."""

import io
import json
import os
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import websockets
from rich.console import Console

from support.foreign_recordings import archive, entry
from support.forked_programs import WIREWRIGHT
from support.hostile_captures import make_endless, run
from support.model_sockets import begin_socket
from support.processes import running
from support.servers import serving
from support.time_limits import STEP_SECONDS
from wirewright.capture import Capture, read_limits
from wirewright.capture.filters import Filter
from wirewright.capture.recorder import Recorder
from wirewright.cli import captures
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


@pytest.fixture
def filled(path: Path) -> Path:
    """A capture of a socket whose life was full."""
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/live?a=1")
    feed.answered(101, {})
    feed.opened()
    assert feed.tape is not None
    recorder.annotate("a [test] begins")
    recorder.flush()  # and so before what follows
    feed.tape.messages(["hello é \x1b[31m", b"\x00\xff"], 0, direction=Direction.SENT)
    feed.tape.offered("buy", direction=Direction.RECEIVED)
    feed.tape.settled("sell", direction=Direction.RECEIVED)
    feed.tape.controls([(9, b"?")], direction=Direction.RECEIVED)
    feed.tape.controls([(8, b"\x0b\xb8bye")], direction=Direction.SENT)
    control.close("1", 3000, "bye", "client")
    recorder.stop()
    return path


def wirewright(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WIREWRIGHT, *map(str, arguments)], capture_output=True, text=True, timeout=STEP_SECONDS, check=False
    )


def test_show_is_a_timeline(filled: Path) -> None:
    shown = wirewright("show", filled)
    assert shown.returncode == 0, shown.stderr
    lines = [re.sub(r"^\d\d:\d\d:\d\d\.\d{3}  ", "", line) for line in shown.stdout.splitlines()]
    assert [" ".join(line.split()) for line in lines] == [
        "#1 /live ● open ws://h/live?a=1",
        "★ a [test] begins",
        r"#1 /live → 14 B hello é \x1b[31m",
        "#1 /live → 2 B 00 ff",
        "#1 /live ← 4 B sell [changed] was buy",
        "#1 /live ← ping 3f",
        "#1 /live → close 3000 bye",
        "#1 /live ○ close 3000 'bye' by client",
    ]


def test_show_parts_sessions(filled: Path) -> None:
    control, recorder = Control(Proxy()), Recorder(filled, "another program")
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/later")
    assert feed.tape is not None
    feed.tape.messages(["more"], 4, direction=Direction.SENT)
    recorder.stop()
    shown = wirewright("show", filled).stdout
    first, second = re.findall(r"── session (\d), \d{4}-\d\d-\d\d \d\d:\d\d, (.+)", shown)
    assert (first, second) == (("1", "test"), ("2", "another program"))
    assert shown.index("session 2") < shown.index("ws://h/later") < shown.index("more")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments", ["show {}", "export {} -", "stats {}", "--version", "--help", "show --help"]
)
def test_output_that_cannot_be_written_is_one_sentence(filled: Path, arguments: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [WIREWRIGHT, *arguments.format(filled).split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert (run.returncode, run.stderr) == (1, "wirewright: stdout: No space left on device\n")


def test_show_tells_of_sockets_that_nothing_has_passed(path: Path) -> None:
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/refused", key="refused")
    feed.failed("net::ERR_CONNECTION_REFUSED")
    control.close("refused")
    begin_socket(control.proxy, "ws://h/asked", key="asked")
    recorder.stop()
    lines = [" ".join(line.split()[1:]) for line in wirewright("show", path).stdout.splitlines()]
    assert lines == [
        "#1 /refused … connecting ws://h/refused",
        "#1 /refused ✕ error net::ERR_CONNECTION_REFUSED",
        "#2 /asked … connecting ws://h/asked",
    ]
    shown = wirewright("show", path, "--direction", "sent").stdout
    assert shown == "There is no frame yet. The sockets are ws://h/refused, ws://h/asked.\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--direction", "received", "--max-preview", "2"), ["s…", "3f"]),
        (("--grep", "HELLO"), [r"hello é \x1b[31m"]),
        (("--url", "**/other"), []),
    ],
)
def test_show_takes_filters(filled: Path, options: tuple[str, ...], expected: list[str]) -> None:
    shown = wirewright("show", filled, *options).stdout
    for text in expected:
        assert text in shown
    assert len(re.findall("[→←]", shown)) == len(expected)
    assert ("No frame matches." in shown) == (not expected)


def is_one_sentence(run: subprocess.CompletedProcess[str], said: str) -> bool:
    return said in run.stderr and run.stderr.count("\n") == 1 and run.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "gone.db"), "gone.db: there is no such file"),
        (("stats", __file__), "it is not a capture: it is not an SQLite database"),
        (("export", "{file}", "{file}.jsonl"), "there is such a file already"),
        (("captures", "gone"), "gone: there is no such folder"),
    ],
)
def test_files_that_cannot_be_used_are_one_sentence(
    filled: Path, arguments: tuple[str, ...], said: str
) -> None:
    Path(f"{filled}.jsonl").write_text("mine")
    run = wirewright(*(each.replace("{file}", str(filled)) for each in arguments))
    assert run.returncode == 1
    assert is_one_sentence(run, said)
    assert Path(f"{filled}.jsonl").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--since", "later"), "'later' is not a time"),
        (("--since", "25:00"), "'25:00' is not a time"),
        (("--since", "1m", "--since", "2m"), "--since can be given once only"),
        (("--json", "a"), "'a' must be PATH=VALUE"),
        (("--direction", "up"), "'up' is not a direction: it must be sent or received"),
        (("--url", "**/live", "--url", "{a"), "has no '}' after it"),
        (("--socket", "#"), "'#' is not the number of a socket: use 3, #3"),
        (("--session", "first"), "'first' is not the number of a session: use 3, #3 or last"),
    ],
)
@pytest.mark.parametrize("command", ["show", "follow", "stats", "export"])
def test_filters_that_are_none_are_one_sentence(
    filled: Path, command: str, options: tuple[str, ...], said: str
) -> None:
    run = wirewright(command, filled, *(["-"] if command == "export" else []), *options)
    assert run.returncode == 2
    assert is_one_sentence(run, said)


def test_unknown_format_is_one_sentence(filled: Path) -> None:
    run = wirewright("export", filled, "out.xml")
    assert run.returncode == 2
    assert is_one_sentence(run, "out.xml: a capture is exported as .jsonl, .har, .mitm, .parquet")


def test_stats_counts_and_captures_lists(filled: Path) -> None:
    shown = " ".join(wirewright("stats", filled).stdout.split())
    assert "#1 ws://h/live?a=1" in shown
    assert "→ sent 2 16 bytes" in shown
    assert "← received 1 4 bytes" in shown
    assert "2 control frames" in shown
    listed = " ".join(wirewright("captures", filled.parent).stdout.split())
    assert "session.db 1 1 5" in listed
    (filled.parent / "empty").mkdir()
    assert "There is no capture in" in wirewright("captures", filled.parent / "empty").stdout


def test_the_headings_of_stats_fit_a_terminal_of_80_columns(path: Path) -> None:
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/live")
    feed.answered(101, {})
    feed.opened()
    assert feed.tape is not None
    feed.tape.messages(["x" * 100] * 3, 0, direction=Direction.RECEIVED)
    recorder.stop()
    with closing(sqlite3.connect(path)) as database:  # 20 seconds between the messages
        database.execute("UPDATE frames SET time_ns = time_ns + 20000000000 * id")
        database.commit()
    out = io.StringIO()
    captures.show_statistics(Console(file=out, width=80), path, Filter())
    _, heading, *_ = out.getvalue().splitlines()
    assert heading.split() == ["messages", "bytes", "a", "second", "between:", "p50", "p95", "p99"]


def test_export_writes_json_lines(filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run = wirewright("export", filled, out, "--direction", "received")
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [event["event"] for event in events] == ["socket", "frame", "frame"]
    assert wirewright("export", filled, "-", "--direction", "received").stdout == out.read_text()


def test_export_writes_an_http_archive(filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.har"
    run = wirewright("export", filled, out)
    assert run.returncode == 0, run.stderr
    (entry,) = json.loads(out.read_text())["log"]["entries"]
    sent = [message["data"] for message in entry["_webSocketMessages"]]
    assert sent == ["hello é \x1b[31m", "AP8=", "sell"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("out.har", "3 messages"),
        ("out.mitm", "4 messages"),
        ("out.jsonl", "6 frames"),
        ("out.parquet", "6 frames"),
    ],
)
def test_export_says_how_much_is_in_the_file(path: Path, tmp_path: Path, name: str, said: str) -> None:
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/live")
    feed.opened()
    assert feed.tape is not None
    feed.tape.messages(["a", b"b", "c"], 0, direction=Direction.SENT)
    feed.tape.offered("dropped", direction=Direction.RECEIVED)
    feed.tape.settled(None, direction=Direction.RECEIVED)
    feed.tape.controls([(9, b"")], direction=Direction.RECEIVED)
    feed.tape.controls([(8, b"")], direction=Direction.SENT)
    recorder.stop()
    run = wirewright("export", path, tmp_path / name)
    assert run.stdout.startswith(f"{said} in "), run.stderr


def test_reader_that_leaves_early_is_no_error(filled: Path) -> None:
    run = subprocess.run(
        f"{WIREWRIGHT} export {filled} - | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    assert json.loads(run.stdout)["event"] == "socket"
    assert run.stderr == ""


def test_follow_shows_what_comes_until_the_recorder_ends(path: Path) -> None:
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    said = iter(["one", "two"])

    def wait(_: float) -> None:
        """In the place of time: something comes, and in the end nothing more."""
        message = next(said, None)
        if message is None:
            recorder.stop()
        else:
            tape.messages([message], 3, direction=Direction.SENT)
            recorder.flush()

    output = io.StringIO()
    captures.follow(Console(file=output, width=100), path, Filter(grep="o"), None, wait)
    assert re.findall(r"→ +3 B +(\w+)", output.getvalue()) == ["one", "two"]


def test_follow_ends_where_the_recorder_was_killed(filled: Path) -> None:
    with sqlite3.connect(filled) as connection:
        connection.execute("UPDATE sessions SET ended_ns = NULL, seen_ns = seen_ns - 3000000000")
    connection.close()
    output = io.StringIO()
    captures.follow(Console(file=output, width=100), filled, Filter(direction=Direction.RECEIVED), None)
    assert "sell" in output.getvalue()


def test_progress_is_shown_while_frames_are_sorted_and_while_they_are_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.messages(["hello"] * 2000, 10_000, direction=Direction.SENT)
    recorder.stop()
    monkeypatch.setattr(captures, "PROGRESS_AFTER", -1)
    monkeypatch.setattr(read_limits, "STEPS", 100)
    shown: list[tuple[str, float | None, float]] = []

    def watched(watch: captures.Progress) -> None:
        assert watch._bar is not None
        shown.extend((task.description, task.total, task.completed) for task in watch._bar.tasks)

    with Capture(path) as capture, captures.Progress(capture) as watch:
        for _ in watch(Filter().frames(capture)):
            if watch.frames in (0, 1000):
                watched(watch)
        watched(watch)
    assert shown == [("sorting", None, 0), ("frames", 2000, 1000), ("frames", 2000, 2000)]


def test_follow_ends_two_seconds_after_the_last_sign_of_a_recorder_whatever_its_clock(filled: Path) -> None:
    run(filled, f"UPDATE sessions SET ended_ns = NULL, seen_ns = {2**62}")
    waits: list[float] = []
    output = io.StringIO()
    captures.follow(Console(file=output, width=100), filled, Filter(), None, waits.append)
    assert sum(waits) == pytest.approx(2.0)


def test_follow_goes_on_when_the_clock_is_set(filled: Path) -> None:
    """The recorder's times are those of a clock that is set back by an hour, and again forward."""
    run(filled, "UPDATE sessions SET ended_ns = NULL")
    hour = 3600 * 10**9
    beats = [number * 10**9 + (0 if number % 2 else hour) for number in range(50)]
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if beats and len(waits) % 5 == 0:  # once a second
            run(filled, f"UPDATE sessions SET seen_ns = {beats.pop()}")

    captures.follow(Console(file=io.StringIO(), width=100), filled, Filter(), None, wait)
    assert not beats


def test_bad_file_does_not_end_the_list_of_captures(filled: Path) -> None:
    folder = filled.parent
    for number, table in enumerate(("sessions", "sockets", "frames")):
        bad = folder / f"endless-{number}.db"
        bad.write_bytes(filled.read_bytes())
        make_endless(bad, table)
    for name, statement in (
        ("view.db", "CREATE VIEW v AS SELECT 1"),
        ("time.db", "UPDATE sessions SET started_ns = 'x'"),
        ("\x1b[2J.db", "UPDATE sockets SET session_id = 7"),
    ):
        bad = folder / name
        bad.write_bytes(filled.read_bytes())
        run(bad, statement)
    (folder / "cut.db").write_bytes(filled.read_bytes()[:5000])
    run(folder / "notes.db", "CREATE TABLE notes (text)")
    (folder / "link.db").symlink_to("link.db")
    output = io.StringIO()
    captures.list_captures(Console(file=output, width=200), folder)
    shown = output.getvalue()
    assert len(re.findall(r"^session\.db +1 +1 +5 ", shown, re.M)) == 1
    assert len(re.findall(r"\.db: (it is damaged|Wirewright did not make)", shown)) == 7
    assert "notes.db" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "arguments",
    [("show", "{}"), ("stats", "{}"), ("export", "{}", "-"), ("replay", "{}"), ("follow", "{}")],
)
def test_hostile_capture_is_a_sentence(filled: Path, arguments: tuple[str, ...]) -> None:
    make_endless(filled, "frames")
    ended = wirewright(*(each.format(filled) for each in arguments))
    assert ended.returncode == 1
    assert re.sub(r"\s+", " ", ended.stderr).startswith(f"wirewright: {filled}: it is damaged: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["import", "run"])
def test_hostile_capture_does_not_grow(filled: Path, command: str) -> None:
    run(filled, "CREATE TRIGGER t BEFORE INSERT ON frames BEGIN SELECT RAISE(IGNORE); END")
    before = filled.read_bytes()
    if command == "import":
        ended = wirewright("import", archive(filled.parent, entry()), filled)
    else:
        ended = wirewright("run", "-p", "0", "--capture", filled)
    assert ended.returncode in (1, 2)
    assert "Wirewright did not make its 'trigger t'" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    assert filled.read_bytes() == before


async def test_run_records_and_show_shows(confdir: Path, path: Path) -> None:
    command = (
        WIREWRIGHT,
        "run",
        "-p",
        "0",
        "--set",
        f"confdir={confdir}",
        "--capture",
        path,
        "--redact",
        "user",
    )
    async with running(*command) as run, serving() as url:
        port = (await run.line(r"listening on \S*:(\d+)"))[1]
        async with websockets.connect(
            f"{url}/live?user=Ada&token=1", proxy=f"http://127.0.0.1:{port}"
        ) as client:
            await client.send('{"user":"Ada"}')
            await client.recv()
        await run.line("#1 /live .*close +1000 by client")
    shown = wirewright("show", path).stdout
    assert f"{url}/live?user=REDACTED&token=1" in shown
    assert re.search(r'→ +\d+ B +{"user":"REDACTED"}', shown)
    assert "close  1000 by client" in shown


async def test_run_numbers_sockets_as_the_capture_does(confdir: Path, path: Path) -> None:
    command = (WIREWRIGHT, "run", "-p", "0", "--set", f"confdir={confdir}", "--capture", path)
    async with serving() as url:
        for run_number, shown in ((1, "#2 /live"), (2, "#4 /live")):
            async with running(*command, "--url", "**/live", "--url", "**/chat") as run:
                port = (await run.line(r"listening on \S*:(\d+)"))[1]
                for name in ("other", "live?token=1"):
                    client = websockets.connect(f"{url}/{name}", proxy=f"http://127.0.0.1:{port}")
                    async with client as socket:
                        await socket.send(f"run {run_number}")
                        await socket.recv()
                await run.line(f"{shown} .*close +1000 by client")
                assert not any("/other" in line for line in run.lines)
            recorded = wirewright("show", path, "--session", "last", "--grep", f"run {run_number}").stdout
            assert re.search(f"{shown} .*→ .*run {run_number}", recorded)


@pytest.mark.parametrize("number", ["1", "#1", "#7"])
def test_socket_is_chosen_by_the_number_that_is_shown(filled: Path, number: str) -> None:
    arguments = ("--socket", "#9", "--socket", number)
    frames = len(re.findall("[→←]", wirewright("show", filled, *arguments).stdout))
    assert frames == (0 if number == "#7" else 5)


def test_options_that_are_given_twice_mean_any_of_them(filled: Path) -> None:
    def shown(*options: str) -> int:
        return len(re.findall("[→←]", wirewright("show", filled, *options).stdout))

    assert shown("--url", "**/live", "--url", "**/other") == 5
    assert shown("--url", "**/other", "--url", "**/live") == 5
    assert shown("--direction", "sent", "--direction", "received") == 5
    assert shown("--grep", "hello", "--grep", "sell") == 2
    assert shown("--session", "1", "--session", "2") == 5
    lines = wirewright("export", filled, "-", "--grep", "sell", "--grep", "hello").stdout
    assert lines.count('"event":"frame"') == 2


def test_every_time_that_show_prints_is_taken(filled: Path) -> None:
    with sqlite3.connect(filled) as connection:  # of another day, so that there is a heading
        connection.execute("UPDATE frames SET time_ns = time_ns - 172800000000000")
        connection.execute("UPDATE annotations SET time_ns = time_ns - 172800000000000")
        for name in ("started_ns", "seen_ns", "ended_ns"):
            connection.execute(f"UPDATE sessions SET {name} = {name} - 172800000000000")
        for name in ("asked_ns", "opened_ns", "closed_ns"):
            connection.execute(f"UPDATE sockets SET {name} = {name} - 172800000000000")
    connection.close()
    whole = wirewright("show", filled).stdout
    (heading,) = re.findall(r"── session 1, (\S+ \S+), test", whole)
    times = re.findall(r"^(\d\d:\d\d:\d\d\.\d{3}) ", whole, re.MULTILINE)
    assert len(times) == 8
    frames = len(re.findall("[→←]", whole))
    for since in (times[0], heading, f"{heading[:10]} {times[0]}", f"{heading[:10]}T{times[0]}"):
        shown = wirewright("show", filled, "--since", since)
        assert shown.stderr == ""
        assert len(re.findall("[→←]", shown.stdout)) == frames, since
    last = wirewright("show", filled, "--since", times[-1]).stdout
    assert last.splitlines()[-1] == whole.splitlines()[-1]
    first = re.search('"time":(\\d+)', wirewright("export", filled, "-").stdout)
    assert first is not None
    assert len(re.findall("[→←]", wirewright("show", filled, "--since", first[1]).stdout)) == frames


@pytest.mark.parametrize("command", ["show", "follow", "stats", "export", "export to a file"])
def test_reason_is_told_where_nothing_matches(filled: Path, tmp_path: Path, command: str) -> None:
    name, _, is_to_file = command.partition(" ")
    target = [str(tmp_path / "out.jsonl") if is_to_file else "-"] if name == "export" else []
    run = wirewright(name, filled, *target, "--url", "**/other")
    reason = "No frame matches. No URL matches: there are ws://h/live?a=1.\n"
    assert run.returncode == 0
    shown, silent = (run.stderr, run.stdout) if command == "export" else (run.stdout, run.stderr)
    assert reason in shown
    assert "No frame" not in silent


def test_sessions_are_told_apart(filled: Path, tmp_path: Path) -> None:
    control, recorder = Control(Proxy()), Recorder(filled, "another program")
    control.start_recording(recorder)
    tape = begin_socket(control.proxy, "ws://h/later").tape
    assert tape is not None
    tape.messages(["more"], 4, direction=Direction.SENT)
    recorder.stop()
    for command in ("show", "follow", "stats"):
        first = wirewright(command, filled, "--session", "1").stdout
        last = wirewright(command, filled, "--session", "last").stdout
        assert ("/live" in first, "/later" in first) == (True, False), command
        assert ("/live" in last, "/later" in last) == (False, True), command
        assert last == wirewright(command, filled, "--session", "#2").stdout
    for suffix in (".har", ".jsonl", ".mitm"):
        target = tmp_path / f"out{suffix}"
        assert wirewright("export", filled, target, "--session", "last").returncode == 0
        written = target.read_bytes()
        assert (b"/live" in written, b"/later" in written) == (False, True), suffix
