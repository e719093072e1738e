"""A disk that is slow, full or gone: traffic goes on, and the file knows what it lacks."""

import logging
import sqlite3
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from capture.conftest import Record
from support.foreign_recordings import archive, entry
from support.model_sockets import begin_socket
from wirewright.capture import frame_insertion, read_limits, schema, write_queue, writer
from wirewright.capture import open as open_capture
from wirewright.capture.formats.importer import import_file
from wirewright.capture.frame_batches import Messages, Row
from wirewright.capture.recorder import Recorder
from wirewright.capture.rotation import SMALLEST_MAX_SIZE, Rotation
from wirewright.capture.statements import CUT_FIELD, SHORT_TEXT
from wirewright.capture.switch_interval import SHORT_SECONDS
from wirewright.capture.write_queue import Queued
from wirewright.capture.writer import Writer
from wirewright.memory import QUEUE_LEAST, MemoryBudget, MemoryUse
from wirewright.model.proxy_control import Control
from wirewright.model.tape import Tape
from wirewright.values import Direction, Payload


def tape_of(control: Control) -> Tape:
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    return tape


@contextmanager
def held(recorder: Recorder) -> Iterator[None]:
    """The recorder's thread writes nothing meanwhile."""
    going_on, commit = threading.Event(), recorder._writer._commit

    def wait(*arguments: Any) -> None:
        going_on.wait()
        commit(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder._writer, "_commit", wait)
        yield
        going_on.set()


def payloads(path: Path) -> list[object]:
    with open_capture(path) as capture:
        return [frame.payload for frame in capture.frames()]


def test_messages_are_written_in_their_order_whatever_their_number(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    tape = tape_of(control)
    expected: list[str] = []
    for count in (1, 3, 40, 41, 399, 4_000, 4_445, 9_000):
        messages = [f"{len(expected) + number}" for number in range(count)]
        tape.messages(messages, sum(map(len, messages)), direction=Direction.SENT)
        expected += messages
    recorder.stop()
    assert payloads(path) == expected


def test_frames_for_which_there_is_no_room_are_counted(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 262_144)
    recorder = record()
    tape = tape_of(control)
    with held(recorder):
        for number in range(400):
            tape.messages([f"{number:03}" * 300], 900, direction=Direction.SENT)
    tape.messages(["afterwards"], 10, direction=Direction.SENT)
    recorder.stop()
    kept = payloads(path)
    with open_capture(path) as capture:
        gaps = capture.gaps()
    lost = 401 - len(kept)
    assert lost > 0
    assert sum(gap.frames for gap in gaps) == lost
    assert sum(gap.bytes for gap in gaps) >= (lost - 1) * 900
    assert {gap.reason for gap in gaps} == {"more than 0.25 MiB waited to be written"}
    assert f"{path}: more than 0.25 MiB waited to be written: so far 1 frames (900 bytes)" in caplog.text


def test_frames_are_counted_while_all_messages_together_use_up_the_memory(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    budget = MemoryBudget(1_000_000)
    monkeypatch.setattr("wirewright.capture.write_queue.budget", budget)
    recorder = record()
    tape = tape_of(control)
    others = budget.share(MemoryUse.HELD)
    with held(recorder):
        for used, payload in ((0, "x" * QUEUE_LEAST), (950_000, "meanwhile"), (0, "afterwards")):
            others.set(used)
            tape.messages([payload], len(payload), direction=Direction.SENT)
    recorder.stop()
    assert payloads(path) == ["x" * QUEUE_LEAST, "afterwards"]
    with open_capture(path) as capture:
        (gap,) = capture.gaps()
    assert (gap.frames, gap.bytes) == (1, len("meanwhile"))
    assert gap.reason == "all messages together have used up ws_memory"
    assert f"{path}: {gap.reason}: so far 1 frames (9 bytes) were not recorded" in caplog.messages


def test_frames_that_wait_are_part_of_the_memory_that_messages_take(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(100_000_000)
    monkeypatch.setattr("wirewright.capture.write_queue.budget", budget)
    recorder = record()
    tape = tape_of(control)
    with held(recorder):
        for _ in range(10):
            tape.messages(["x" * 100_000], 100_000, direction=Direction.SENT)
        assert budget.used >= 900_000
    recorder.stop()
    assert budget.used == 0


def test_large_message_costs_no_other(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 10_000)
    monkeypatch.setattr(write_queue, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(write_queue, "LARGE_QUEUE_BYTES", 20_000)
    recorder = record()
    tape = tape_of(control)
    with held(recorder):
        sent: list[Payload] = [b"x" * 50_000, *(f"{number:03}" for number in range(100)), "last"]
        for payload in sent:
            tape.messages([payload], len(payload), direction=Direction.SENT)
    recorder.stop()
    assert payloads(path) == sent
    with open_capture(path) as capture:
        assert capture.gaps() == []


def test_large_messages_wait_for_one_another_alone(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 1_048_576)
    monkeypatch.setattr(write_queue, "LARGE_BYTES", 1_000)
    monkeypatch.setattr(write_queue, "LARGE_QUEUE_BYTES", 524_288)
    recorder = record()
    tape = tape_of(control)
    with held(recorder):
        for large in (b"1" * 400_000, b"2" * 300_000, b"3" * 100_000, b"small"):
            tape.messages([large], len(large), direction=Direction.SENT)
    recorder.stop()
    assert [bytes(payload[:1]) for payload in map(as_bytes, payloads(path))] == [b"1", b"3", b"s"]
    with open_capture(path) as capture:
        assert [(gap.frames, gap.bytes, gap.reason) for gap in capture.gaps()] == [
            (1, 300_000, "more than 0.5 MiB waited to be written")
        ]


def test_text_takes_the_room_of_its_characters_in_memory(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 100_000)
    recorder = record()
    tape = tape_of(control)
    wide = "x" * 20_000 + "\U0001f600"  # 20,004 bytes, and four times as many in memory
    with held(recorder):
        for text in (wide, wide, "x" * 10_000):
            tape.messages([text], len(text.encode()), direction=Direction.SENT)
    recorder.stop()
    assert payloads(path) == [wide, "x" * 10_000]
    with open_capture(path) as capture:
        assert [(gap.frames, gap.bytes) for gap in capture.gaps()] == [(1, 20_004)]
    assert recorder._writer.queue.waiting_bytes == 0


def as_bytes(payload: object) -> bytes:
    assert isinstance(payload, bytes)
    return payload


def test_each_loss_keeps_its_own_reason(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    reasons = iter([ValueError("one"), TypeError("another")])
    real = frame_insertion.insert_rows

    def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
        if error := next(reasons, None):
            raise error
        real(connection, rows)

    monkeypatch.setattr(writer, "insert_rows", insert)
    for payload in ("a", "bc", "kept"):
        tape.messages([payload], len(payload), direction=Direction.SENT)
        recorder.flush()
    recorder.stop()
    assert payloads(path) == ["kept"]
    with open_capture(path) as capture:
        assert [(gap.frames, gap.bytes, gap.reason) for gap in capture.gaps()] == [
            (1, 1, "ValueError: one"),
            (1, 2, "TypeError: another"),
        ]


# Faults that pass


def fill_disk(recorder: Recorder) -> None:
    """Let no page be added to the file."""
    recorder.flush()
    connection = recorder._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


@contextmanager
def full_disk(recorder: Recorder) -> Iterator[None]:
    """No page can be added to the file meanwhile."""
    fill_disk(recorder)
    yield
    recorder._writer._connection.execute("PRAGMA max_page_count = 1000000")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno == logging.ERROR]


def test_frames_wait_until_the_disk_has_room_again(
    path: Path, control: Control, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    tape = tape_of(control)
    tape.messages(["before"], 6, direction=Direction.SENT)
    with full_disk(recorder):
        for _ in range(3):
            tape.messages([b"x" * 100_000], 100_000, direction=Direction.RECEIVED)
            recorder.flush()
    tape.messages(["after"], 5, direction=Direction.SENT)
    control.close("1")
    recorder.stop()
    assert payloads(path) == ["before", *[b"x" * 100_000] * 3, "after"]
    with open_capture(path) as capture:
        assert capture.gaps() == []
        assert capture.sockets()[0].closed_ns is not None
    assert errors(caplog) == [
        f"{path}: nothing can be written: the disk is full. "
        "Up to 32 MiB of frames wait until it is possible again"
    ]


def test_frames_wait_until_the_file_is_unlocked(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.0)
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    sent = [f"message {number}" for number in range(50)]
    with closing(sqlite3.connect(path, isolation_level=None)) as disk:
        disk.execute("BEGIN IMMEDIATE")
        for message in sent:
            tape.messages([message], len(message), direction=Direction.SENT)
            recorder.flush()
        disk.execute("COMMIT")
    recorder.stop()
    assert payloads(path) == sent
    with open_capture(path) as capture:
        assert capture.gaps() == []


def test_frames_beyond_the_queue_are_counted_while_the_disk_is_full(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 262_144)
    recorder = record()
    tape = tape_of(control)
    with full_disk(recorder):
        for _ in range(400):
            tape.messages([b"x" * 936], 936, direction=Direction.SENT)  # 1,000 bytes in the queue
            recorder.flush()
    recorder.stop()
    lost = 400 - len(payloads(path))
    assert 100 < lost <= 400 - 262  # a few fit into the pages that are there
    with open_capture(path) as capture:
        assert [(gap.frames, gap.bytes, gap.reason) for gap in capture.gaps()] == [
            (lost, lost * 936, "more than 0.25 MiB waited to be written: the disk is full")
        ]
    assert f"{path}: the disk is full: so far 1 frames (936 bytes) were not recorded" in caplog.messages
    assert (
        f"{path}: {lost} frames ({lost * 936:,} bytes) are not in the capture: "
        f"more than 0.25 MiB waited to be written ({lost})"
    ) in caplog.messages


def test_disk_that_stays_full_leaves_the_count_in_the_log_and_in_the_file(
    path: Path, control: Control, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    tape = tape_of(control)
    fill_disk(recorder)
    for _ in range(3):
        tape.messages([b"x" * 100_000], 100_000, direction=Direction.RECEIVED)
    control.close("1")
    recorder.stop()
    assert payloads(path) == []
    with open_capture(path) as capture:
        assert [(gap.frames, gap.bytes, gap.reason) for gap in capture.gaps()] == [
            (3, 300_000, "the disk is full")
        ]
        assert capture.sockets()[0].closed_ns is not None
        assert capture.sessions()[0].ended_ns is not None
    assert caplog.messages[-1] == (
        f"{path}: 3 frames (300,000 bytes) are not in the capture: the disk is full (3)"
    )


def test_attempt_after_a_failure_is_a_small_one(
    control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    attempts: list[int] = []

    def fail(taken: Sequence[Queued], totals: object) -> None:
        attempts.append(sum(each.size for each in taken if isinstance(each, Messages)))
        raise sqlite3.OperationalError("disk is full")

    monkeypatch.setattr(recorder._writer, "_commit", fail)
    for _ in range(20):
        tape.messages([bytes(writer.RETRY_BYTES // 2)], writer.RETRY_BYTES // 2, direction=Direction.SENT)
    recorder.flush()
    recorder.flush()
    recorder.flush()
    assert attempts[-1] == writer.RETRY_BYTES
    monkeypatch.undo()


def test_fault_amid_attempts_for_single_frames_ends_them(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each of thousands of frames would wait for the lock on its own."""
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    attempts: list[int] = []
    real = frame_insertion.insert_rows

    def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
        rows = list(rows)
        attempts.append(len(rows))
        if len(rows) > 1:
            raise ValueError("one of them cannot be written")
        if len(attempts) == 3:
            raise sqlite3.OperationalError("database is locked")
        real(connection, rows)

    with held(recorder):  # so that they get into one transaction
        for number in range(50):
            tape.messages([f"{number}"], 2, direction=Direction.SENT)
        monkeypatch.setattr(writer, "insert_rows", insert)
    recorder.flush()
    assert attempts == [50, 1, 1]
    recorder.stop()
    assert payloads(path) == [f"{number}" for number in range(50)]


def test_messages_that_were_not_read_are_counted_together(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    tape = tape_of(control)
    with held(recorder):
        waiting = len(recorder._writer.queue)
        for _ in range(10_000):
            tape.too_large()
        assert len(recorder._writer.queue) == waiting
    recorder.stop()
    with open_capture(path) as capture:
        assert sum(gap.frames for gap in capture.gaps()) == 10_000
        assert len(capture.gaps()) <= 2


def test_header_that_is_no_utf_8_harms_nothing(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    feed = begin_socket(control.proxy, "ws://h/\udcff", headers={"x-mine": "\udcff"})
    assert feed.tape is not None
    feed.tape.messages(["hello"], 5, direction=Direction.SENT)
    recorder.stop()
    assert payloads(path) == ["hello"]
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert (socket.url, socket.request_headers.pairs) == ("ws://h/?", (("x-mine", "\udcff"),))


def test_payload_that_no_file_takes_is_missing_alone(
    path: Path, control: Control, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    with held(recorder):  # so that they get into one transaction
        for payload in ("before", "\udcff", "after"):
            tape.messages([payload], len(payload), direction=Direction.SENT)
    control.close("1")
    recorder.stop()
    assert payloads(path) == ["before", "after"]
    with open_capture(path) as capture:
        assert [gap.frames for gap in capture.gaps()] == [1]
        assert capture.sockets()[0].closed_ns is not None
    assert "frames are not recorded: UnicodeEncodeError" in caplog.text


def test_file_that_is_gone_is_said(
    path: Path, control: Control, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    path.unlink()
    for _ in range(2):
        tape.messages(["lost"], 4, direction=Direction.SENT)
        recorder.flush()
    assert caplog.messages.count(f"{path}: frames are not recorded: the file is gone") == 1


def test_flush_of_a_recorder_that_has_ended_waits_for_nobody(record: Record) -> None:
    recorder = record()
    recorder.stop()
    recorder.flush()


@pytest.mark.parametrize(("size", "is_short"), [(writer.LONG_BYTES - 1, False), (writer.LONG_BYTES, True)])
def test_other_threads_wait_less_while_much_is_searched_for_secrets(
    size: int, is_short: bool, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    intervals: list[float] = []

    def rows(self: Messages) -> list[Row]:
        intervals.append(sys.getswitchinterval())
        return []

    monkeypatch.setattr(Messages, "rows", rows)
    recorder = record()
    tape_of(control).messages(["a" * size], size, direction=Direction.SENT)
    recorder.stop()
    expected = SHORT_SECONDS if is_short else sys.getswitchinterval()
    assert intervals == [pytest.approx(expected)]


def test_message_that_cannot_be_looked_through_costs_no_other(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def rows(self: Messages) -> list[Row]:
        if "bad" in self.payloads:
            raise RuntimeError("a mistake of ours")
        return [self._row(payload) for payload in self.payloads]

    monkeypatch.setattr(Messages, "rows", rows)
    recorder = record()
    tape = tape_of(control)
    for message in ("one", "bad", "two"):
        tape.messages([message], 3, direction=Direction.SENT)
    recorder.stop()
    assert payloads(path) == ["one", "two"]
    with open_capture(path) as capture:
        assert [(gap.frames, gap.reason) for gap in capture.gaps()] == [
            (1, "the recorder failed: its log says how")
        ]
    assert "a mistake of ours" in caplog.text


def test_end_waits_for_a_program_that_keeps_the_file_locked(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    tape_of(control)
    recorder.flush()
    with sqlite3.connect(path, isolation_level=None, check_same_thread=False) as disk:
        disk.execute("BEGIN IMMEDIATE")
        letting_go = threading.Timer(1.5, disk.execute, ["COMMIT"])
        letting_go.start()
        recorder.stop()
        letting_go.join()
    disk.close()
    with open_capture(path) as capture:
        assert capture.sessions()[0].ended_ns is not None


def test_recorder_that_was_suspended_does_not_write_into_the_sockets_of_a_newer_session(
    path: Path, control: Control, record: Record, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    tape_of(control).messages(["before"], 6, direction=Direction.SENT)
    recorder.flush()
    with held(recorder):
        recorder._writer._connection.execute("UPDATE sessions SET seen_ns = 0")  # as after a long time
        import_file(archive(tmp_path, entry()), path)
    with open_capture(path) as capture:
        imported = capture.sockets()[1]
    for tape in (begin_socket(control.proxy, key=key).tape for key in "23"):
        assert tape is not None
        tape.messages(["after"], 5, direction=Direction.SENT)
    recorder.stop()
    with open_capture(path) as capture:
        assert capture.sockets()[1:] == [imported]
        assert [frame.payload for frame in capture.frames(socket=imported.id)] == ["hello", b"\0\xff"]
    said = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    why = "another program has begun a session in the file while this one was suspended"
    assert said == [f"{path}: frames are not recorded: {why}"]


# Handshakes


def big_headers(number: int, size: int) -> dict[str, str]:
    return {"x-number": str(number), "x-big": "a" * size}


def test_handshakes_that_wait_are_part_of_the_memory_that_messages_take(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = MemoryBudget(100_000_000)
    monkeypatch.setattr("wirewright.capture.write_queue.budget", budget)
    recorder = record()
    with held(recorder):
        for number in range(10):
            begin_socket(control.proxy, key=str(number), headers=big_headers(number, 100_000))
        assert budget.used >= 1_000_000
    recorder.stop()
    assert budget.used == 0
    with open_capture(path) as capture:
        assert [len(socket.request_headers["x-big"]) for socket in capture.sockets()] == [100_000] * 10
        assert capture.gaps() == []


def test_headers_are_cut_and_counted_while_too_much_waits(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 500_000)
    recorder = record()
    with held(recorder):
        for number in range(50):
            begin_socket(control.proxy, key=str(number), headers=big_headers(number, 100_000))
        assert recorder._writer.queue.room.waiting <= 500_000 + 50 * (2 * SHORT_TEXT + 2_000)
    recorder.stop()
    with open_capture(path) as capture:
        sockets, gaps = capture.sockets(), capture.gaps()
    assert [socket.request_headers["x-number"] for socket in sockets] == [str(number) for number in range(50)]
    cut = [socket for socket in sockets if socket.request_headers["x-big"] == "REDACTED"]
    assert len(cut) >= 45
    assert {(gap.frames, gap.reason) for gap in gaps} == {(0, "headers and other long texts were cut")}
    assert sum(gap.bytes for gap in gaps) == 100_000 * len(cut)
    assert "100,000 bytes of handshakes and remarks were not recorded" in caplog.text


def test_handshakes_beyond_twice_the_queue_are_counted_with_their_frames(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "QUEUE_BYTES", 20_000)
    recorder = record()
    with held(recorder):
        for number in range(200):
            feed = begin_socket(control.proxy, key=str(number), headers=big_headers(number, 1_000))
            assert recorder._writer.queue.room.waiting <= 40_000
        last = feed.tape
        assert last is not None
    recorder.flush()
    last.messages(["of no socket"], 12, direction=Direction.SENT)
    control.close("199", 1000, "", "client")
    recorder.stop()
    with open_capture(path) as capture:
        kept = {socket.id for socket in capture.sockets()}
        assert 10 < len(kept) < 100
        assert list(capture.frames()) == []
        assert sum(gap.frames for gap in capture.gaps()) == 1
        assert sum(gap.bytes for gap in capture.gaps()) >= 1_000 * (200 - len(kept))


def test_headers_that_no_row_can_have_are_cut(
    path: Path, control: Control, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_limits, "ROW_BYTES", 100_000)
    monkeypatch.setattr(write_queue, "LARGEST_TEXT", 20_000)
    recorder = record()
    fields = {"x-odd": "\udcff" * 15_000, **{f"x-{number}": "b" * 900 for number in range(100)}}
    feed = begin_socket(control.proxy, "ws://h/" + "c" * 200_000, headers=fields)
    assert feed.tape is not None
    feed.tape.messages(["hello"], 5, direction=Direction.SENT)
    recorder.stop()
    assert payloads(path) == ["hello"]
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
        gaps = capture.gaps()
    pairs = socket.request_headers.pairs
    assert (pairs[0], pairs[1], pairs[-1]) == (
        ("x-odd", "REDACTED"),
        ("x-0", "b" * 900),
        (CUT_FIELD, "REDACTED"),
    )
    assert socket.url == ("ws://h/" + "c" * 200_000)[:20_000] + "…"
    assert {gap.frames for gap in gaps} == {0}
    assert sum(gap.bytes for gap in gaps) > 180_000 + 15_000


def test_statement_that_no_file_takes_is_counted(
    path: Path, control: Control, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    tape_of(control)
    recorder.flush()
    recorder._writer._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10_000)
    recorder.annotate("x" * 20_000)
    recorder.stop()
    with open_capture(path) as capture:
        (gap,) = capture.gaps()
    assert (gap.frames, gap.bytes) == (0, 20_500)
    assert gap.reason == "DataError: string or blob too big"
    said = (
        f"{path}: 20,500 bytes of handshakes and remarks are not in the capture: {gap.reason} (20,500 bytes)"
    )
    assert said in caplog.messages


# A recorder that fails


def fail(*_: object) -> None:
    raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize("method", ["_end", "_close_target", "_rotate", "next_file", "_lacks_space"])
def test_flush_of_a_recorder_that_has_failed_waits_for_nobody(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    ended: list[Recorder] = []
    recorder = record(max_size=SMALLEST_MAX_SIZE, on_over=ended.append)
    connection = recorder._writer._connection
    tape = tape_of(control)
    recorder.flush()
    if method == "next_file":
        monkeypatch.setattr(Rotation, method, fail)
    elif method == "_close_target":
        monkeypatch.setattr(schema.WritableCapture, "close", fail)
    else:
        monkeypatch.setattr(Writer, method, fail)
    tape.messages(["before"], 6, direction=Direction.SENT)
    recorder.flush()
    recorder.stop()
    tape.messages(["after"], 5, direction=Direction.SENT)
    recorder.flush()
    assert recorder.has_ended
    assert ended == [recorder]
    connection.close()
    assert f"{path}: the recording has ended, as the recorder failed" in caplog.text
    assert "a mistake of ours" in caplog.text


def test_frames_that_cannot_be_read_are_counted_once_however_often_the_rest_is_tried(
    path: Path,
    control: Control,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = Messages.rows

    def read(self: Messages) -> Iterable[Row]:
        if "bad" in self.payloads:
            raise RuntimeError("a mistake of ours")
        return rows(self)

    monkeypatch.setattr(Messages, "rows", read)
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.0)
    recorder = record()
    tape = tape_of(control)
    recorder.flush()
    with full_disk(recorder):
        with held(recorder):
            for message in ("one", "bad", "x" * 100_000, "two"):
                tape.messages([message], len(message), direction=Direction.SENT)
        for _ in range(3):
            recorder.flush()
    recorder.stop()
    assert payloads(path) == ["one", "x" * 100_000, "two"]
    with open_capture(path) as capture:
        assert [(gap.frames, gap.bytes) for gap in capture.gaps()] == [(1, 3)]
    assert caplog.text.count("RuntimeError: a mistake of ours") == 1
    assert recorder._writer.queue.room.waiting == 0
