"""Files that are no captures, and those that cannot be written."""

import json
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from capture.conftest import Record
from support.model_sockets import begin_socket
from support.time_limits import STEP_SECONDS
from wirewright.capture import CaptureError, schema
from wirewright.capture import open as open_capture
from wirewright.capture.recorder import Recorder
from wirewright.capture.records import ALIVE_SECONDS
from wirewright.model.handshake import Headers
from wirewright.model.proxy_control import Control


def text(path: Path) -> None:
    path.write_text("dear diary, " * 100)


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE frames (id)")
    connection.close()


def newer(path: Path) -> None:
    Recorder(path, "test").stop()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 3")
    connection.close()


def truncated(path: Path) -> None:
    recorder = Recorder(path, "test")
    for _ in range(500):
        recorder.annotate("a remark " * 20)
    recorder.stop()
    path.write_bytes(path.read_bytes()[:10_000])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (text, "it is not a capture: it is not an SQLite database"),
        (other_database, "it is a database, but not a capture"),
        (
            newer,
            r"it was written by a newer Wirewright \(version 3 of the file, this one knows 2\)",
        ),
        (truncated, "it is damaged"),
        (Path.mkdir, "it is a folder|there is no such file"),
    ],
)
def test_file_that_is_no_capture_is_neither_read_nor_touched(
    path: Path, make: Callable[[Path], None], said: str
) -> None:
    make(path)
    path.chmod(0o755)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(CaptureError, match=f"{path.name}: .*({said})"):
        open_capture(path)
    with pytest.raises(CaptureError, match=f"{path.name}: .*({said})"):
        Recorder(path, "test")
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert list(path.parent.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_file_that_is_not_there_is_not_made_to_be_read(path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no such file"):
        open_capture(path)
    assert not path.exists()


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=f"the folder {tmp_path / 'gone'} does not exist"):
        Recorder(tmp_path / "gone" / "session.db", "test")


def test_file_of_another_program_that_is_empty_becomes_a_capture(path: Path) -> None:
    path.touch()
    Recorder(path, "test").stop()
    with open_capture(path) as capture:
        assert len(capture.sessions()) == 1


def test_path_with_characters_that_mean_something_in_a_uri(tmp_path: Path) -> None:
    path = tmp_path / "a?b #c %20.db"
    Recorder(path, "test").stop()
    with open_capture(path) as capture:
        assert len(capture.sessions()) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_session_that_was_seen_in_the_future_is_waited_for_no_longer_than_any(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Recorder(path, "test").stop()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE sessions SET ended_ns = NULL, seen_ns = seen_ns + 3600000000000")
    connection.close()
    slept: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append, time_ns=time.time_ns)
    monkeypatch.setattr(schema, "time", clock)
    Recorder(path, "test").stop()
    assert sum(slept) == pytest.approx(ALIVE_SECONDS, abs=0.1)


def test_file_that_could_not_be_begun_is_not_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "TABLES", "CREATE TABLE nonsense")
    with pytest.raises(CaptureError):
        Recorder(path, "test")
    assert list(path.parent.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from wirewright.capture import schema
from wirewright.capture.capture_file import CaptureFile
from wirewright.capture.recorder import Recorder

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

path, where = Path(sys.argv[1]), sys.argv[2]
recorder = Recorder(path, "test", max_size=1024 * 1024)
setattr(CaptureFile if hasattr(CaptureFile, where) else schema, where, die)
while True:
    recorder.annotate("a remark, " * 10_000)
    recorder.flush()
"""
"""A program that is killed while it goes on in the next file."""


@pytest.mark.parametrize("where", ["make_private", "_enter_wal_mode", "check_again", "_make_tables"])
def test_file_of_a_rotation_that_was_killed_is_empty_and_the_next_recorder_takes_it(
    path: Path, where: str
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, path, where], check=False, timeout=STEP_SECONDS)
    assert killed.returncode == -signal.SIGKILL
    following = path.with_name("session-2.db")
    assert following.exists()
    with pytest.raises(CaptureError, match=r"session-2\.db: it is empty: its recorder ended before it wrote"):
        open_capture(following)
    Recorder(following, "test").stop()
    with open_capture(following) as capture:
        assert len(capture.sessions()) == 1
    assert sorted(each.name for each in path.parent.glob("session-2.db*")) == ["session-2.db"]
    with open_capture(path) as capture:
        assert capture.annotations()


def version_1(path: Path) -> None:
    """A capture of the version before: headers by lower-case name, and no `response_body`."""
    Recorder(path, "test").stop()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE sockets DROP COLUMN response_body")
        connection.execute(
            "INSERT INTO sockets (session_id, url, asked_ns, request_headers, response_headers, status) "
            "VALUES (1, 'ws://h/', 5, ?, ?, 101)",
            ('{"host": "h", "x-odd": "\\u00e9 \\"\\\\", "cookie": "a=1, b=2"}', '{"set-cookie": "c, d"}'),
        )
        connection.execute(
            "INSERT INTO sockets (session_id, url, asked_ns, request_headers) VALUES (1, 'ws://h/2', 6, '{}')"
        )
        connection.execute("PRAGMA user_version = 1")
    connection.close()


OLD_FIELDS = (("host", "h"), ("x-odd", 'é "\\'), ("cookie", "a=1, b=2"))


def test_capture_of_the_version_before_is_read_as_it_is(path: Path) -> None:
    version_1(path)
    before = path.read_bytes()
    with open_capture(path) as capture:
        first, second = capture.sockets()
    assert first.request_headers.pairs == OLD_FIELDS
    assert (first.response_headers or Headers()).pairs == (("set-cookie", "c, d"),)
    assert first.response_body is None
    assert (second.request_headers.pairs, second.response_headers) == ((), None)
    assert path.read_bytes() == before


def test_capture_of_the_version_before_grows_by_a_session_of_this_version(
    path: Path, control: Control, record: Record
) -> None:
    version_1(path)
    with open_capture(path) as reader:
        recorder = record()
        feed = begin_socket(control.proxy, headers=Headers([("A", "1"), ("a", "2")]))
        feed.answered(503, {}, b"busy")
        recorder.stop()
        assert len(reader.sockets()) == 3  # it was opened before
    with open_capture(path) as capture:
        first, _, third = capture.sockets()
    assert first.request_headers.pairs == OLD_FIELDS
    assert (first.response_headers or Headers()).pairs == (("set-cookie", "c, d"),)
    assert first.response_body is None
    assert (third.request_headers.pairs, third.response_body) == ((("A", "1"), ("a", "2")), b"busy")
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        rows = connection.execute("SELECT request_headers FROM sockets WHERE id = 1").fetchall()
    connection.close()
    assert json.loads(rows[0][0])[0] == ["host", "h"]


def test_damaged_capture_of_the_version_before_is_left_as_it_is(path: Path) -> None:
    version_1(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE sockets SET request_headers = '{' WHERE id = 1")
    connection.close()
    with pytest.raises(CaptureError, match=r"session\.db: it is damaged"):
        Recorder(path, "test")
    with open_capture(path) as capture, pytest.raises(CaptureError, match=r"session\.db: it is damaged"):
        capture.sockets()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    connection.close()
