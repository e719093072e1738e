"""Small files that have rows without end, or values that are larger than the file."""

import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hostile_captures import make_endless, run, share_a_long_value
from support.model_sockets import begin_socket
from wirewright.capture import Capture, CaptureError, read_limits, reader
from wirewright.capture import open as open_capture
from wirewright.capture.events import EventReader
from wirewright.capture.filters import Filter
from wirewright.capture.recorder import Recorder
from wirewright.model.proxy_control import Control
from wirewright.values import Direction


@pytest.fixture
def capture(path: Path, control: Control) -> Path:
    """A capture with some rows in every table."""
    recorder = Recorder(path, "test")
    control.start_recording(recorder)
    for key in "123":
        tape = begin_socket(control.proxy, key=key).tape
        assert tape is not None
        tape.messages(["hello", "there"], 10, direction=Direction.SENT)
        tape.too_large()
        recorder.annotate("a remark")
    recorder.stop()
    return path


READINGS: dict[str, tuple[Callable[[Capture], object], ...]] = {
    "sessions": (Capture.sessions,),
    "sockets": (Capture.sockets,),
    "gaps": (Capture.gaps,),
    "annotations": (Capture.annotations,),
    "frames": (
        Capture.count,
        Capture.spans,
        Capture.index_by_socket,
        lambda capture: list(capture.frames()),
        lambda capture: list(capture.frames(socket=1)),
        lambda capture: list(capture.frames(socket=9)),
        lambda capture: list(Filter().frames(capture)),
        lambda capture: list(Filter(grep="hello").frames(capture)),
        lambda capture: list(EventReader(capture, Filter()).read()),
    ),
}


@pytest.mark.parametrize(
    ("table", "read"), [(table, read) for table, readings in READINGS.items() for read in readings]
)
def test_table_without_end_is_damaged(capture: Path, table: str, read: Callable[[Capture], object]) -> None:
    make_endless(capture, table)
    with open_capture(capture) as opened:
        tracemalloc.start()
        try:
            with pytest.raises(CaptureError, match=r"session\.db: it is damaged"):
                read(opened)
            assert tracemalloc.get_traced_memory()[1] < 32_000_000
        finally:
            tracemalloc.stop()


def test_change_of_an_older_version_ends_at_a_table_without_end(capture: Path) -> None:
    run(capture, "ALTER TABLE sockets DROP COLUMN response_body", "PRAGMA user_version = 1")
    make_endless(capture, "sockets")
    with pytest.raises(CaptureError, match=r"session\.db: it is damaged: it has more rows than fit in it"):
        Recorder(capture, "test")


@pytest.mark.parametrize(
    ("table", "column", "read"),
    [
        ("sessions", "program", Capture.sessions),
        ("annotations", "text", Capture.annotations),
        ("gaps", "reason", Capture.gaps),
        ("frames", "payload", lambda capture: list(capture.frames())),
        ("frames", "payload", lambda capture: list(Filter().frames(capture))),
    ],
)
def test_value_that_many_rows_share_is_damage(
    capture: Path, table: str, column: str, read: Callable[[Capture], object]
) -> None:
    # The row keeps the least of such a value in its own page, so that there is room for more rows.
    run(
        capture,
        f"DELETE FROM {table} WHERE id > 1",
        f"UPDATE {table} SET {column} = replace(hex(zeroblob(512000)), '0', 'x')",
    )
    share_a_long_value(capture, table, 2)
    with (
        open_capture(capture) as opened,
        pytest.raises(CaptureError, match=r"its values are larger than the file"),
    ):
        read(opened)


def test_row_of_more_than_a_capture_can_have_is_not_read(
    capture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(capture, "UPDATE frames SET payload = replace(hex(zeroblob(10000)), '0', 'x')")
    monkeypatch.setattr(read_limits, "ROW_BYTES", 10_000)
    with open_capture(capture) as opened, pytest.raises(CaptureError, match="larger than a capture can have"):
        list(opened.frames())


def test_size_of_a_frame_is_not_trusted(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capture, "UPDATE frames SET size = 0, payload = replace(hex(zeroblob(10000)), '0', 'x')")
    monkeypatch.setattr(reader, "PAGE_BYTES", 50_000)
    with open_capture(capture) as opened:
        pages = list(opened._pages(reader._FRAMES, 0, None, None, 500))
    assert [len(page) for page in pages] == [3, 3]


@pytest.mark.parametrize("read", READINGS["frames"])
def test_interrupt_ends_every_statement(
    capture: Path, read: Callable[[Capture], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_endless(capture, "frames")
    monkeypatch.setattr(read_limits, "STEPS", 100)
    monkeypatch.setattr(read_limits, "LEAST_STEPS", 10**12)
    with open_capture(capture) as opened:
        opened._statement_limit.on_progress = lambda: signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            read(opened)


def test_log_of_a_live_capture_counts_as_its_size(path: Path, control: Control) -> None:
    recorder = Recorder(path, "test")
    control.start_recording(recorder)
    recorder.annotate("a remark, " * 50_000)
    recorder.flush()
    with open_capture(path) as opened:
        assert len(opened.annotations()[0].text) == 500_000
    recorder.stop()


def test_allowance_grows_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    limit = read_limits.SizeLimit(path)
    limit.take(100)
    path.write_bytes(bytes(150))
    limit.take(50)
    with pytest.raises(CaptureError, match="its values are larger than the file"):
        limit.take(1)
