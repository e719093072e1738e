"""The files beside a capture, and captures in folders of other users."""

import os
import sqlite3
import stat
import struct
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from support.foreign_recordings import archive, entry
from wirewright.capture import CaptureError, capture_file, schema
from wirewright.capture import open as open_capture
from wirewright.capture.formats import importer
from wirewright.capture.formats.importer import import_file
from wirewright.capture.recorder import Recorder
from wirewright.capture.records import Socket
from wirewright.capture.rotation import SMALLEST_MAX_SIZE
from wirewright.capture.row_types import socket_row

ENDINGS = ("-journal", "-wal", "-shm")


def beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def hot_journal(path: Path, victim: Path) -> None:
    """A journal whose rollback ends with the deletion of the file that it names as its super-journal
    (https://www.sqlite.org/fileformat2.html#the_rollback_journal)."""
    magic = bytes.fromhex("d9d505f920a163d7")
    pages = max(1, path.stat().st_size // 4096) if path.exists() else 1
    header = magic + struct.pack(">5I", 0, 1, pages, 512, 4096)
    name = os.fsencode(victim)
    locking_page = struct.pack(">I", 1024 * 1024 * 1024 // 4096 + 1)
    trailer = locking_page + name + struct.pack(">2I", len(name), sum(name)) + magic
    beside(path, "-journal").write_bytes(header.ljust(512, b"\0") + trailer)


def snapshot(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """A file of the user's, in the folder of the captures."""
    diary = tmp_path / "diary.txt"
    diary.write_text("dear diary")
    return diary


@pytest.fixture
def capture(path: Path) -> Path:
    """A capture with a session."""
    Recorder(path, "test").stop()
    return path


def record(path: Path) -> None:
    Recorder(path, "test").stop()


def add_an_import(path: Path) -> None:
    import_file(archive(path.parent, entry()), path)


def test_journal_of_the_test_deletes_a_file_if_sqlite_sees_it(capture: Path, diary: Path) -> None:
    hot_journal(capture, diary)
    connection = sqlite3.connect(capture)
    connection.execute("SELECT * FROM sessions").fetchall()
    connection.close()
    assert not diary.exists()


@pytest.mark.parametrize("write", [record, add_an_import])
def test_journal_beside_a_capture_deletes_nothing(
    capture: Path, diary: Path, write: Callable[[Path], None]
) -> None:
    hot_journal(capture, diary)
    before = snapshot(capture.parent)
    with pytest.raises(
        CaptureError, match=r"session\.db-journal: Wirewright did not write it, .* move it away"
    ):
        write(capture)
    with pytest.raises(CaptureError, match=r"session\.db-journal: Wirewright did not write it"):
        open_capture(capture)
    after = snapshot(capture.parent)
    after.pop("recording.har", None)
    assert {name: after.get(name) for name in before} == before


def test_journal_that_appears_while_the_capture_is_opened_deletes_nothing(
    capture: Path, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    check = capture_file._check_companions

    def check_and_lose_the_race(path: Path, *, for_writing: bool) -> None:
        check(path, for_writing=for_writing)
        if not taken:
            # Another user can make a file in a shared folder, but not replace one of ours there.
            taken.append(os.path.lexists(beside(path, "-journal")))

    monkeypatch.setattr(capture_file, "_check_companions", check_and_lose_the_race)
    record(capture)
    assert taken == [True]
    assert sorted(snapshot(capture.parent)) == ["diary.txt", "session.db"]


def replace_journal(path: Path, victim: Path) -> None:
    """As in a folder in which every user can replace files."""
    beside(path, "-journal").unlink(missing_ok=True)
    hot_journal(path, victim)


def test_name_of_the_journal_is_taken_until_the_capture_is_closed(path: Path) -> None:
    """Other users cannot have it then: in a folder with the sticky bit they replace no file of this user."""
    recorder = Recorder(path, "test")
    recorder.annotate("a remark")
    recorder.flush()
    with pytest.raises(FileExistsError):
        beside(path, "-journal").touch(exist_ok=False)
    found = beside(path, "-journal").stat()
    assert (found.st_size, stat.S_IMODE(found.st_mode)) == (0, 0o600)
    recorder.stop()
    assert list(snapshot(path.parent)) == ["session.db"]


def test_second_recorder_that_is_refused_leaves_the_journal_of_the_first(path: Path) -> None:
    recorder = Recorder(path, "test")
    with pytest.raises(CaptureError, match="it is being written by another recorder"):
        add_an_import(path)
    assert beside(path, "-journal").exists()
    recorder.stop()


def test_journal_that_was_deleted_while_recording_is_made_again_at_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(path, "test")
    taken: list[bool] = []
    leave_wal_mode = schema.WritableCapture._leave_wal_mode

    def look_and_leave(self: schema.WritableCapture) -> None:
        leave_wal_mode(self)
        taken.append(beside(path, "-journal").exists())

    monkeypatch.setattr(schema.WritableCapture, "_leave_wal_mode", look_and_leave)
    beside(path, "-journal").unlink()
    recorder.stop()
    assert taken == [True]
    assert list(snapshot(path.parent)) == ["session.db"]


def test_journal_that_appears_while_recording_deletes_nothing(
    path: Path, diary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(path, "test")
    recorder.annotate("still here")
    recorder.flush()
    replace_journal(path, diary)
    planted = beside(path, "-journal").read_bytes()
    recorder.stop()
    assert snapshot(path.parent) == {
        "diary.txt": b"dear diary",
        "session.db": path.read_bytes(),
        "session.db-journal": planted,
    }
    said = f"{path}-journal: another program has made it: delete it before session.db is opened"
    assert said in caplog.messages
    beside(path, "-journal").unlink()
    with open_capture(path) as opened:
        assert [each.text for each in opened.annotations()] == ["still here"]
        assert opened.sessions()[0].ended_ns is not None


@pytest.mark.parametrize("is_refused", [False, True])
def test_journal_that_appears_while_importing_deletes_nothing(
    capture: Path, diary: Path, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    def plant(socket: Socket) -> tuple[object, ...]:
        replace_journal(capture, diary)
        if is_refused:
            raise RuntimeError("a mistake of ours")
        return socket_row(socket)

    monkeypatch.setattr(importer, "socket_row", plant)
    with pytest.raises(RuntimeError) if is_refused else nullcontext():
        add_an_import(capture)
    assert diary.exists()
    beside(capture, "-journal").unlink()
    with open_capture(capture) as opened:
        assert len(opened.sessions()) == (1 if is_refused else 2)


def test_journal_that_appears_before_a_rotation_deletes_nothing(path: Path, diary: Path) -> None:
    recorder = Recorder(path, "test", max_size=SMALLEST_MAX_SIZE)
    replace_journal(path, diary)
    while not path.with_name("session-2.db").exists():
        recorder.annotate("a remark, " * 10_000)
        recorder.flush()
    recorder.stop()
    assert diary.exists()
    beside(path, "-journal").unlink()
    with open_capture(path) as opened:
        assert opened.annotations()[-1].text == "goes on in session-2.db"


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_empty_file", [True, False])
def test_file_that_has_the_name_of_a_new_capture_s_companion_is_neither_read_nor_deleted(
    path: Path, ending: str, is_empty_file: bool
) -> None:
    if is_empty_file:
        path.touch()
    beside(path, ending).write_text("dear diary")
    before = snapshot(path.parent)
    with pytest.raises(CaptureError, match=rf"session\.db{ending}: Wirewright did not write it"):
        record(path)
    assert snapshot(path.parent) == before


def test_next_file_of_a_rotation_has_no_foreign_companions(path: Path, diary: Path) -> None:
    second = path.with_name("session-2.db")
    hot_journal(second, diary)
    recorder = Recorder(path, "test", max_size=SMALLEST_MAX_SIZE)
    while not path.with_name("session-3.db").exists():
        recorder.annotate("a remark, " * 10_000)
        recorder.flush()
    recorder.stop()
    assert diary.exists()
    assert not second.exists()
    assert beside(second, "-journal").exists()


def test_log_of_a_recorder_that_was_killed_is_read_and_goes_on(capture: Path, tmp_path: Path) -> None:
    recorder = Recorder(capture, "test")
    recorder.annotate("before")
    recorder.flush()
    copy = tmp_path / "copy" / "session.db"
    copy.parent.mkdir()
    for ending in ("", "-wal"):
        beside(copy, ending).write_bytes(beside(capture, ending).read_bytes())
    recorder.stop()
    beside(copy, "-journal").touch()  # as of one that was killed while it opened the file
    record(copy)
    assert [each.name for each in copy.parent.iterdir()] == ["session.db"]
    with open_capture(copy) as opened:
        assert [annotation.text for annotation in opened.annotations()] == ["before"]
        assert len(opened.sessions()) == 3


def test_file_that_another_recorder_has_begun_is_not_deleted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find no file, and one of them is the first to add a session."""
    others: list[Recorder] = []
    check_again = capture_file.CaptureFile.check_again

    def let_the_other_be_first(self: capture_file.CaptureFile) -> None:
        check_again(self)
        if not others:
            others.append(Recorder.__new__(Recorder))
            others[0].__init__(path, "first")  # type: ignore[misc]

    monkeypatch.setattr(capture_file.CaptureFile, "check_again", let_the_other_be_first)
    with pytest.raises(CaptureError, match="it is being written by another recorder"):
        Recorder(path, "second")
    others[0].annotate("still here")
    others[0].stop()
    with open_capture(path) as opened:
        assert [each.text for each in opened.annotations()] == ["still here"]


# Shared folders

GiveAway = Callable[[Path], None]


@pytest.fixture
def give_away(monkeypatch: pytest.MonkeyPatch) -> GiveAway:
    """Let a file belong to another user; for a user who may not do that, it looks so."""
    lstat = Path.lstat
    given: set[Path] = set()

    def look(path: Path) -> os.stat_result:
        found = lstat(path)
        return os.stat_result((*found[:4], found.st_uid + 1, *found[5:10])) if path in given else found

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 12_345, -1)
        else:
            given.add(path)
            monkeypatch.setattr(Path, "lstat", look)

    return give


def symbolic_link_to_an_empty_file(path: Path) -> None:
    path.unlink()
    (path.parent / "empty").touch()
    path.symlink_to(path.parent / "empty")


def symbolic_link_to_a_capture(path: Path) -> None:
    path.rename(path.parent / "elsewhere.db")
    path.symlink_to(path.parent / "elsewhere.db")


def hard_link(path: Path) -> None:
    path.with_name("other.db").hardlink_to(path)


def writable_by_all(path: Path) -> None:
    path.chmod(0o666)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


FOREIGN = [
    (symbolic_link_to_an_empty_file, "it is a symbolic link: name the file itself"),
    (symbolic_link_to_a_capture, "it is a symbolic link"),
    (hard_link, "it has another name, too"),
    (writable_by_all, "every user of this machine can write it: run `chmod 600`"),
    (pipe, "it is not a regular file"),
]


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {each.name: (each.lstat().st_mode, each.lstat().st_size) for each in folder.iterdir()}


@pytest.mark.parametrize(("change", "said"), FOREIGN)
def test_capture_that_is_not_this_user_s_alone_does_not_grow(
    capture: Path, change: Callable[[Path], None], said: str
) -> None:
    change(capture)
    before = listing(capture.parent)
    with pytest.raises(CaptureError, match=rf"session\.db: {said}"):
        record(capture)
    assert listing(capture.parent) == before


def test_capture_of_another_user_does_not_grow(capture: Path, give_away: GiveAway) -> None:
    give_away(capture)
    before = snapshot(capture.parent)
    with pytest.raises(CaptureError, match=r"session\.db: it belongs to another user: choose another name"):
        record(capture)
    assert snapshot(capture.parent) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is called by another user")
def test_capture_of_the_user_who_calls_sudo_grows_and_stays_that_user_s(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(capture, 12_345, 12_345)
    monkeypatch.setenv("SUDO_UID", "12345")
    recorder = Recorder(capture, "test")
    recorder.annotate("a remark")
    recorder.flush()
    assert {beside(capture, ending).stat().st_uid for ending in ("", "-wal", "-shm")} == {12_345}
    recorder.stop()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(("change", "said"), FOREIGN)
def test_companion_that_is_not_this_user_s_alone_is_refused(
    capture: Path, ending: str, change: Callable[[Path], None], said: str
) -> None:
    beside(capture, ending).touch()
    change(beside(capture, ending))
    before = listing(capture.parent)
    with pytest.raises(CaptureError, match=rf"session\.db{ending}: {said}"):
        record(capture)
    assert listing(capture.parent) == before


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_new", [True, False])
def test_companion_that_another_user_has_made_first_is_refused(
    path: Path, give_away: GiveAway, ending: str, is_new: bool
) -> None:
    if not is_new:
        record(path)
    beside(path, ending).touch()
    give_away(beside(path, ending))
    before = listing(path.parent)
    with pytest.raises(CaptureError, match=rf"session\.db{ending}: it belongs to another user"):
        record(path)
    assert listing(path.parent) == before


def test_file_that_takes_the_place_of_the_capture_while_it_is_opened_is_refused(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(other := tmp_path / "other.db")
    make_private = capture_file.CaptureFile.make_private

    def replace(self: capture_file.CaptureFile) -> None:
        make_private(self)
        os.replace(other, capture)

    monkeypatch.setattr(capture_file.CaptureFile, "make_private", replace)
    with pytest.raises(CaptureError, match=r"session\.db: another program has replaced it just now"):
        record(capture)


def test_modes_say_nothing_where_every_user_can_replace_files(capture: Path) -> None:
    """As on file systems without modes, where every file has all rights."""
    capture.parent.chmod(0o777)
    capture.chmod(0o666)
    record(capture)
    assert stat.S_IMODE(capture.stat().st_mode) == 0o600


def test_log_of_a_capture_is_its_owner_s_alone(capture: Path) -> None:
    beside(capture, "-wal").touch(0o644)
    capture.chmod(0o644)
    recorder = Recorder(capture, "test")
    for ending in ("", "-wal", "-shm"):
        assert stat.S_IMODE(beside(capture, ending).stat().st_mode) == 0o600
    recorder.stop()


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_reader_makes_no_file_at_the_end_of_a_link(capture: Path, tmp_path: Path, ending: str) -> None:
    with sqlite3.connect(capture) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    beside(capture, ending).symlink_to(tmp_path / "made")
    with pytest.raises(CaptureError, match=rf"session\.db{ending}: it is a symbolic link"):
        open_capture(capture)
    assert not (tmp_path / "made").exists()


def test_capture_is_read_through_a_symbolic_link(capture: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(capture)
    with open_capture(link) as opened:
        assert len(opened.sessions()) == 1


def test_capture_with_the_log_of_a_third_user_is_not_read(capture: Path, give_away: GiveAway) -> None:
    beside(capture, "-wal").touch()
    give_away(beside(capture, "-wal"))
    with pytest.raises(CaptureError, match=r"session\.db-wal: it belongs to another user than session\.db"):
        open_capture(capture)
