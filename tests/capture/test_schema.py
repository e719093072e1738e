"""Files that are no captures, and those that cannot be written."""

import sqlite3
import stat
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from wirewright.capture import CaptureError, schema
from wirewright.capture import open as open_capture
from wirewright.capture.recorder import Recorder


def text(path: Path) -> None:
    path.write_text("dear diary, " * 100)


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE frames (id)")
    connection.close()


def newer(path: Path) -> None:
    Recorder(path, "test").stop()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
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
        (text, "it is no capture: it is no SQLite database"),
        (other_database, "it is a database, but no capture"),
        (
            newer,
            r"it was written by a newer Wirewright \(version 2 of the file, this one knows 1\)",
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
    assert sum(slept) == pytest.approx(schema.ALIVE_SECONDS, abs=0.1)


def test_file_that_could_not_be_begun_is_not_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_TABLES", "CREATE TABLE nonsense")
    with pytest.raises(CaptureError):
        Recorder(path, "test")
    assert list(path.parent.iterdir()) == []
