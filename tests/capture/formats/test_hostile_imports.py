"""Files that were made to crash an import, to hang it or to fill the memory."""

import gzip
import io
import json
import signal
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from support.foreign_recordings import archive, entry, message, read, with_message
from wirewright.capture import CaptureError
from wirewright.capture.formats import bounded_json, har_import, import_source
from wirewright.capture.formats.importer import import_file

NUMBERS = ["1e999000", "-1e999000", "1e-999000", "9" * 5_000, "1e99999999999999999999"]
HERE = "@here@"


def har(*entries: object) -> bytes:
    return json.dumps({"log": {"entries": entries}}).encode()


def attaching(name: str) -> dict[str, Any]:
    """An entry whose messages are in a file beside the archive."""
    whole = entry(response={"status": 101, "headers": [], "content": {"_file": name}})
    del whole["_webSocketMessages"]
    return whole


def write_with_number(tmp_path: Path, whole: dict[str, Any], number: str) -> Path:
    """An archive in which HERE is a number."""
    source = tmp_path / "numbers.har"
    source.write_text(har(whole, entry()).decode().replace(f'"{HERE}"', number))
    return source


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize("key", ["time", "opcode", "_size", "_flags", "type", "data"])
def test_number_of_any_size_costs_at_most_its_message(
    tmp_path: Path, path: Path, key: str, number: str
) -> None:
    whole = entry(_webSocketMessages=[message(**{key: HERE}), message(data="b")])
    sockets, report = read(write_with_number(tmp_path, whole, number), path)
    kept = [frame.payload for frame in sockets[0][1]]
    assert kept[-1] == "b"
    assert len(kept) + report.messages.count == 2
    assert len(sockets[1][1]) == 2


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
@pytest.mark.parametrize(
    "changes",
    [
        {"startedDateTime": HERE},
        {"time": HERE},
        {"timings": {"wait": HERE}},
        {"response": {"status": HERE, "headers": [{"name": "x", "value": HERE}]}},
        {"_webSocketClose": {"code": HERE, "timestamp": HERE}},
        {"_wirewright": {"opened_ns": HERE, "close_code": HERE}},
        {"serverIPAddress": HERE, "_resourceType": HERE},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_number_of_any_size_costs_no_socket(
    tmp_path: Path, path: Path, changes: dict[str, Any], number: str
) -> None:
    sockets, _ = read(write_with_number(tmp_path, entry(**changes), number), path)
    assert [len(frames) for _, frames in sockets] == [2, 2]


@pytest.mark.parametrize("number", [number.encode() for number in NUMBERS], ids=lambda number: number[:12])
def test_number_of_any_size_in_an_attached_line_costs_at_most_its_message(
    tmp_path: Path, path: Path, number: bytes
) -> None:
    good = json.dumps(message()).encode()
    (tmp_path / "x.jsonl").write_bytes(good.replace(b"1764103478", number) + b"\n" + good + b"\n" + number)
    ((_, frames),), _ = read(archive(tmp_path, attaching("x.jsonl")), path)
    assert [frame.payload for frame in frames] == ["a", "a"]


def memory_of(import_it: Callable[[], object]) -> int:
    """The largest number of bytes that Python objects took during an import."""
    tracemalloc.start()
    try:
        import_it()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_messages_that_are_not_messages_take_no_memory(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "empty.har"
    source.write_bytes(har(entry(_webSocketMessages=[HERE])).replace(b'"@here@"', b"{}" + b",{}" * 200_000))
    assert memory_of(lambda: import_file(source, path)) < 10_000_000


def test_entry_that_is_too_large_is_skipped_and_counted(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_VALUE", 1024 * 1024)
    sockets, report = read(archive(tmp_path, entry(), entry(x=[[]] * 50_000), entry()), path)
    assert len(sockets) == 2
    assert list(report.sentences()) == ["Skipped 1 entry: #2 (larger than 1 MiB)."]


def test_message_that_is_too_large_is_skipped_and_counted(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_VALUE", 1024 * 1024)
    messages = [message(), message(x=[[]] * 50_000), message(data="b")]
    ((_, frames),), report = read(archive(tmp_path, entry(_webSocketMessages=messages)), path)
    assert [frame.payload for frame in frames] == ["a", "b"]
    assert list(report.sentences()) == ["Skipped 1 message: #2 of entry #1 (larger than 1 MiB)."]


def test_text_that_is_too_long_is_skipped_and_counted(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_STRING", 1024 * 1024)
    messages = [message(), message(data="a" * 1_100_000), message(data="b" * 1_000_000)]
    ((_, frames),), report = read(archive(tmp_path, entry(_webSocketMessages=messages)), path)
    assert [frame.size for frame in frames] == [1, 1_000_000]
    assert list(report.sentences()) == [
        "Skipped 1 message: #2 of entry #1 (no `data`).",
        "It was read without 1 string that is longer than 1 MiB.",
    ]


def test_attached_line_that_is_too_long_is_skipped_and_counted(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_STRING", 1024 * 1024)
    good = json.dumps(message()).encode() + b"\n"
    (tmp_path / "x.jsonl").write_bytes(good + b"[" + b"{}," * 400_000 + b"{}]\n" + good)
    ((_, frames),), report = read(archive(tmp_path, attaching("x.jsonl")), path)
    assert len(frames) == 2
    assert list(report.sentences()) == ["Skipped 1 message: #2 of entry #1 (longer than 1 MiB)."]


def test_snapshot_of_a_trace_that_is_too_large_is_skipped_and_counted(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_json, "LARGEST_VALUE", 1024 * 1024)
    odd = entry(_monotonicTime=[[[]]] * 50_000)
    snapshots = [{"type": "resource-snapshot", "snapshot": each} for each in (entry(), odd, entry())]
    source = tmp_path / "trace.network"
    source.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in snapshots))
    sockets, report = read(source, path)
    assert len(sockets) == 2
    assert list(report.sentences()) == ["Skipped 1 entry: #2 (larger than 1 MiB)."]


def test_header_of_a_million_lines_is_left_out(tmp_path: Path, path: Path) -> None:
    request = entry()["request"]
    request["headers"].append({"name": "X", "value": "\n" * 1_000_000})
    ((socket, _),), report = read(archive(tmp_path, entry(request=request)), path)
    assert [name for name, _ in socket.request_headers.pairs] == ["Host", "Cookie"]
    assert list(report.sentences()) == [
        f"Skipped 1 value: `request.headers` of entry #1 (more than {har_import.MOST_FIELDS:,} fields)."
    ]


def test_base64_with_a_space_after_each_character_takes_a_small_multiple_of_its_size(
    tmp_path: Path, path: Path
) -> None:
    data = "A " * 1_000_000
    source = archive(tmp_path, with_message(opcode=2, data=data))
    assert memory_of(lambda: import_file(source, path)) < 12 * len(data)


def test_url_that_is_too_long_is_skipped_before_it_is_parsed(tmp_path: Path, path: Path) -> None:
    request = {"url": f"wss://{'ä' * 300_000}/", "headers": []}
    sockets, report = read(archive(tmp_path, entry(request=request), entry()), path)
    assert len(sockets) == 1
    assert list(report.sentences()) == ["Skipped 1 entry: #1 (its URL is longer than 256 KiB)."]


def test_archive_with_a_nan_is_read_entry_by_entry(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "nan.har"
    source.write_text(json.dumps({"log": {"entries": [entry(time=float("nan"))] * 3}}), "utf-16")
    sockets, _ = read(source, path)
    assert len(sockets) == 3


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["har.har", "trace.network"])
def test_zip_of_a_method_that_inflates_at_once_is_refused(
    tmp_path: Path, path: Path, method: int, name: str
) -> None:
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w", method) as file:
        file.writestr(name, b" " * 10_000_000)
    with pytest.raises(CaptureError, match=f"^{name}: it is not packed by deflate: unpack the zip"):
        import_file(source, path)


def test_attached_file_of_a_method_that_inflates_at_once_costs_its_messages_only(
    tmp_path: Path, path: Path
) -> None:
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w") as file:
        file.writestr("har.har", har(attaching("x.jsonl"), entry()))
        file.writestr("x.jsonl", b" " * 10_000_000, zipfile.ZIP_BZIP2)
    sockets, report = read(source, path)
    assert [len(frames) for _, frames in sockets] == [0, 2]
    assert "x.jsonl: it is not packed by deflate" in " ".join(report.sentences())


def test_member_of_a_zip_that_inflates_without_end_costs_its_messages_only(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_source, "SMALLEST_MEMBER_LIMIT", 1024 * 1024)
    monkeypatch.setattr(import_source, "LIMIT_RATIO", 10)
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("har.har", har(attaching("x.jsonl"), entry()))
        file.writestr("x.jsonl", json.dumps(message()).encode() + b"\n" + b" " * 3_000_000)
    sockets, report = read(source, path)
    assert [len(frames) for _, frames in sockets] == [1, 2]
    assert "x.jsonl: it inflates to more than 1 MiB" in " ".join(report.sentences())


def test_zip_is_bounded_in_total_too(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_source, "SMALLEST_LIMIT", 3 * 1024 * 1024)
    monkeypatch.setattr(import_source, "LIMIT_RATIO", 1)
    source, lines = tmp_path / "session.zip", (json.dumps(message()) + " " * 500 + "\n") * 1_000
    with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("har.har", har(*[attaching(f"{number}.jsonl") for number in range(20)]))
        for number in range(20):
            file.writestr(f"{number}.jsonl", lines)
    sockets, report = read(source, path)
    assert 0 < sum(len(frames) for _, frames in sockets) <= 3 * 1024 * 1024 / 500
    assert report.values.count > 10


@pytest.mark.parametrize(
    "odd",
    [
        b"2:" + b"]" * 2 + b"]",
        b"12:-1:-1:-1:]]]]",
        b"5000:" + b"9" * 5_000 + b"#",
        b"%d:%s]" % (3 * 30_000, b"0:]" * 30_000),
    ],
    ids=["no size", "negative size", "long number", "many values"],
)
def test_flow_of_any_form_costs_no_other(
    tmp_path: Path, path: Path, odd: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wirewright.capture.formats.flow_records.MOST_VALUES", 20_000)
    good = io.BytesIO()
    FlowWriter(good).add(tflow.twebsocketflow())
    source = tmp_path / "flows.mitm"
    source.write_bytes(good.getvalue() + odd + good.getvalue())
    sockets, report = read(source, path)
    assert (len(sockets), report.entries.count) == (2, 1)


def write_har(tmp_path: Path) -> Path:
    return archive(tmp_path, *[entry()] * 1_000)


def write_gzip(tmp_path: Path) -> Path:
    (source := tmp_path / "x.har.gz").write_bytes(gzip.compress(har(*[entry()] * 1_000)))
    return source


def write_zip(tmp_path: Path) -> Path:
    with zipfile.ZipFile(source := tmp_path / "x.zip", "w") as file:
        file.writestr("x.har", har(*[entry()] * 1_000))
    return source


def write_trace(tmp_path: Path) -> Path:
    line = json.dumps({"type": "resource-snapshot", "snapshot": entry()}, separators=(",", ":")) + "\n"
    (source := tmp_path / "x.network").write_text(line * 1_000)
    return source


def write_flows(tmp_path: Path) -> Path:
    flow = io.BytesIO()
    FlowWriter(flow).add(tflow.twebsocketflow())
    (source := tmp_path / "x.mitm").write_bytes(flow.getvalue() * 500)
    return source


@pytest.mark.parametrize("write", [write_har, write_gzip, write_zip, write_trace, write_flows])
def test_ctrl_c_ends_an_import_and_takes_it_back(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    source, reads = write(tmp_path), 0
    plain_read = import_source._Counted.readinto

    def interrupted(self: import_source._Counted, buffer: Any) -> int:
        nonlocal reads
        reads += 1
        if reads == 6:  # after the first sockets were written
            signal.raise_signal(signal.SIGINT)
        return plain_read(self, buffer)

    monkeypatch.setattr(import_source._Counted, "readinto", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_file(source, path)
    assert reads == 6
    assert list(tmp_path.glob("session.db*")) == []
