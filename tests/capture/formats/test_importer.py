"""What others have recorded, and files that they have not."""

import io
import json
import stat
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from support.foreign_recordings import BEGINNING_NS, archive, entry, http_entry, imported, with_message
from wirewright.capture import CaptureError, FrameFlag, Socket, free_space
from wirewright.capture import open as open_capture
from wirewright.capture.formats.importer import import_file
from wirewright.capture.recorder import Recorder
from wirewright.model.handshake import Headers


def test_archive_of_chrome_becomes_a_session(tmp_path: Path, path: Path) -> None:
    ((socket, (text, binary)),) = imported(archive(tmp_path, http_entry(), entry(), http_entry()), path)
    assert socket == Socket(
        id=1,
        session_id=1,
        url="wss://h/live?a=1",
        asked_ns=BEGINNING_NS,
        opened_ns=BEGINNING_NS + 12_500_000,
        closed_ns=BEGINNING_NS + 30_000_250_000,
        request_headers=Headers([("Host", "h"), ("Cookie", "a=b")]),
        response_headers=Headers([("Sec-WebSocket-Protocol", "chat"), ("X", "1"), ("x", "2")]),
        status=101,
        subprotocol="chat",
        extensions=None,
        client_address=None,
        server_address="10.0.0.1",
        close_code=None,
        close_reason=None,
        closed_by=None,
        error=None,
    )
    assert (text.direction, text.opcode, text.payload, text.size) == ("sent", 1, "hello", 5)
    assert (binary.direction, binary.opcode, binary.payload) == ("received", 2, b"\x00\xff")
    assert binary.time_ns == BEGINNING_NS + 123_456_000
    with open_capture(path) as capture:
        (session,) = capture.sessions()
    assert session.program.endswith("from chrome.har")
    assert (session.started_ns, session.ended_ns) == (socket.asked_ns, socket.closed_ns)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"response": {"status": 0, "headers": [], "_error": "net::ERR"}}, (None, None, "net::ERR")),
        ({"response": {"status": -1, "headers": [], "_failureText": "net::ERR"}}, (None, None, "net::ERR")),
        ({"response": {"status": 403, "headers": [], "_error": None}}, (403, {}, None)),
    ],
)
def test_sockets_that_failed_are_kept(
    tmp_path: Path, path: Path, changes: dict[str, Any], expected: object
) -> None:
    ((socket, frames),) = imported(archive(tmp_path, entry(_webSocketMessages=[], **changes)), path)
    assert (socket.status, socket.response_headers, socket.error) == expected
    assert (socket.opened_ns, frames) == (None, [])


def test_errors_of_chrome_are_no_messages(tmp_path: Path, path: Path) -> None:
    error = {"type": "error", "time": 1764103478, "opcode": -1, "data": "Error during WebSocket handshake"}
    ((socket, frames),) = imported(archive(tmp_path, entry(_webSocketMessages=[error])), path)
    assert (socket.error, frames) == ("Error during WebSocket handshake", [])


@pytest.mark.parametrize(
    ("time", "expected"),
    [(1764103477123.25, 123_250_000), (1764103477123, 123_000_000), (1764103477, 0), (-1, 0)],
)
def test_times_may_be_in_milliseconds_or_missing(
    tmp_path: Path, path: Path, time: float, expected: int
) -> None:
    message = {"type": "send", "time": time, "opcode": 1, "data": ""}
    ((_, (frame,)),) = imported(archive(tmp_path, entry(_webSocketMessages=[message])), path)
    assert frame.time_ns - BEGINNING_NS == expected


def test_half_a_surrogate_pair_is_no_text(tmp_path: Path, path: Path) -> None:
    message = {"type": "send", "time": 1764103477, "opcode": 1, "data": "a\ud800b"}
    ((_, (frame,)),) = imported(archive(tmp_path, entry(_webSocketMessages=[message])), path)
    assert frame.payload in ("a?b", "a\ufffdb")


def test_flows_of_mitmproxy_become_a_session(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "flows.mitm"
    flow = tflow.twebsocketflow()
    assert flow.websocket is not None
    with source.open("wb") as file:
        for each in (tflow.tflow(resp=True), flow, tflow.ttcpflow()):
            FlowWriter(file).add(each)
    ((socket, frames),) = imported(source, path)
    assert socket.url == "ws://example.com/ws"
    assert (socket.close_code, socket.status) == (flow.websocket.close_code, 101)
    assert [(frame.direction, frame.opcode, frame.payload) for frame in frames] == [
        ("sent", 2, b"hello binary"),
        ("sent", 1, "hello text"),
        ("received", 1, "it's me"),
    ]


def test_capture_that_is_there_grows(tmp_path: Path, path: Path) -> None:
    Recorder(path, "test").stop()
    source = archive(tmp_path, entry())
    for _ in range(2):
        import_file(source, path)
    with open_capture(path) as capture:
        assert [socket.session_id for socket in capture.sockets()] == [2, 3]
        assert [frame.socket_id for frame in capture.frames()] == [1, 1, 2, 2]
        assert all(session.is_over for session in capture.sessions())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("opened_ns", "abc", BEGINNING_NS + 12_500_000),
        ("opened_ns", -1, BEGINNING_NS + 12_500_000),
        ("asked_ns", None, BEGINNING_NS),
        ("asked_ns", True, BEGINNING_NS),
        ("closed_by", "me", None),
        ("closed_by", ["client"], None),
        ("close_code", 2**70, None),
        ("close_code", 65_536, None),
        ("close_code", -1, None),
        ("close_code", "1000", None),
        ("url", "wss://[bad/x", "wss://h/live?a=1"),
        ("url", 7, "wss://h/live?a=1"),
        ("subprotocol", 7, "chat"),
        ("error", {}, None),
    ],
)
def test_own_fields_that_cannot_be_read_are_left_out_and_counted(
    tmp_path: Path, path: Path, name: str, value: object, expected: object
) -> None:
    messages = entry()["_webSocketMessages"]
    whole = entry(_wirewright={name: value}, _webSocketMessages=messages[:1])
    report = import_file(archive(tmp_path, whole), path).report
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert getattr(socket, name) == expected
    (said,) = report.sentences()
    assert said.startswith(f"Skipped 1 value: `_wirewright.{name}` of entry #1 (")


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"_size": "abc"}, "size", 1),
        ({"_size": 2**70}, "size", 1),
        ({"_size": -1}, "size", 1),
        ({"_flags": 4096}, "flags", FrameFlag.NONE),
        ({"_flags": -1}, "flags", FrameFlag.NONE),
        ({"_flags": 4096 + 8}, "flags", FrameFlag.TRUNCATED),
        ({"time": 1e30}, "time_ns", BEGINNING_NS),
    ],
)
def test_message_is_kept_without_values_that_it_cannot_have(
    tmp_path: Path, path: Path, changes: dict[str, Any], name: str, expected: object
) -> None:
    ((_, (frame,)),) = imported(archive(tmp_path, with_message(**changes)), path)
    assert (getattr(frame, name), frame.payload) == (expected, "a")


def test_archive_that_is_nested_deep_takes_no_memory(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "deep.har"
    source.write_text('{"log":{"entries":[' + "[" * 1_000_000)
    with pytest.raises(CaptureError, match=r"deep.har: it is nested more than 100 deep"):
        import_file(source, path)


def test_flow_file_that_ends_like_a_zip_is_one_of_flows(tmp_path: Path, path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("x.har", json.dumps({"log": {"entries": [entry()]}}))
    flow = tflow.twebsocketflow()
    assert flow.websocket is not None
    flow.websocket.messages[-1].content = inner.getvalue()
    source = tmp_path / "flows.mitm"
    with source.open("wb") as file:
        FlowWriter(file).add(flow)
    ((socket, _),) = imported(source, path)
    assert socket.url == "ws://example.com/ws"


def test_damaged_flows_are_one_sentence(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "flows.mitm"
    with source.open("wb") as file:
        FlowWriter(file).add(tflow.twebsocketflow())
    whole = source.read_bytes()
    for at in range(0, len(whole), 7):
        source.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        path.unlink(missing_ok=True)
        with suppress(CaptureError):  # and nothing else
            import_file(source, path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "mitmproxy cannot read it|no WebSocket in it"),
        ("SQLite format 3\0", "a database cannot be imported: a HAR, a zip with one"),
        ('{"event":"socket"}\n', "JSON lines cannot be imported: a HAR"),
        ("dear diary", "a file of this kind cannot be imported: a HAR, a zip with one"),
        ("2026-11-29: dear diary", "a file of this kind cannot be imported: a HAR, a zip with one"),
        ("{", "its JSON is incomplete or not valid: "),
        ('{"log": 1}', "there is no WebSocket in it"),
        (json.dumps({"log": {"entries": [http_entry()]}}), "there is no WebSocket in it"),
        (
            json.dumps({"log": {"entries": [{"request": {}}, 7, http_entry()]}}),
            r"there is no WebSocket in it that can be read. "
            r"Skipped 2 entries: #1 \(no `request`\), #2 \(not an object\)\.$",
        ),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_what_cannot_be_imported_leaves_the_capture_as_it_was(
    tmp_path: Path, path: Path, content: str, said: str, exists: bool
) -> None:
    source = tmp_path / "source.har"
    source.write_text(content)
    if exists:
        Recorder(path, "test").stop()
    before = path.read_bytes() if exists else None
    with pytest.raises(CaptureError, match=f"source.har: .*({said})"):
        import_file(source, path)
    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.parametrize("messages", [None, []], ids=["with messages", "without messages"])
def test_what_is_read_before_the_file_is_cut_off_is_kept(
    tmp_path: Path, path: Path, messages: list[object] | None
) -> None:
    whole = entry() if messages is None else entry(_webSocketMessages=messages)
    source = archive(tmp_path, whole, entry())
    source.write_text(source.read_text()[:-300])
    came = import_file(source, path)
    frames = 2 if messages is None else 0
    assert (came.sockets, came.frames) == (1, frames)
    assert came.cut_off is not None
    assert "its JSON is incomplete or not valid" in came.cut_off
    with open_capture(path) as capture:
        assert (len(capture.sockets()), len(list(capture.frames()))) == (1, frames)


def test_source_must_be_there(tmp_path: Path, path: Path) -> None:
    for source, said in ((tmp_path / "gone.har", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(CaptureError, match=said):
            import_file(source, path)
    assert not path.exists()


def test_zip_must_have_one_archive(tmp_path: Path, path: Path) -> None:
    source = tmp_path / "session.zip"
    with zipfile.ZipFile(source, "w") as file:
        file.writestr("a.txt", "")
    with pytest.raises(CaptureError, match=r"there must be one \.har file in it, and there are 0"):
        import_file(source, path)


def test_target_that_is_no_capture_is_not_touched(tmp_path: Path, path: Path) -> None:
    path.write_text("dear diary")
    with pytest.raises(CaptureError, match="it is not a capture"):
        import_file(archive(tmp_path, entry()), path)
    assert path.read_text() == "dear diary"


def test_recording_whose_messages_are_all_skipped_is_not_said_to_be_without(
    tmp_path: Path, path: Path
) -> None:
    report = import_file(archive(tmp_path, with_message(opcode=3)), path).report
    assert list(report.sentences()) == [
        "Skipped 1 message: #1 of entry #1 (opcode 3 is not one of RFC 6455)."
    ]


def attaching(*names: str) -> list[dict[str, Any]]:
    """Entries as of Playwright's `record_har_content="attach"`."""
    made = []
    for name in names:
        each = entry()
        del each["_webSocketMessages"]
        each["response"]["content"] = {"_file": name}
        made.append(each)
    return made


@pytest.mark.parametrize("is_zip", [False, True])
def test_attached_file_has_the_messages_of_one_entry(tmp_path: Path, path: Path, is_zip: bool) -> None:
    """Else a file of a few megabytes and an archive with thousands of entries would fill the disk."""
    message = {"type": "send", "time": 1764103477, "opcode": 1, "data": "x" * 500}
    attached = "".join(f"{json.dumps(message)}\n" for _ in range(100))
    files = {"1.jsonl": attached, "2.jsonl": "", "3.jsonl": attached}
    names = ["1.jsonl", "1.jsonl", "2.jsonl", "2.jsonl", "3.jsonl", "./1.jsonl"]
    source = archive(tmp_path, *attaching(*names))
    if is_zip:
        with zipfile.ZipFile(tmp_path / "recording.zip", "w") as packed:
            packed.write(source, "har.har")
            for name, content in files.items():
                packed.writestr(name, content)
        source = tmp_path / "recording.zip"
    else:
        for name, content in files.items():
            (tmp_path / name).write_text(content)
    imported = import_file(source, path)
    assert (imported.sockets, imported.frames) == (6, 200)
    assert imported.report.values.count == 2
    assert "another entry has its messages already" in str(imported.report.values)


def test_import_does_not_begin_on_a_disk_that_is_nearly_full(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = archive(tmp_path, entry())
    monkeypatch.setattr(free_space, "_free", lambda _: 99 * 2**20)
    with pytest.raises(CaptureError, match=r"the disk has 99 MiB free, and 100 MiB must stay free"):
        import_file(source, path)
    assert not path.exists()
    assert import_file(source, path, min_free=0).sockets == 1


def test_import_that_would_fill_the_disk_is_taken_back(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message is written twice: into the log, and at the end into the file."""
    size = 2**20
    big = [{"type": "send", "time": 1764103477, "opcode": 1, "data": "x" * size} for _ in range(20)]
    source = archive(tmp_path, entry(_webSocketMessages=big))
    monkeypatch.setattr(free_space, "_free", lambda _: 130 * 2**20)
    assert import_file(source, path.with_name("fits.db")).frames == 20
    monkeypatch.setattr(free_space, "_free", lambda _: 115 * 2**20)
    with pytest.raises(CaptureError, match=r"nothing was imported: less than 100 MiB would be left free"):
        import_file(source, path)
    assert not path.exists()
