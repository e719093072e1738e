"""A recording ends before the disk of its capture is full."""

import asyncio
import os
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from capture.conftest import Record
from support.model_sockets import begin_socket
from support.processes import mitmdump, running
from support.raw_peers import raw_socket
from support.time_limits import STEP_SECONDS
from wirewright.capture import open as open_capture
from wirewright.capture.errors import CaptureError
from wirewright.capture.free_space import FreeSpace
from wirewright.capture.recorder import Recorder
from wirewright.mitm.capture_session import CaptureSession
from wirewright.model.proxy_control import Control
from wirewright.state import control as the_control
from wirewright.values import Direction

pytestmark = pytest.mark.slow

MIB = 2**20


class Usage(NamedTuple):
    total: int
    used: int
    free: int


class Disk:
    """A disk whose free space a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.total = 1_000 * MIB, 10_000 * MIB
        self.lock = threading.Lock()
        """A test holds it to make several changes before the writer looks at the free space."""
        monkeypatch.setattr(shutil, "disk_usage", self._usage)

    def _usage(self, _: object) -> Usage:
        with self.lock:
            return Usage(self.total, 0, self.free)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_recording_ends_with_a_warning_before_the_disk_is_full(
    path: Path, control: Control, record: Record, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    over = threading.Event()
    recorder = record(min_free=300 * MIB, on_over=lambda _: over.set())
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.messages(["before"], 6, direction=Direction.SENT)
    recorder.flush()
    disk.free = 299 * MIB
    assert over.wait(STEP_SECONDS)
    tape.messages(["after"], 5, direction=Direction.SENT)
    recorder.flush()
    recorder.stop()
    with open_capture(path) as capture:
        assert [frame.payload for frame in capture.frames()] == ["before"]
        (session,) = capture.sessions()
        assert session.ended_ns is not None
        why = "less than 300 MiB would be left free on the disk (ws_capture_min_free)"
        assert [remark.text for remark in capture.annotations()] == [f"the recording ends here: {why}"]
    assert not path.with_name("session.db-wal").exists()
    assert f"{path}: the recording has ended: {why}" in caplog.messages


@pytest.mark.parametrize("is_stopped", [False, True], ids=["by itself", "stopped"])
def test_frames_that_wait_are_written_as_far_as_there_is_room(
    path: Path,
    control: Control,
    record: Record,
    disk: Disk,
    caplog: pytest.LogCaptureFixture,
    is_stopped: bool,
) -> None:
    over = threading.Event()
    recorder = record(min_free=300 * MIB, on_over=lambda _: over.set())
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    with disk.lock:
        for byte in b"\0\1\2":
            tape.messages([bytes([byte]) * 4 * MIB], 4 * MIB, direction=Direction.SENT)
        tape.closed(1.0, None, None, None)
        disk.free = 320 * MIB  # each byte is written twice
        if is_stopped:
            recorder._writer._stopped.set()
    if not is_stopped:
        assert over.wait(STEP_SECONDS)
    recorder.stop()
    why = "less than 300 MiB would be left free on the disk (ws_capture_min_free)"
    with open_capture(path) as capture:
        assert [frame.payload for frame in capture.frames()] == [bytes([byte]) * 4 * MIB for byte in b"\0\1"]
        assert [(gap.frames, gap.bytes, gap.reason) for gap in capture.gaps()] == [(1, 4 * MIB, why)]
        (socket,) = capture.sockets()
        assert socket.closed_ns is not None
    assert f"{path}: 1 frames (4,194,304 bytes) are not in the capture: {why} (1)" in caplog.messages


def test_log_warns_once_while_there_is_still_room(
    path: Path, record: Record, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    space = FreeSpace(path, 300 * MIB)
    disk.free = 599 * MIB
    assert not space.is_short(0)
    assert not space.is_short(0)
    assert caplog.messages == [
        f"{path}: the disk has 599 MiB free; the recording ends when it has less than 300 MiB"
    ]


def test_recording_does_not_begin_on_a_disk_that_is_nearly_full(
    path: Path, record: Record, disk: Disk
) -> None:
    disk.free = 99 * MIB
    said = r"session.db: the disk has 99 MiB free, and 100 MiB must stay free \(ws_capture_min_free\)"
    with pytest.raises(CaptureError, match=said):
        record()
    assert not path.exists()
    record(min_free=99 * MIB)


def test_without_a_limit_the_free_space_does_not_matter(path: Path, record: Record, disk: Disk) -> None:
    record(min_free=0)
    disk.free = 0
    assert not FreeSpace(path, 0).is_short(MIB)


@pytest.mark.parametrize("unknown", ["no total", "an error"])
def test_file_system_that_does_not_tell_sets_no_limit(
    path: Path, record: Record, disk: Disk, monkeypatch: pytest.MonkeyPatch, unknown: str
) -> None:
    disk.free = disk.total = 0
    if unknown == "an error":

        def fail(_: object) -> None:
            raise OSError("not supported")

        monkeypatch.setattr(shutil, "disk_usage", fail)
    record()
    assert not FreeSpace(path, None).is_short(MIB)


def test_limit_is_not_negative(record: Record) -> None:
    with pytest.raises(ValueError, match="min_free must be 0 or more bytes, not -1"):
        record(min_free=-1)


async def test_another_recording_can_begin_after_that_end(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, ended = CaptureSession(), asyncio.Event()
    monkeypatch.setattr(the_control, "stop_recording", lambda _: ended.set())
    session.start(path)
    disk.free = 0
    await ended.wait()
    disk.free = 1_000 * MIB
    session.start(path)
    session.stop()
    with open_capture(path) as capture:
        assert len(capture.sessions()) == 2


def test_another_recording_can_begin_after_that_end_without_an_event_loop(path: Path, disk: Disk) -> None:
    session = CaptureSession()
    session.start(path)
    first = the_control.proxy._state.recordings[None].recorder
    assert isinstance(first, Recorder)
    disk.free = 0
    first.flush()
    first.stop()
    with pytest.raises(CaptureError, match="no capture runs"):
        session.annotate("too late")
    disk.free = 1_000 * MIB
    session.start(path)
    session.stop()
    with open_capture(path) as capture:
        assert len(capture.sessions()) == 2


async def test_recording_that_ends_at_once_is_forgotten(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread may end before `Recorder` has returned."""
    session, ended, made = CaptureSession(), asyncio.Event(), Recorder.__init__

    def make(self: Recorder, *arguments: Any, **options: Any) -> None:
        made(self, *arguments, **options)
        disk.free = 0
        self._writer._thread.join()

    monkeypatch.setattr(Recorder, "__init__", make)
    monkeypatch.setattr(the_control, "stop_recording", lambda _: ended.set())
    session.start(path)
    await ended.wait()
    with pytest.raises(CaptureError, match="no capture runs"):
        session.annotate("too late")


# A real disk


@asynccontextmanager
async def small_disk(folder: Path, mebibytes: int) -> AsyncIterator[None]:
    options = ("-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder)
    async with running("mount", *options) as mounting:
        said = await mounting.rest()
    if mounting.process.returncode:
        pytest.skip(f"no disk can be mounted here: {said}")
    try:
        yield
    finally:
        async with running("umount", "--lazy", folder) as unmounting:
            await unmounting.rest()


needs_mount = pytest.mark.skipif(
    not shutil.which("mount") or os.geteuid() != 0, reason="only root mounts a small disk"
)


@pytest.mark.once("no dependency has a part in it")
@needs_mount
@pytest.mark.parametrize("min_free", ["8m", "0"], ids=["limit", "no limit"])
async def test_capture_on_a_small_disk_is_whole_at_the_end(
    confdir: Path, tmp_path: Path, min_free: str
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    async with small_disk(folder, 24):
        path = folder / "session.db"
        options = ("--set", f"ws_capture={path}", "--set", f"ws_capture_min_free={min_free}")
        async with mitmdump(*options, confdir=confdir) as (run, port), raw_socket(port) as socket:
            for number in range(40):
                await socket.app.send(bytes([number]) * MIB)
                await socket.server.message()
            await run.line("the recording has ended" if min_free == "8m" else "the disk is full")
            await socket.app.send("traffic goes on")
            assert await socket.server.message() == "traffic goes on"
            free = shutil.disk_usage(folder).free
            run.process.terminate()
            printed = await run.rest()
        with open_capture(path) as capture:
            kept = [frame.payload for frame in capture.frames() if frame.is_message]
        assert kept == [bytes([number]) * MIB for number in range(len(kept))]
        if min_free == "8m":
            assert free >= 8 * MIB
            assert len(kept) > 2
        else:
            assert f"{41 - len(kept)} frames (" in printed
