"""Entries of archives that have less, or something else, than they should have."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.foreign_recordings import BEGINNING_NS, archive, entry, http_entry, message, read
from wirewright.capture import CaptureError
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.formats.importer import import_file

SECOND = 1_000_000_000


def without(entry: dict[str, Any], *path: str) -> dict[str, Any]:
    """The same entry without the value at a path of keys."""
    copy: dict[str, Any] = json.loads(json.dumps(entry))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return copy


def with_null(entry: dict[str, Any], *path: str) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(entry))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = None
    return copy


def round_trip(path: Path, suffix: str) -> Path:
    """Another capture, made of an export of this one."""
    exported, back = path.with_suffix(suffix), path.with_name(f"back{suffix}.db")
    with open_capture(path) as capture:
        export(capture, exported, Filter())
    import_file(exported, back)
    return back


# Sockets that were open


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ({"status": 200}, 200),  # over HTTP/2: RFC 8441, 5
        ({"status": 204}, 204),
        ({"status": 0}, None),  # the recorder was attached late
        ({"status": -1}, None),
        ({"status": 404}, 404),
        ({"status": None}, None),
        ({}, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("suffix", [".har", ".mitm"])
def test_socket_with_messages_was_open_whatever_its_status(
    tmp_path: Path, path: Path, response: object, status: int | None, suffix: str
) -> None:
    ((socket, frames),), _ = read(archive(tmp_path, entry(response=response)), path)
    assert (socket.opened_ns, socket.status, len(frames)) == (BEGINNING_NS + 12_500_000, status, 2)
    with open_capture(round_trip(path, suffix)) as capture:
        (back,) = capture.sockets()
        assert (back.opened_ns, back.status) == (socket.opened_ns, status)
        assert [frame.payload for frame in capture.frames()] == [b"\0\xff", "hello"]  # in the order of time


@pytest.mark.parametrize(
    ("changes", "was_open"),
    [
        ({"response": {"status": 101}}, True),
        ({"response": {"status": 200}}, True),
        ({"response": {"status": 302}}, False),
        ({"response": {"status": 0}}, False),
        ({"response": {"status": 200, "_error": "Error during WebSocket handshake: no"}}, False),
    ],
)
def test_socket_without_messages_was_open_by_its_status(
    tmp_path: Path, path: Path, changes: dict[str, Any], was_open: bool
) -> None:
    ((socket, _),), _ = read(archive(tmp_path, entry(_webSocketMessages=[], **changes)), path)
    assert (socket.opened_ns is not None) == was_open


def test_handshake_over_http1_is_refused_by_a_200(tmp_path: Path, path: Path) -> None:
    upgrade = [{"name": "Upgrade", "value": "WebSocket"}]
    refused = http_entry() | {"request": {"url": "https://h/live", "headers": upgrade}}
    ((socket, _),), _ = read(archive(tmp_path, refused), path)
    assert (socket.url, socket.status, socket.opened_ns) == ("wss://h/live", 200, None)


# Entries that are not WebSockets


@pytest.mark.parametrize("messages", [None, []])
def test_http_entry_without_messages_is_not_a_websocket(tmp_path: Path, path: Path, messages: object) -> None:
    other = http_entry() | {"_webSocketMessages": messages}
    sockets, report = read(archive(tmp_path, other, entry(), other), path)
    assert [socket.url for socket, _ in sockets] == ["wss://h/live?a=1"]
    assert list(report.sentences()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"_webSocketMessages": [message()]},
        {"_resourceType": "websocket"},
        {"_resourceType": "WebSocket"},
        {"request": {"url": "wss://h/"}},
        {"request": {"url": "https://h/", "headers": [{"name": "UPGRADE", "value": " WebSocket"}]}},
        {"request": {"url": "https://h/", "headers": [["upgrade", "websocket"]]}},  # as Slack writes them
    ],
)
def test_entry_with_a_sign_of_a_websocket_is_one(tmp_path: Path, path: Path, changes: dict[str, Any]) -> None:
    ((socket, _),), _ = read(archive(tmp_path, http_entry() | changes), path)
    assert socket.url == "wss://h/"


# Values that are missing


MAY_BE_MISSING = [
    ("time",),
    ("timings",),
    ("timings", "wait"),
    ("timings", "receive"),
    ("response",),
    ("response", "status"),
    ("response", "content"),
    ("response", "headers"),
    ("request", "headers"),
    ("request", "method"),
    ("request", "httpVersion"),
    ("serverIPAddress",),
    ("startedDateTime",),
    ("cache",),
]


@pytest.mark.parametrize("path_of_keys", MAY_BE_MISSING, ids=".".join)
@pytest.mark.parametrize("change", [without, with_null])
def test_entry_without_a_value_keeps_its_messages(
    tmp_path: Path, path: Path, path_of_keys: tuple[str, ...], change: Any
) -> None:
    whole = entry(response=entry()["response"] | {"content": {}})
    sockets, report = read(archive(tmp_path, change(whole, *path_of_keys), entry()), path)
    assert [[frame.payload for frame in frames] for _, frames in sockets] == [["hello", b"\0\xff"]] * 2
    assert list(report.sentences()) == []


@pytest.mark.parametrize("odd", [None, {}, 7, [], "entry", {"request": None}, {"request": {"url": None}}])
def test_odd_entry_is_skipped_and_counted_and_the_others_are_read(
    tmp_path: Path, path: Path, odd: object
) -> None:
    sockets, report = read(archive(tmp_path, entry(), odd, entry()), path)
    assert (len(sockets), report.entries.count) == (2, 1)
    (said,) = report.sentences()
    assert said.startswith("Skipped 1 entry: #2 (")


def test_entry_with_a_url_of_no_websocket_is_skipped(tmp_path: Path, path: Path) -> None:
    odd = entry(request={"url": "wss://[bad/x", "headers": []})
    sockets, report = read(archive(tmp_path, odd, entry()), path)
    assert len(sockets) == 1
    assert list(report.sentences()) == ["Skipped 1 entry: #1 (not the URL of a WebSocket: 'wss://[bad/x')."]


def test_entry_that_is_nested_deep_is_skipped(tmp_path: Path, path: Path) -> None:
    source = archive(tmp_path, entry(_deep="here"), entry())
    source.write_text(source.read_text().replace('"here"', "[" * 200 + "]" * 200))
    sockets, report = read(source, path)
    assert len(sockets) == 1
    assert list(report.sentences()) == ["Skipped 1 entry: #1 (nested more than 100 deep)."]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1e999999999", "1" * 400])
def test_number_that_is_none_costs_no_entry(tmp_path: Path, path: Path, number: str) -> None:
    source = archive(tmp_path, entry(), entry(time="here"), entry())
    source.write_text(source.read_text().replace('"here"', number))
    sockets, _ = read(source, path)
    assert [len(frames) for _, frames in sockets] == [2, 2, 2]


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ({"name": "A", "value": None}, []),
        ({"name": "A"}, []),
        ({"value": "b"}, []),
        ({"name": 7, "value": "b"}, []),
        ("A: b", []),
        (None, []),
        (["A", "b"], [("A", "b")]),
        ({"name": "A", "value": 7}, [("A", "7")]),
        ({"name": "A", "value": ""}, [("A", "")]),
    ],
)
def test_header_that_cannot_be_read_is_left_out_and_counted(
    tmp_path: Path, path: Path, header: object, kept: list[tuple[str, str]]
) -> None:
    odd = entry(request=entry()["request"] | {"headers": [{"name": "Host", "value": "h"}, header]})
    ((socket, frames),), report = read(archive(tmp_path, odd), path)
    assert [*socket.request_headers.pairs] == [("Host", "h"), *kept]
    assert (len(frames), report.values.count) == (2, 0 if kept else 1)


def test_pseudo_headers_of_http2_are_not_headers(tmp_path: Path, path: Path) -> None:
    headers = [{"name": ":authority", "value": "h"}, {"name": "origin", "value": "https://h"}]
    ((socket, _),), _ = read(
        archive(tmp_path, entry(request=entry()["request"] | {"headers": headers})), path
    )
    assert dict(socket.request_headers) == {"origin": "https://h"}  # RFC 9113, 8.3


# Messages


@pytest.mark.parametrize(
    "odd",
    [
        message(data=None),
        message(data=7),
        message(opcode=None),
        message(opcode="text"),
        message(opcode=True),
        message(type=None),
        message(type=["send"]),
        message(opcode=2, data="not base64!"),
        without(message(), "data"),
        without(message(), "opcode"),
        without(message(), "type"),
        {},
        None,
        7,
        [],
    ],
    ids=str,
)
def test_odd_message_is_skipped_and_counted_and_the_others_are_read(
    tmp_path: Path, path: Path, odd: object
) -> None:
    messages = [message(data="before"), odd, message(data="after")]
    ((_, frames),), report = read(archive(tmp_path, entry(_webSocketMessages=messages)), path)
    assert [frame.payload for frame in frames] == ["before", "after"]
    (said,) = report.sentences()
    assert said.startswith("Skipped 1 message: #2 of entry #1 (")


@pytest.mark.parametrize("opcode", [3, 4, 7, 11, 15, 255, 300, -1, 2**40])
def test_message_of_an_opcode_that_no_rfc_defines_is_skipped(tmp_path: Path, path: Path, opcode: int) -> None:
    messages = [message(), message(opcode=opcode, data="AA==")]
    ((_, frames),), report = read(archive(tmp_path, entry(_webSocketMessages=messages)), path)
    assert [frame.opcode for frame in frames] == [1]
    assert list(report.sentences()) == [
        f"Skipped 1 message: #2 of entry #1 (opcode {opcode} is not one of RFC 6455)."
    ]
    for suffix in (".har", ".mitm", ".parquet", ".jsonl"):
        with open_capture(path) as capture:
            export(capture, path.with_suffix(suffix), Filter())


@pytest.mark.parametrize(
    ("opcode", "data", "payload"),
    [
        (2, "AP8", b"\0\xff"),
        (2, "_-7_", b"\xff\xee\xff"),
        (2, "AP8=\r\n", b"\0\xff"),
        (10, "", b""),
        (9, "AP8=", b"\0\xff"),
        (9, "are you there?", b"are you there?"),
        (8, "D6FieWU=", b"\x0f\xa1bye"),
        (8, "4001 bye", b"\x0f\xa1bye"),
        (8, "1000", b"\x03\xe8"),
        (8, "\x03\xe8bye", b"\x03\xe8bye"),
        (8, "good bye", b"good bye"),
        (8, "", b""),
    ],
)
def test_data_that_is_not_text(tmp_path: Path, path: Path, opcode: int, data: str, payload: bytes) -> None:
    odd = entry(_webSocketMessages=[message(opcode=opcode, data=data)])
    ((_, (frame,)),), report = read(archive(tmp_path, odd), path)
    assert (frame.payload, frame.size, report.messages.count) == (payload, len(payload), 0)


# Times


def test_missing_time_of_a_message_is_its_neighbours(tmp_path: Path, path: Path) -> None:
    times = [None, 1764103479, None, "later", 1764103481, float("1e300")]
    messages = [message(time=time) for time in times]
    ((socket, frames),), _ = read(archive(tmp_path, entry(_webSocketMessages=messages)), path)
    assert [(frame.time_ns - BEGINNING_NS) // SECOND for frame in frames] == [2, 2, 2, 2, 4, 4]
    assert socket.asked_ns == BEGINNING_NS


@pytest.mark.parametrize(
    "started", [None, "", "yesterday", "1969-12-31T23:59:59.000Z", 0, "0001-01-01T00:00:00Z"]
)
def test_missing_time_of_a_socket_is_its_first_messages(tmp_path: Path, path: Path, started: object) -> None:
    ((socket, _),), _ = read(
        archive(tmp_path, entry(startedDateTime=started, _webSocketMessages=[message()])), path
    )
    assert socket.asked_ns == BEGINNING_NS + SECOND


def test_missing_time_of_all_is_the_nearest_entrys(tmp_path: Path, path: Path) -> None:
    undated = entry(startedDateTime=None, _webSocketMessages=[])
    later = http_entry() | {"startedDateTime": "2025-11-25T20:45:37Z"}
    sockets, _ = read(archive(tmp_path, undated, undated, http_entry(), undated, later, undated), path)
    assert [(socket.asked_ns - BEGINNING_NS) // SECOND for socket, _ in sockets] == [0, 0, 0, 60]


def test_archive_without_any_time_is_as_old_as_its_file(tmp_path: Path, path: Path) -> None:
    source = archive(tmp_path, entry(startedDateTime=None, _webSocketMessages=[]))
    ((socket, _),), _ = read(source, path)
    assert socket.asked_ns == source.stat().st_mtime_ns
    with open_capture(path) as capture:
        (session,) = capture.sessions()
    assert session.started_ns == socket.asked_ns


@pytest.mark.parametrize("time", [2**62, 1e300, -1e300, "9" * 30])
def test_sum_of_times_is_one_that_a_file_can_hold(tmp_path: Path, path: Path, time: object) -> None:
    far = entry(
        startedDateTime="2262-04-11T00:00:00Z", time=time, timings={"wait": time}, _webSocketMessages=[]
    )
    ((socket, _),), _ = read(archive(tmp_path, far), path)
    assert socket.closed_ns is not None


# Sockets that failed


FAILED = entry(
    startedDateTime="1969-12-31T23:59:59.000Z",
    time=0,
    response={"status": 0, "headers": [], "_error": None},
    _webSocketMessages=[{"type": "error", "time": 1764103479, "opcode": -1, "data": ""}],
)


def test_failed_socket_of_chrome_has_an_error_and_no_opening(tmp_path: Path, path: Path) -> None:
    ((socket, frames),), report = read(archive(tmp_path, FAILED), path)
    assert (socket.error, socket.opened_ns, frames) == ("failed, Chrome gives no reason", None, [])
    assert socket.asked_ns == socket.closed_ns == BEGINNING_NS + 2 * SECOND
    assert list(report.sentences()) == []


@pytest.mark.parametrize("suffix", [".har", ".mitm"])
def test_failed_socket_survives_a_round_trip(tmp_path: Path, path: Path, suffix: str) -> None:
    ((socket, _),), _ = read(archive(tmp_path, FAILED | {"request": {"url": "wss://h/"}}), path)
    with open_capture(round_trip(path, suffix)) as capture:
        assert capture.sockets() == [socket]


def test_handshake_that_failed_after_a_101_did_not_open(tmp_path: Path, path: Path) -> None:
    error = "Error during WebSocket handshake: Incorrect 'Sec-WebSocket-Accept' header value"
    failed = entry(_webSocketMessages=[{"type": "error", "time": 1764103479, "opcode": -1, "data": error}])
    ((socket, _),), _ = read(archive(tmp_path, failed), path)
    assert (socket.status, socket.error, socket.opened_ns) == (101, error, None)


# Close codes


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        ({"code": 4001, "reason": "bye"}, 4001, "bye"),
        ({"code": 1000}, 1000, ""),
        ({"reason": None}, 1005, ""),  # HTTP Toolkit leaves out a code that was not sent
        ({"code": "x", "reason": 7}, 1005, ""),
        ({"code": 65_536}, 1005, ""),
        ({"code": 0}, 1005, ""),
        ("aborted", 1006, ""),
        (None, None, None),
        ("?", None, None),
    ],
)
def test_close_codes_of_http_toolkit(
    tmp_path: Path, path: Path, close: object, code: int | None, reason: str | None
) -> None:
    ((socket, _),), _ = read(archive(tmp_path, entry(_webSocketClose=close)), path)
    assert (socket.close_code, socket.close_reason) == (code, reason)


def test_time_of_the_close_is_http_toolkits(tmp_path: Path, path: Path) -> None:
    close = {"code": 1000, "reason": "", "timestamp": 1764103490.5}
    ((socket, _),), _ = read(archive(tmp_path, entry(_webSocketClose=close)), path)
    assert socket.closed_ns == BEGINNING_NS + 13 * SECOND + SECOND // 2


@pytest.mark.parametrize(("sender", "by"), [("send", "client"), ("receive", "server")])
def test_close_frame_tells_how_a_socket_was_closed(tmp_path: Path, path: Path, sender: str, by: str) -> None:
    close = message(type=sender, opcode=8, data="D6FieWU=")
    ((socket, _),), _ = read(archive(tmp_path, entry(_webSocketMessages=[message(), close])), path)
    assert (socket.close_code, socket.close_reason, socket.closed_by) == (4001, "bye", by)


@pytest.mark.parametrize(
    ("close", "exported"),
    [
        ({"code": 4001, "reason": "bye", "timestamp": 1764103490.5}, {"code": 4001, "reason": "bye"}),
        ({"code": 1005}, {"reason": ""}),
        ("aborted", "aborted"),
    ],
)
def test_close_codes_are_exported_as_http_toolkit_reads_them(
    tmp_path: Path, path: Path, close: object, exported: object
) -> None:
    import_file(archive(tmp_path, entry(_webSocketClose=close)), path)
    with open_capture(path) as capture:
        export(capture, path.with_suffix(".har"), Filter())
    (written,) = json.loads(path.with_suffix(".har").read_text())["log"]["entries"]
    found = written["_webSocketClose"]
    if isinstance(found, dict):
        assert isinstance(found.pop("timestamp"), float)
    assert found == exported


# The report


def test_archive_without_frames_says_so(tmp_path: Path, path: Path) -> None:
    _, report = read(archive(tmp_path, without(entry(), "_webSocketMessages")), path)
    assert list(report.sentences()) == ["It has no messages: it was recorded without frames, or none passed."]


def test_report_of_many_omissions_is_short(tmp_path: Path, path: Path) -> None:
    messages = [message(data=None)] * 5_000
    _, report = read(archive(tmp_path, entry(_webSocketMessages=[*messages, message()]), *[7] * 3_000), path)
    entries, omitted = report.sentences()
    assert entries.startswith("Skipped 3,000 entries: #2 (not an object), #3 (not an object), ")
    assert omitted.endswith(" and 4,992 more.")
    assert max(len(entries), len(omitted)) < 400


def test_reason_that_quotes_the_file_is_short(tmp_path: Path, path: Path) -> None:
    odd = entry(_webSocketMessages=[message(opcode=2, data="?" * 1_000_000), message()])
    _, report = read(archive(tmp_path, odd), path)
    (said,) = report.sentences()
    assert len(said) < 200


def test_reason_that_quotes_the_file_is_one_line(tmp_path: Path, path: Path) -> None:
    content = {"_file": "a\n\x1b[31m.jsonl"}
    odd = entry(response={"status": 101, "content": content})
    _, report = read(archive(tmp_path, odd), path)
    (said,) = report.sentences()
    assert said.isprintable()


def test_nothing_is_written_where_no_socket_can_be_read(tmp_path: Path, path: Path) -> None:
    odd = entry(request={"url": "wss://[bad/x"})
    with pytest.raises(CaptureError, match=r"no WebSocket in it that can be read\. Skipped 1 entry: #1 \("):
        import_file(archive(tmp_path, odd), path)
    assert not path.exists()
