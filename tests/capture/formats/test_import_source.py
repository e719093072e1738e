"""Compressed recordings, zip archives, and the files beside a recording."""

import gzip
import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from support.foreign_recordings import archive, entry, message, read
from wirewright.capture import CaptureError
from wirewright.capture.formats import import_source
from wirewright.capture.formats.import_source import Budget, Inflating
from wirewright.capture.formats.importer import import_file

LINES = b"".join(json.dumps(message(data=each)).encode() + b"\n" for each in ("a", "b"))
"""Messages as Playwright attaches them."""


def har(*entries: object) -> bytes:
    return json.dumps({"log": {"entries": entries}}).encode()


def attaching(name: str) -> dict[str, Any]:
    """An entry whose messages are in a file."""
    found = entry(response={"status": 101, "headers": [], "content": {"_file": name}})
    del found["_webSocketMessages"]
    return found


def in_two_members(data: bytes) -> bytes:
    return gzip.compress(data[:100]) + gzip.compress(data[100:]) + b"\0" * 512


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, in_two_members])
@pytest.mark.parametrize("name", ["session.zhar", "session.har.gz", "session"])
def test_compressed_archive_is_read(
    tmp_path: Path, path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    source = tmp_path / name
    source.write_bytes(pack(har(entry(), entry())))
    sockets, _ = read(source, path)
    assert [len(frames) for _, frames in sockets] == [2, 2]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_flows_are_read(tmp_path: Path, path: Path, pack: Callable[[bytes], bytes]) -> None:
    flows = io.BytesIO()
    FlowWriter(flows).add(tflow.twebsocketflow())
    source = tmp_path / "flows.gz"
    source.write_bytes(pack(flows.getvalue()))
    ((_, frames),), _ = read(source, path)
    assert len(frames) == 3


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_archive_may_begin_with_a_byte_order_mark(tmp_path: Path, path: Path, encoding: str) -> None:
    source = tmp_path / "session.har"
    source.write_text(har(entry(_webSocketMessages=[message(data="é")])).decode(), encoding)
    ((_, (frame,)),), _ = read(source, path)
    assert frame.payload == "é"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_archive_that_is_cut_off_gives_its_beginning(
    tmp_path: Path, path: Path, pack: Callable[[bytes], bytes]
) -> None:
    noise = entry(_webSocketMessages=[message(opcode=2, data=os.urandom(30_000).hex())])
    packed = pack(har(entry(), noise, entry()))
    source = tmp_path / "session.har.gz"
    source.write_bytes(packed[: len(packed) // 2])
    came = import_file(source, path)
    assert came.sockets >= 1
    assert came.cut_off == f"{source}: it cannot be unpacked: its end is missing"


def test_archive_that_inflates_without_end_is_given_up(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_source, "SMALLEST_LIMIT", 16 * 1024 * 1024)
    source = tmp_path / "bomb.har.gz"
    beginning = har(entry()).removesuffix(b"]}}") + b","
    with gzip.open(source, "wb") as file:
        file.write(beginning)
        for _ in range(20):
            file.write(b" " * 1_000_000)
    came = import_file(source, path)
    assert came.sockets == 1
    assert came.cut_off is not None
    assert "it inflates to more than 16 MiB" in came.cut_off


def test_budget_is_spent_over_all_files() -> None:
    budget = Budget(Path("x.zip"), 100)
    budget.spend(60)
    with pytest.raises(CaptureError, match=r"x\.zip: it inflates to more than"):
        budget.spend(60)


def test_inflating_takes_no_more_than_it_is_asked_for() -> None:
    packed = io.BytesIO(zlib.compress(b"\0" * 50_000_000))
    buffer = bytearray(1_000)
    inflating = Inflating(packed)
    assert inflating.readinto(buffer) == 1_000
    assert packed.tell() <= 64 * 1024


@pytest.mark.parametrize(
    ("har_name", "reference", "file_name"),
    [
        ("har.har", "x.jsonl", "x.jsonl"),
        ("har.har", "resources/x.jsonl", "resources/x.jsonl"),
        ("har.har", "./resources//x.jsonl", "resources/x.jsonl"),
        ("har.har", "resources\\x.jsonl", "resources/x.jsonl"),
        ("session/har.HAR", "x.jsonl", "session/x.jsonl"),
        ("session/har.har", "resources/x.jsonl", "resources/x.jsonl"),
    ],
)
def test_messages_are_read_from_files_of_the_zip(
    tmp_path: Path, path: Path, har_name: str, reference: str, file_name: str
) -> None:
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(har_name, har(attaching(reference)))
        file.writestr(f"__MACOSX/._{Path(har_name).name}", b"\0\5\x16\7")
        file.writestr(file_name, LINES)
    ((_, frames),), _ = read(source, path)
    assert [frame.payload for frame in frames] == ["a", "b"]


def test_messages_are_read_from_a_folder_beside_the_archive(tmp_path: Path, path: Path) -> None:
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "x.jsonl").write_bytes(LINES)
    ((_, frames),), _ = read(archive(tmp_path, attaching("resources/x.jsonl")), path)
    assert [frame.payload for frame in frames] == ["a", "b"]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize(
    "reference",
    ["../x.jsonl", "a/../../x.jsonl", "/x.jsonl", "..\\x.jsonl", "C:\\x.jsonl", "link.jsonl", "x\0.jsonl"],
)
def test_file_outside_the_folder_is_not_read(
    tmp_path: Path, path: Path, reference: str, as_zip: bool
) -> None:
    (tmp_path / "x.jsonl").write_bytes(LINES)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.jsonl").symlink_to(tmp_path / "x.jsonl")
    if as_zip:
        source = folder / "session.zip"
        with zipfile.ZipFile(source, "w") as file:
            file.writestr("har.har", har(attaching(reference), entry()))
    else:
        source = archive(folder, attaching(reference), entry())
    sockets, report = read(source, path)
    assert [len(frames) for _, frames in sockets] == [0, 2]
    (said,) = report.sentences()
    assert said.startswith("Skipped 1 value: `_file` of entry #1 (")
    assert ("outside the folder" in said) or reference == "link.jsonl"


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_messages_that_are_not_there_are_counted(tmp_path: Path, path: Path, what: str) -> None:
    if what == "folder":
        (tmp_path / "x.jsonl").mkdir()
    ((socket, frames),), report = read(archive(tmp_path, attaching("x.jsonl")), path)
    assert (socket.status, frames, report.values.count) == (101, [], 1)


def test_line_that_is_not_json_is_skipped_and_counted(tmp_path: Path, path: Path) -> None:
    odd = b'{"type":\n' + b"[" * 100_000 + b'\n{"time": NaN}\n' + b"1" * 5_000 + b"\n\xff\n"
    (tmp_path / "x.jsonl").write_bytes(LINES + odd + LINES)
    ((_, frames),), report = read(archive(tmp_path, attaching("x.jsonl")), path)
    assert [frame.payload for frame in frames] == ["a", "b", "a", "b"]
    assert report.messages.count == 5


def test_damaged_file_in_a_zip_costs_no_other_entry(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w") as file:
        file.writestr("har.har", har(attaching("x.jsonl"), entry()))
        file.writestr("x.jsonl", LINES)
    whole = source.read_bytes()
    source.write_bytes(whole.replace(LINES, LINES.replace(b"1764", b"1765")))  # its checksum is wrong
    sockets, report = read(source, path)
    assert len(sockets[1][1]) == 2
    assert report.values.count == 1


def test_encrypted_zip_is_one_sentence(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w") as file:
        file.writestr("har.har", har(entry()))
    flagged = bytearray(source.read_bytes())
    flagged[6] |= 1
    flagged[flagged.index(b"PK\1\2") + 8] |= 1
    source.write_bytes(flagged)
    with pytest.raises(CaptureError, match=r"session\.zip: it cannot be unpacked: .*password"):
        import_file(source, path)


def test_pipe_is_refused_before_anything_is_read_from_it(tmp_path: Path, path: Path) -> None:
    pipe = tmp_path / "pipe.har"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # else an open would wait for a writer
    with open(pipe, "wb", buffering=0) as file:
        file.write(har(entry()))
        with pytest.raises(CaptureError, match=r"pipe\.har: it is not a file: save the recording in one"):
            import_file(pipe, path)
    assert json.loads(os.read(reader, 100_000))["log"]["entries"]
    os.close(reader)
    assert not path.exists()


def test_dash_is_stdin_and_refused_unless_a_file_has_that_name(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CaptureError, match=r"^-: it is not a file"):
        import_file(Path("-"), path)
    Path("-").write_bytes(har(entry()))
    assert import_file(Path("-"), path).sockets == 1
