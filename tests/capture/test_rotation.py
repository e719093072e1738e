"""A capture that goes on in other files."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from capture.conftest import Record
from support.model_sockets import begin_socket
from wirewright.capture import open as open_capture
from wirewright.capture.recorder import Recorder
from wirewright.model.proxy_control import Control
from wirewright.model.tape import Tape
from wirewright.values import Direction

MIB = 1024 * 1024
PIECE = "x" * 100_000


def fill(recorder: Recorder, tape: Tape | None, count: int) -> Iterator[str]:
    """Record messages that differ, each of a tenth of a megabyte."""
    assert tape is not None
    for number in range(count):
        message = f"{number} {PIECE}"
        tape.messages([message], len(message), direction=tuple(Direction)[number % 2])
        recorder.flush()
        yield message


def files(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def messages(path: Path) -> list[object]:
    with open_capture(path) as capture:
        return [frame.payload for frame in capture.frames()]


def test_full_file_is_followed_by_another(path: Path, control: Control, record: Record) -> None:
    recorder = record(max_size=MIB)
    closed, kept = begin_socket(control.proxy, key="closed"), begin_socket(control.proxy, key="kept")
    said = [*fill(recorder, closed.tape, 3)]
    control.close("closed", 1000, "", "client")
    said += [*fill(recorder, kept.tape, 27)]
    control.close("kept", 3000, "bye", "server")
    recorder.stop()
    assert files(path) == ["session-2.db", "session-3.db", "session.db"]
    paths = [path, path.with_name("session-2.db"), path.with_name("session-3.db")]
    assert [message for each in paths for message in messages(each)] == said
    for number, each in enumerate(paths):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        assert each.stat().st_size < 1.3 * MIB
        with open_capture(each) as capture:
            assert [socket.id for socket in capture.sockets()] == ([1, 2] if number == 0 else [2])
            (session,) = capture.sessions()
            assert session.ended_ns is not None
            last = capture.sockets()[-1]
    assert (last.close_code, last.close_reason) == (3000, "bye")


def test_only_the_newest_files_are_kept(path: Path, control: Control, record: Record) -> None:
    recorder = record(max_size=MIB, rotate=2)
    said = [*fill(recorder, begin_socket(control.proxy).tape, 45)]
    recorder.stop()
    assert files(path) == ["session-4.db", "session-5.db"]
    kept = messages(path.with_name("session-4.db")) + messages(path.with_name("session-5.db"))
    assert kept == said[-len(kept) :]


def test_every_frame_is_in_a_file_with_its_socket_and_every_session_has_ended(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record(max_size=MIB)
    for number in range(200):
        feed = begin_socket(control.proxy, key=str(number))
        assert feed.tape is not None
        feed.tape.messages([PIECE], len(PIECE), direction=Direction.SENT)
        control.close(str(number), 1000, "", "client")
        if number % 3 == 0:
            recorder.flush()
    recorder.stop()
    count = 0
    for each in path.parent.glob("*.db"):
        with open_capture(each) as capture:
            known = {socket.id: socket for socket in capture.sockets()}
            for frame in capture.frames():
                assert known[frame.socket_id].close_code == 1000
                count += 1
            assert all(session.ended_ns is not None for session in capture.sessions())
    assert count == 200


def test_files_that_were_there_are_neither_written_nor_deleted(
    path: Path, control: Control, record: Record
) -> None:
    Recorder(path, "before").stop()
    other = path.with_name("session-2.db")
    other.write_text("dear diary")
    recorder = record(max_size=MIB, rotate=1)
    assert len([*fill(recorder, begin_socket(control.proxy).tape, 30)]) == 30
    recorder.stop()
    assert files(path) == ["session-2.db", "session-4.db", "session.db"]
    assert other.read_text() == "dear diary"


def test_file_grows_on_where_no_other_can_be_made(
    tmp_path: Path, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"{'x' * 244}.db"  # with `-2`, a companion's name is longer than a name may be
    recorder = Recorder(path, "test", max_size=MIB)
    control.start_recording(recorder)
    said = [*fill(recorder, begin_socket(control.proxy).tape, 20)]
    recorder.stop()
    assert messages(path) == said
    assert files(path) == [path.name]
    assert caplog.text.count("the capture grows beyond its max_size: ") == 1


def test_the_file_that_grows_is_named(
    tmp_path: Path, control: Control, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"{'x' * 242}.db"  # the name of a companion is too long with `-10`
    for number in range(3, 10):
        path.with_stem(f"{path.stem}-{number}").write_text("notes")
    recorder = Recorder(path, "test", max_size=MIB)
    control.start_recording(recorder)
    said = [*fill(recorder, begin_socket(control.proxy).tape, 30)]
    recorder.stop()
    second = path.with_stem(f"{path.stem}-2")
    assert messages(path) + messages(second) == said
    assert f"{second}: the capture grows beyond its max_size: " in caplog.text


def test_names_that_are_taken_are_left_out(path: Path, control: Control, record: Record) -> None:
    path.with_name("session-2.db").symlink_to(path.parent / "gone.db")
    path.with_name("session-3.db").mkdir()
    path.with_name("session-4.db-wal").write_text("dear diary")
    recorder = record(max_size=MIB)
    said = [*fill(recorder, begin_socket(control.proxy).tape, 20)]
    recorder.stop()
    assert messages(path) + messages(path.with_name("session-5.db")) == said
    assert path.with_name("session-4.db-wal").read_text() == "dear diary"
    assert not path.with_name("gone.db").exists()
    assert "session-4.db" not in files(path)


def take_the_name(path: Path) -> None:
    """As a user who keeps a capture under another name, and writes notes under its own."""
    path.rename(path.with_name("kept.db"))
    path.write_text("dear diary")
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).write_text("dear diary")


def take_the_inode(path: Path) -> None:
    """As a file system that gives the inode of a deleted file to the next one."""
    path.write_text("dear diary")


@pytest.mark.parametrize("take", [take_the_name, take_the_inode])
def test_notes_that_have_the_name_of_a_rotated_file_are_not_deleted(
    path: Path, control: Control, record: Record, take: Callable[[Path], None]
) -> None:
    recorder = record(max_size=MIB, rotate=2)
    filling = fill(recorder, begin_socket(control.proxy).tape, 60)
    while not path.with_name("session-2.db").exists():
        next(filling)
    take(path)
    notes = {each: each.read_text() for each in path.parent.glob("session.db*")}
    for _ in filling:
        pass
    recorder.stop()
    assert {each: each.read_text() for each in path.parent.glob("session.db*")} == notes
    assert not path.with_name("session-2.db").exists()


def test_notes_that_have_the_name_of_the_file_that_is_written_are_not_deleted(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    list(fill(recorder, begin_socket(control.proxy).tape, 3))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).rename(path.with_name("kept.db" + ending))
    take_the_name(path)
    recorder.stop()
    for ending in ("", "-wal", "-shm"):
        assert path.with_name(path.name + ending).read_text() == "dear diary"
    assert len(messages(path.with_name("kept.db"))) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_size": 1}, r"max_size must be 1,048,576 bytes or more, not 1"),
        ({"max_size": MIB, "rotate": 0}, r"rotate must be 1 file or more, or None for all, not 0"),
        ({"rotate": 2}, r"rotate needs a max_size"),
    ],
)
def test_bad_sizes_are_refused(path: Path, options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recorder(path, "test", **options)  # type: ignore[arg-type]
    assert not path.exists()
