"""`wirewright import`: what it prints, and its exit codes."""

import subprocess
from pathlib import Path

import pytest
from mitmproxy.addons import savehar
from mitmproxy.test import tflow

from support.foreign_recordings import archive, entry, http_entry, message
from support.forked_programs import MITMDUMP, WIREWRIGHT
from support.time_limits import STEP_SECONDS
from wirewright.capture import open as open_capture


def wirewright(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WIREWRIGHT, *arguments], capture_output=True, text=True, timeout=STEP_SECONDS, check=False
    )


def test_whole_recording_is_one_line(tmp_path: Path) -> None:
    ran = wirewright("import", archive(tmp_path, entry(), entry()), tmp_path / "session.db")
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        0,
        "Imported 2 sockets and 4 messages from chrome.har.\n",
        "",
    )


def test_what_was_left_out_is_said_and_is_not_an_error(tmp_path: Path) -> None:
    odd = entry(_webSocketMessages=[message(data=None), message()])
    ran = wirewright("import", archive(tmp_path, odd, {"request": None}, "\x1b[31m"), tmp_path / "session.db")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "Imported 1 socket and 1 message from chrome.har.",
        "Skipped 2 entries: #2 (no `request`), #3 (not an object).",
        "Skipped 1 message: #1 of entry #1 (no `data`).",
    ]


def test_recording_that_is_cut_off_gives_its_beginning_and_says_so(tmp_path: Path) -> None:
    source = archive(tmp_path, entry(), entry())
    source.write_text(source.read_text()[:-300])
    ran = wirewright("import", source, tmp_path / "session.db")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, second = ran.stdout.splitlines()
    assert first == "Imported 1 socket and 2 messages from chrome.har."
    assert second.startswith(f"The rest of it is missing: {source}: its JSON is incomplete or not valid: ")


@pytest.mark.parametrize("odd", [http_entry(), entry(request=None), {}])
def test_recording_of_which_nothing_can_be_read_is_an_error(tmp_path: Path, odd: object) -> None:
    ran = wirewright("import", archive(tmp_path, odd), tmp_path / "session.db")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "there is no WebSocket in it" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "session.db").exists()


def test_failed_socket_of_chrome_is_shown_as_failed(tmp_path: Path) -> None:
    failed = entry(
        startedDateTime="1969-12-31T23:59:59.000Z",
        response={"status": 0, "headers": []},
        _webSocketMessages=[{"type": "error", "time": 1764103479, "opcode": -1, "data": ""}],
    )
    wirewright("import", archive(tmp_path, failed), tmp_path / "session.db")
    shown = wirewright("show", tmp_path / "session.db").stdout
    assert "✕      error  failed, Chrome gives no reason" in shown
    assert " open " not in shown
    assert "1969" not in shown
    assert "1970" not in shown


def test_socket_that_was_refused_is_shown_as_refused(tmp_path: Path) -> None:
    refused = entry(response={"status": 403, "headers": []}, _webSocketMessages=[])
    wirewright("import", archive(tmp_path, refused), tmp_path / "session.db")
    shown = wirewright("show", tmp_path / "session.db").stdout
    assert "error  Error during WebSocket handshake: Unexpected response code: 403\n" in shown
    assert " open " not in shown


@pytest.mark.parametrize("name", ["x.har", "x.zhar"])
def test_archive_of_mitmproxys_hardump_is_read(tmp_path: Path, name: str) -> None:
    savehar.SaveHar().export_har([tflow.twebsocketflow(), tflow.tflow(resp=True)], str(tmp_path / name))
    ran = wirewright("import", tmp_path / name, tmp_path / "session.db")
    assert ran.stdout == f"Imported 1 socket and 3 messages from {name}.\n"


@pytest.mark.parametrize("status", [0, 200])
def test_mitmproxy_reads_an_export_of_a_socket_without_a_101(tmp_path: Path, status: int) -> None:
    source, capture = archive(tmp_path, entry(response={"status": status})), tmp_path / "session.db"
    wirewright("import", source, capture)
    wirewright("export", capture, tmp_path / "out.mitm")
    again = tmp_path / "again.mitm"
    ran = subprocess.run(
        [MITMDUMP, "--set", f"confdir={tmp_path}", "-n", "-r", tmp_path / "out.mitm", "-w", again],
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=True,
    )
    assert "rror" not in ran.stderr
    assert wirewright("import", again, capture).returncode == 0
    with open_capture(capture) as opened:
        first, second = opened.sockets()
        assert (first.status, second.status) == (status or None, status or None)
        assert first.opened_ns == second.opened_ns
        assert len(list(opened.frames(socket=second.id))) == 2
