"""The commands, as a user types them."""

import asyncio
import os
import re
import shlex
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import websockets

from support.certificates import Certificates, trusting
from support.forked_programs import WIREWRIGHT
from support.mitmproxy_scripts import print_port
from support.model_sockets import begin_socket
from support.processes import BIN, running
from support.servers import serving
from support.time_limits import STEP_MILLISECONDS, STEP_SECONDS
from wirewright.capture.recorder import Recorder
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Direction

INSTALLED = BIN / "wirewright"
"""The program itself, and not one that is forked."""


async def test_run_prints_how_to_use_it_and_the_frames(confdir: Path, certificates: Certificates) -> None:
    trusted = f"ssl_verify_upstream_trusted_ca={certificates.ca_file}"
    command = (INSTALLED, "run", "-p", "0", "--set", f"confdir={confdir}", "--set", trusted)
    async with running(*command) as run, serving(tls=certificates.server_context) as url:
        port = (await run.line(r"listening on \S*:(\d+)"))[1]
        await run.line(f"Trust the CA +{confdir}/mitmproxy-ca-cert.pem")
        tls = trusting(confdir / "mitmproxy-ca-cert.pem")
        async with websockets.connect(f"{url}/live", proxy=f"http://127.0.0.1:{port}", ssl=tls) as client:
            await client.send("hello")
            await run.line(f"#1 /live .*open +{url}/live")
            await run.line("#1 /live .*→ +5 B +hello")
            await run.line("#1 /live .*← +5 B +hello")
        await run.line("#1 /live .*close +1000 by client")


async def test_run_passes_scripts_and_options_on_to_mitmdump(confdir: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from mitmproxy import ctx\n"
        "def running():\n"
        "    o = ctx.options\n"
        "    print('SEEN', o.ws_history, o.connection_strategy, o.flow_detail, flush=True)\n"
    )
    command = (WIREWRIGHT, "run", "-p", "0", "--set", f"confdir={confdir}", "--set", "ws_history=7")
    async with running(*command, "--set", "flow_detail=2", "-s", script) as run:
        found = await run.line(r"SEEN (.*)")
        assert found[1] == "7 lazy 2"


async def test_run_takes_a_configuration_file_and_leaves_the_ca_where_it_is(tmp_path: Path) -> None:
    config = tmp_path / "options.yaml"
    config.write_text("ws_history: 3\nconnection_strategy: eager\nlisten_host: 127.0.0.1\n")
    script = tmp_path / "script.py"
    script.write_text(
        "from mitmproxy import ctx\n"
        "def running():\n"
        "    o = ctx.options\n"
        "    print('SEEN', o.ws_history, o.connection_strategy, o.confdir, flush=True)\n"
    )
    async with running(
        WIREWRIGHT, "run", "-p", "0", "--config", config, "-s", script, HOME=str(tmp_path)
    ) as run:
        found = await run.line(r"SEEN (.*)")
        assert found[1] == "3 eager ~/.mitmproxy"


async def test_run_takes_a_configuration_folder_which_then_has_the_ca(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("listen_host: 127.0.0.1\n")
    async with running(WIREWRIGHT, "run", "-p", "0", "--config", tmp_path) as run:
        await run.line(f"Trust the CA +{tmp_path}/mitmproxy-ca-cert.pem")
    assert (tmp_path / "mitmproxy-ca-cert.pem").exists()


async def test_run_is_silent_when_told_so(confdir: Path) -> None:
    command = (WIREWRIGHT, "run", "-p", "0", "--set", f"confdir={confdir}", "--quiet")
    async with running(*command, "-s", print_port.__file__) as run:
        port = (await run.line(r"PORT (\d+)"))[1]
        proxy = f"http://127.0.0.1:{port}"
        async with serving() as url, websockets.connect(url, proxy=proxy) as client:
            await client.send("hello")
            await client.recv()
        await run.stop()
        assert run.lines == [f"PORT {port}"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--url", "{"], "invalid glob '{'"),
        (["run", "--mode", "nonsense"], "Invalid proxy mode specification: nonsense (unknown mode)"),
        (["run", "-s", "missing.py"], "No such script: missing.py"),
        (["run", "--set", "ws_history=-1"], "ws_history must be 0 or more."),
        (["run", "--config", "missing.yaml"], "'missing.yaml' does not exist"),
        (["run", "--max-preview", "-1"], "Invalid value for '--max-preview'"),
        (["run", "--max-size", "1m"], "Invalid value for --max-size: it goes with --capture"),
        (["run", "--min-free", "1m"], "Invalid value for --min-free: it goes with --capture"),
        (
            ["run", "--capture", "x.db", "--min-free", "some"],
            "ws_capture_min_free must be a size such as 500m or 2g, not 'some'",
        ),
        (
            ["run", "--capture", "x.db", "--min-free", "1000000t"],
            "must stay free (ws_capture_min_free): free some, or set it lower",
        ),
        (
            ["run", "--capture", "x.db", "--max-size", "1 MB"],
            "ws_capture_max_size must be a size such as 500m or 2g, not '1 MB'",
        ),
        (["run", "--capture", "x.db", "--rotate", "2"], "rotate needs a max_size"),
        (["demo", "--nonsense"], "--nonsense"),
    ],
)
async def test_a_bad_argument_gets_a_sentence_and_no_traceback(
    arguments: list[str], sentence: str, confdir: Path
) -> None:
    async with running(WIREWRIGHT, *arguments, cwd=confdir, COLUMNS="200") as run:
        text = await run.rest()
        assert sentence in text
        assert "Traceback" not in text
        assert run.process.returncode not in (0, None)


def record_chat(path: Path) -> None:
    """A capture as an earlier demo has left it."""
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    tape = begin_socket(control.proxy, "wss://localhost/chat").tape
    assert tape is not None
    tape.messages(["of an earlier demo"], 18, direction=Direction.SENT)
    recorder.stop()


def make_older(path: Path, seconds: int) -> None:
    """Have a capture be of so many seconds ago."""
    times = {
        "sessions": ("started_ns", "seen_ns", "ended_ns"),
        "sockets": ("asked_ns", "opened_ns", "closed_ns"),
        "frames": ("time_ns",),
    }
    with sqlite3.connect(path) as connection:
        for table, columns in times.items():
            for column in columns:
                connection.execute(f"UPDATE {table} SET {column} = {column} - ?", (seconds * 1_000_000_000,))
    connection.close()


async def test_the_demo_shows_its_frame_and_leaves_a_capture(tmp_path: Path) -> None:
    record_chat(tmp_path / "demo.db")
    patient = ("--timeout", str(STEP_MILLISECONDS))
    async with running(INSTALLED, "demo", *patient, cwd=tmp_path, COLUMNS="200") as run:
        async with asyncio.timeout(STEP_SECONDS):
            text = await run.rest()
    assert run.process.returncode == 0, text
    assert 'The script got the frame that it waited for: {"symbol": "WIRE", "price": 106.0}' in text
    assert "hello" in text
    assert "close  1000 'bye' by client" in text
    assert "Traceback" not in text
    make_older(tmp_path / "demo.db", 300)  # its commands are typed after five minutes of reading
    commands = [line.strip() for line in text.splitlines() if line.startswith("  ") and "demo.db" in line]
    assert len(commands) == 3
    for command, expected in zip(
        commands, ("how is the market?", "a second", '"event":"frame"'), strict=True
    ):
        assert command.startswith(str(INSTALLED))
        async with running(*shlex.split(command), cwd=tmp_path) as looking:
            said = await looking.rest()
            assert expected in said
            assert "earlier" not in said
            assert '"session":1' not in said
            assert "#1" not in said
            assert looking.process.returncode == 0


@pytest.mark.once("our own code waits for the frame")
async def test_the_demo_fails_when_the_frame_does_not_come(tmp_path: Path) -> None:
    async with running(WIREWRIGHT, "demo", "--timeout", "1500", cwd=tmp_path, COLUMNS="200") as run:
        text = await run.rest()
    assert run.process.returncode == 1, text
    assert "The script did not get its frame: Timeout 1500ms exceeded" in text
    assert "Traceback" not in text


async def test_the_demo_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "trustme.py").write_text("raise ModuleNotFoundError(name='trustme')")
    async with running(INSTALLED, "demo", PYTHONPATH=str(tmp_path)) as run:
        text = await run.rest()
    assert text == "wirewright: the demo needs the package trustme: pip install 'wirewright[demo]'"
    assert run.process.returncode == 1


async def test_run_ends_when_nobody_reads_it_any_more(confdir: Path, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with (tmp_path / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(INSTALLED, "run", "-p", "0", "--set", f"confdir={confdir}"),
            stdout=writing,
            stderr=stderr,
        )
    os.close(writing)
    with open(reading) as stdout:  # noqa: ASYNC230  the first lines come at once
        said = ""
        while "Stop" not in said:
            said += stdout.readline()
    port = re.search(r"listening on \*:(\d+)", said)
    assert port is not None
    async with serving() as url:
        with suppress(OSError, EOFError, websockets.WebSocketException):
            async with websockets.connect(url, proxy=f"http://127.0.0.1:{port[1]}") as client:
                await client.send("a")
                await client.recv()
                await client.wait_closed()
        assert await asyncio.wait_for(process.wait(), STEP_SECONDS) == 0
    said = (
        tmp_path / "stderr"
    ).read_text()  # on Python 3.12.1 asyncio complains of connections that are open
    assert "BrokenPipe" not in said
    assert "SystemExit" not in said


OPTION_WITHOUT_VALUE = re.compile(r"<bool>|BOOLEAN", re.IGNORECASE)
COMMANDS = (
    *("run", "demo", "captures", "show", "follow", "stats", "export", "import", "replay"),
    *("list", "wait", "send", "attach"),
)


def typed(
    *arguments: str, program: Path = WIREWRIGHT, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
        cwd=folder,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "XDG_RUNTIME_DIR": str(folder or "")},
    )


def test_every_command_is_listed() -> None:
    listed = re.findall(
        r"^│ (\w+) ", typed("--help", program=INSTALLED).stdout.partition("Commands")[2], re.MULTILINE
    )
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_options_that_take_no_value_show_none_in_the_help(command: str) -> None:
    shown = typed(*command.split(), "--help")
    assert shown.returncode == 0
    assert "--help" in shown.stdout
    assert not OPTION_WITHOUT_VALUE.search(shown.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        "--nonsense",
        "nonsense",
        *(f"{command} --nonsense" for command in COMMANDS if command != "replay"),
        "replay {capture} --nonsense",
        "replay {capture} --as-client ws://h --nonsense",
        "replay {capture} --match fast",
        "replay {capture} --speed soon",
        "replay {capture} --mode nonsense",
        "replay {capture} --url {",
        "run --mode nonsense",
        "run -p x",
        "run -s missing.py",
        "run --set ws_history=-1",
        "run --remote nonsense",
        "run --rotate 2",
        "run --capture x.db --max-size 1",
        "run --config missing.yaml",
        "run --url {",
        "show",
        "show {capture} {capture}",
        "show {capture} --socket three",
        "follow {capture} --since later",
        "stats {capture} --max-preview 1",
        "export {capture}",
        "export {capture} out.xml",
        "import {capture}",
        "captures . .",
        "list --url {",
        "wait --event message",
        "wait --timeout -1",
        "send",
        "send --to nobody x",
        "attach --endpoint http://h",
    ],
)
def test_mistake_in_a_command_line_ends_with_2(arguments: str, tmp_path: Path) -> None:
    capture = tmp_path / "session.db"
    record_chat(capture)
    run = typed(*(each.replace("{capture}", str(capture)) for each in arguments.split()), folder=tmp_path)
    assert run.returncode == 2, run.stdout + run.stderr
    assert run.stdout.strip() == ""
    assert run.stderr != ""
    assert "Traceback" not in run.stderr
