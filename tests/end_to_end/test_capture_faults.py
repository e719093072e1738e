"""A file that cannot be written for a while, or up to the end: a real proxy with a limit on its files."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.processes import INSTALLED_MITMDUMP, mitmdump
from support.raw_peers import raw_socket
from wirewright.capture import open as open_capture

resource = pytest.importorskip("resource")
needs_limit = pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits other processes")

FAILS = r"nothing can be written: the disk fails"


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond this size in bytes."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program keeps a capture locked."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def messages_in(path: Path) -> list[object]:
    with open_capture(path) as capture:
        assert capture.gaps() == []
        return [frame.payload for frame in capture.frames() if frame.is_message]


@needs_limit
async def test_frames_are_recorded_once_the_file_can_grow_again(confdir: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    sent = [bytes([number]) * 50_000 for number in range(20)]
    async with mitmdump("--set", f"ws_capture={path}", confdir=confdir, program=INSTALLED_MITMDUMP) as (
        run,
        port,
    ):
        async with raw_socket(port) as socket:
            limit_files(run.process.pid, 8_192)
            for message in sent:
                await socket.app.send(message)
                assert await socket.server.message() == message
            await run.line(FAILS)
            limit_files(run.process.pid, resource.RLIM_INFINITY)
            await run.line("frames are recorded again")
        await run.stop()
    assert messages_in(path) == sent


async def test_frames_are_recorded_once_the_file_is_unlocked(confdir: Path, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    sent = [f"message {number}" for number in range(200)]
    async with mitmdump("--set", f"ws_capture={path}", confdir=confdir) as (run, port):
        async with raw_socket(port) as socket:
            with locked(path):
                for message in sent:
                    await socket.app.send(message)
                    assert await socket.server.message() == message
                await run.line("nothing can be written: another program keeps it locked")
            await run.line("frames are recorded again")
        await run.stop()
    assert messages_in(path) == sent


@needs_limit
async def test_frames_that_a_disk_never_takes_are_counted_in_the_last_line_of_the_log(
    confdir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "session.db"
    async with (
        mitmdump("--set", f"ws_capture={path}", confdir=confdir, program=INSTALLED_MITMDUMP) as (run, port),
        raw_socket(port) as socket,
    ):
        limit_files(run.process.pid, 8_192)
        for _ in range(20):
            await socket.app.send(b"x" * 50_000)
            await socket.server.message()
        await run.line(FAILS)
        run.process.terminate()
        printed = await run.rest()
    assert run.process.returncode == 0
    assert (
        "20 frames (1,000,000 bytes) are not in the capture: the disk fails, or the file is gone (20)"
        in printed
    )
