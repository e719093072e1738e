"""Traces of Playwright, as its recorder writes them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from support.foreign_recordings import entry, http_entry, message, read
from wirewright.capture import CaptureError
from wirewright.capture.formats.importer import import_file


def snapshot(name: str | None = "resources/x.jsonl", key: str = "_file", **changes: Any) -> dict[str, Any]:
    content = {"size": -1} | ({} if name is None else {key: name})
    found = entry(response={"status": 101, "headers": [], "content": content}, _monotonicTime=1.5) | changes
    del found["_webSocketMessages"]
    return found


def network(*snapshots: object) -> bytes:
    events: list[object] = [{"type": "resource-snapshot", "snapshot": each} for each in snapshots]
    return b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in events)


def lines(*payloads: str) -> bytes:
    return b"".join(json.dumps(message(data=each)).encode() + b"\n" for each in payloads)


def trace(tmp_path: Path, **files: bytes) -> Path:
    source = tmp_path / "trace.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("trace.trace", '{"type":"context-options"}\n')
        for name, data in files.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return source


def test_messages_of_a_trace_are_read(tmp_path: Path, path: Path) -> None:
    source = trace(
        tmp_path,
        trace_dot_network=network(http_entry(), snapshot()),
        resources__x_dot_jsonl=lines("a", "b"),
    )
    ((socket, frames),), report = read(source, path)
    assert socket.url == "wss://h/live?a=1"
    assert [frame.payload for frame in frames] == ["a", "b"]
    assert list(report.sentences()) == []


def test_every_network_file_of_a_trace_is_read(tmp_path: Path, path: Path) -> None:
    # Playwright Test writes one for each context.
    one, two = (
        snapshot("resources/x.jsonl"),
        snapshot("resources/y.jsonl", startedDateTime="2025-11-25T20:45:00Z"),
    )
    files = {"0-trace_dot_network": network(one), "1-trace_dot_network": network(two)}
    source = trace(
        tmp_path, **files, resources__x_dot_jsonl=lines("a"), resources__y_dot_jsonl=lines("b", "c")
    )
    sockets, _ = read(source, path)
    assert [[frame.payload for frame in frames] for _, frames in sockets] == [["a"], ["b", "c"]]


def test_socket_of_two_chunks_comes_once(tmp_path: Path, path: Path) -> None:
    # It is written at the end of the first chunk, here before its first message, and when it closes.
    begun, ended = snapshot(None), snapshot(time=5_000)
    source = trace(
        tmp_path, trace_dot_network=network(begun, http_entry(), ended), resources__x_dot_jsonl=lines("a")
    )
    ((_, frames),), _ = read(source, path)
    assert [frame.payload for frame in frames] == ["a"]


def test_trace_before_version_9_names_its_files_by_their_hash(tmp_path: Path, path: Path) -> None:
    source = trace(
        tmp_path,
        trace_dot_network=network(snapshot("x.jsonl", "_sha1")),
        resources__x_dot_jsonl=lines("a"),
    )
    ((_, frames),), _ = read(source, path)
    assert [frame.payload for frame in frames] == ["a"]


def test_network_file_in_its_folder_is_read(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "trace.network"
    source.write_bytes(network(snapshot()))
    (tmp_path / "resources").mkdir()
    (tmp_path / "resources" / "x.jsonl").write_bytes(lines("a"))
    ((_, frames),), _ = read(source, path)
    assert [frame.payload for frame in frames] == ["a"]


@pytest.mark.parametrize("odd", [b"{\n", b"\xff\n", b"[" * 100_000 + b"\n", network(None), network(7)])
def test_line_that_is_not_an_entry_is_skipped_and_counted(tmp_path: Path, path: Path, odd: bytes) -> None:
    source = trace(
        tmp_path,
        trace_dot_network=odd + b"\n7\n" + network(snapshot()),
        resources__x_dot_jsonl=lines("a"),
    )
    sockets, report = read(source, path)
    assert (len(sockets), report.entries.count) == (1, 1)


def test_trace_that_is_cut_off_gives_its_beginning(tmp_path: Path, path: Path) -> None:
    whole = network(snapshot(), snapshot(_monotonicTime=2.5))
    source = trace(tmp_path, trace_dot_network=whole[:-50], resources__x_dot_jsonl=lines("a")[:-1])
    sockets, report = read(source, path)
    assert [len(frames) for _, frames in sockets] == [1]
    assert list(report.sentences()) == ["Skipped 1 entry: #2 (not JSON)."]


def test_trace_without_websockets_says_so(tmp_path: Path, path: Path) -> None:
    with pytest.raises(CaptureError, match=r"trace\.zip: there is no WebSocket in it$"):
        import_file(trace(tmp_path, trace_dot_network=network(http_entry())), path)
