"""What sockets report, as it is in the file."""

import os
import sqlite3
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from capture.conftest import Record
from support.model_sockets import begin_socket
from wirewright.capture import CaptureError, FrameFlag, schema, writer
from wirewright.capture import open as open_capture
from wirewright.model.proxy_control import Control
from wirewright.values import Direction, Payload

HEADERS = {"host": "example.test", "authorization": "Bearer secret"}


def frames(path: Path) -> list[tuple[object, ...]]:
    with open_capture(path) as capture:
        return [
            (frame.direction, frame.opcode, frame.payload, frame.flags, frame.original)
            for frame in capture.frames()
        ]


def test_socket_is_recorded_from_its_handshake_to_its_end(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    feed = begin_socket(control.proxy, headers=HEADERS, client_address=("10.0.0.2", 5000))
    feed.requested({**HEADERS, "x-added": "1"})
    feed.answered(101, {"sec-websocket-protocol": "chat", "sec-websocket-extensions": "permessage-deflate"})
    feed.opened()
    assert feed.tape is not None
    feed.tape.messages(["text é", b"\x00\xff"], 9, direction=Direction.SENT)
    feed.tape.messages([""], 0, direction=Direction.RECEIVED, injected=True)
    feed.tape.controls([(9, b"?")], direction=Direction.RECEIVED)
    feed.closed(3000, "bye", "server")
    recorder.stop()
    with open_capture(path) as capture:
        (session,) = capture.sessions()
        (socket,) = capture.sockets()
    assert session.program == "test"
    moments = [
        moment
        for moment in (
            session.started_ns,
            socket.asked_ns,
            socket.opened_ns,
            socket.closed_ns,
            session.ended_ns,
        )
        if moment is not None
    ]
    assert len(moments) == 5
    assert moments == sorted(moments)
    assert (socket.url, socket.status, socket.client_address) == (feed.socket.url, 101, "10.0.0.2:5000")
    assert socket.request_headers == {**HEADERS, "authorization": "REDACTED", "x-added": "1"}
    assert (socket.subprotocol, socket.extensions) == ("chat", "permessage-deflate")
    assert (socket.close_code, socket.close_reason, socket.closed_by) == (3000, "bye", "server")
    assert frames(path) == [
        ("sent", 1, "text é", FrameFlag.NONE, None),
        ("sent", 2, b"\x00\xff", FrameFlag.NONE, None),
        ("received", 1, "", FrameFlag.INJECTED, None),
        ("received", 9, b"?", FrameFlag.NONE, None),
    ]


def test_socket_that_fails_says_why(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    feed = begin_socket(control.proxy)
    feed.answered(403, {})
    feed.failed("Unexpected response code: 403")
    feed.closed(by="server")
    recorder.stop()
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert (socket.status, socket.error, socket.opened_ns, socket.close_code) == (
        403,
        "Unexpected response code: 403",
        None,
        None,
    )


def test_socket_that_is_open_already_is_recorded_from_now_on(
    path: Path, control: Control, record: Record
) -> None:
    feed = begin_socket(control.proxy, headers=HEADERS)
    feed.answered(101, {})
    feed.opened()
    version = feed.listeners_version
    recorder = record()
    assert feed.listeners_version != version
    assert feed.tape is not None
    feed.tape.messages(["late"], 4, direction=Direction.RECEIVED)
    control.stop_recording()
    assert feed.tape is None
    recorder.stop()
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert (socket.status, socket.closed_ns) == (101, None)
    assert frames(path) == [("received", 1, "late", FrameFlag.NONE, None)]


def test_only_sockets_that_are_meant_are_recorded(path: Path, control: Control, record: Record) -> None:
    recorder = record(url="**/live")
    tapes = [begin_socket(control.proxy, f"ws://h/{name}", key=name).tape for name in ("live", "other")]
    recorder.stop()
    assert [tape is not None for tape in tapes] == [True, False]
    with open_capture(path) as capture:
        assert [socket.url for socket in capture.sockets()] == ["ws://h/live"]


@pytest.mark.parametrize(
    ("settled", "flags", "payload", "original"),
    [
        ("same", FrameFlag.NONE, "same", None),
        ("other", FrameFlag.CHANGED, "other", "same"),
        (b"\x01", FrameFlag.CHANGED, b"\x01", "same"),
        (None, FrameFlag.DROPPED, "same", None),
    ],
)
@pytest.mark.parametrize("by_route", [True, False])
def test_what_becomes_of_a_message_is_recorded(
    path: Path,
    control: Control,
    record: Record,
    settled: Payload | None,
    flags: FrameFlag,
    payload: Payload,
    original: Payload | None,
    by_route: bool,
) -> None:
    recorder = record()
    feed = begin_socket(control.proxy)
    assert feed.tape is not None
    feed.tape.offered("same", direction=Direction.SENT)
    if not by_route:
        feed.tape.settled(settled, direction=Direction.SENT)
    elif settled is not None:
        feed.tape.ordered(settled, direction=Direction.SENT)
    feed.closed()
    recorder.stop()
    assert frames(path) == [("sent", 1 if isinstance(payload, str) else 2, payload, flags, original)]


def test_what_a_route_sends_beside_is_its_own(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.offered("one", direction=Direction.SENT)
    tape.ordered("answer", direction=Direction.RECEIVED)
    tape.ordered("one", direction=Direction.SENT)
    tape.ordered("and more", direction=Direction.SENT)
    recorder.stop()
    assert frames(path) == [
        ("received", 1, "answer", FrameFlag.INJECTED, None),
        ("sent", 1, "one", FrameFlag.NONE, None),
        ("sent", 1, "and more", FrameFlag.INJECTED, None),
    ]


@pytest.mark.parametrize(
    ("payload", "kept", "size"), [("ééé", "éé", 6), (b"\x00" * 9, b"\x00" * 5, 9), ("abcde", "abcde", 5)]
)
def test_payload_is_cut_and_its_size_is_known(
    path: Path, control: Control, record: Record, payload: Payload, kept: Payload, size: int
) -> None:
    recorder = record(max_payload=5)
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.messages([payload], size, direction=Direction.SENT)
    recorder.stop()
    with open_capture(path) as capture:
        (frame,) = capture.frames()
    assert (frame.payload, frame.size) == (kept, size)
    assert (FrameFlag.TRUNCATED in frame.flags) == (kept != payload)


def test_secrets_do_not_get_into_the_file(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    feed = begin_socket(control.proxy, "ws://h/live?access_token=secret&a=1", headers=HEADERS)
    assert feed.tape is not None
    feed.tape.messages(['{"password": "secret", "user": "Ada"}'], 40, direction=Direction.SENT)
    feed.tape.offered('{"token": "secret"}', direction=Direction.SENT)
    feed.tape.settled('{"token": "secret", "more": 1}', direction=Direction.SENT)
    recorder.stop()
    assert b"secret" not in path.read_bytes()
    with open_capture(path) as capture:
        assert capture.sockets()[0].url == "ws://h/live?access_token=REDACTED&a=1"
        assert next(capture.frames()).payload == '{"password": "REDACTED", "user": "Ada"}'


def test_secrets_of_control_frames_and_failures_do_not_get_into_the_file(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    feed = begin_socket(control.proxy, "ws://me:secret@h/live")
    assert feed.tape is not None
    feed.tape.controls([(9, b'{"token":"secret"}')], direction=Direction.SENT)
    feed.tape.controls([(10, b"jwt=secret")], direction=Direction.RECEIVED)
    feed.tape.controls([(8, b"\x0b\xb8token=secret")], direction=Direction.RECEIVED)
    feed.failed("cannot open ws://h/?token=secret")
    feed.closed(3000, "token=secret", "server")
    recorder.stop()
    assert b"secret" not in path.read_bytes()
    assert [payload for _, _, payload, _, _ in frames(path)] == [
        b'{"token":"REDACTED"}',
        b"jwt=REDACTED",
        b"\x0b\xb8token=REDACTED",
    ]
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert (socket.close_code, socket.close_reason) == (3000, "token=REDACTED")
    assert socket.error == "cannot open ws://h/?token=REDACTED"


def test_file_is_its_owners_alone_and_one_file_in_the_end(path: Path, record: Record) -> None:
    old = os.umask(0)
    try:
        recorder = record()
    finally:
        os.umask(old)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    recorder.stop()
    assert list(path.parent.iterdir()) == [path]


def test_capture_grows_by_a_session_each_time(path: Path, control: Control, record: Record) -> None:
    for name in ("one", "two"):
        recorder = record()
        tape = begin_socket(control.proxy, key=name).tape
        assert tape is not None
        tape.messages([name], 3, direction=Direction.SENT)
        control.close(name)
        recorder.stop()
    with open_capture(path) as capture:
        assert [session.id for session in capture.sessions()] == [1, 2]
        assert [(socket.id, socket.session_id) for socket in capture.sockets()] == [(1, 1), (2, 2)]
        assert [(frame.socket_id, frame.payload) for frame in capture.frames()] == [(1, "one"), (2, "two")]


def test_capture_is_read_while_it_is_written(path: Path, control: Control, record: Record) -> None:
    recorder = record()
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.messages(["one"], 3, direction=Direction.SENT)
    recorder.flush()
    with open_capture(path) as capture:
        assert capture.sessions()[0].ended_ns is None
        assert [frame.payload for frame in capture.frames()] == ["one"]
        tape.messages(["two"], 3, direction=Direction.SENT)
        recorder.flush()
        assert [frame.payload for frame in capture.frames(after=1)] == ["two"]


def test_two_recorders_do_not_write_one_file(path: Path, record: Record) -> None:
    record()
    with pytest.raises(CaptureError, match="is being written by another recorder"):
        record()


@pytest.mark.parametrize("hours", [-1, 1])
def test_two_recorders_do_not_write_one_file_when_the_clock_is_set(
    path: Path, record: Record, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    record()
    clock = SimpleNamespace(
        time=lambda: time.time() + hours * 3600,
        time_ns=lambda: time.time_ns() + hours * 3600 * 10**9,
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    for module in (writer, schema):
        monkeypatch.setattr(module, "time", clock)
    with pytest.raises(CaptureError, match="is being written by another recorder"):
        record()


def test_capture_of_a_recorder_that_was_killed_goes_on(path: Path, record: Record) -> None:
    record().stop()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE sessions SET ended_ns = NULL, seen_ns = seen_ns - 3000000000")
    connection.close()
    record().stop()
    with open_capture(path) as capture:
        assert [session.ended_ns is None for session in capture.sessions()] == [True, False]


def test_bad_arguments_are_said_before_a_file_is_made(path: Path, record: Record) -> None:
    with pytest.raises(ValueError, match="max_payload must be 0 or more bytes, or None, not -1"):
        record(max_payload=-1)
    with pytest.raises(ValueError, match="has no '}' after it"):
        record(url="**/{a")
    assert not path.exists()


def test_file_that_others_could_read_is_its_owners_alone(path: Path, record: Record) -> None:
    path.touch(0o644)
    record()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_capture_that_somebody_reads_is_whole_in_one_file(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    with open_capture(path):
        tape = begin_socket(control.proxy).tape
        assert tape is not None
        tape.messages(["hello"], 5, direction=Direction.SENT)
        recorder.stop()
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())
    assert [each[2] for each in frames(copy)] == ["hello"]


def test_message_that_is_held_is_dropped_if_the_capture_ends_first(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.offered("held", direction=Direction.SENT)
    control.stop_recording()
    recorder.stop()
    assert frames(path) == [("sent", 1, "held", FrameFlag.DROPPED, None)]


@pytest.mark.ws_allow_errors
def test_url_that_raises_records_nothing(
    path: Path, control: Control, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(url: str) -> bool:
        raise RuntimeError(url)

    record(url=broken)
    assert begin_socket(control.proxy).tape is None
    assert "a capture's url raised" in caplog.text


def test_failure_that_quotes_a_token_does_not_bring_it_to_the_disk(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record()
    feed = begin_socket(control.proxy)
    feed.answered(101, {"sec-websocket-protocol": "eyJsecret"})
    feed.failed("header value 'eyJsecret' in response does not match any of sent values")
    recorder.stop()
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert socket.error == "header value 'REDACTED' in response does not match any of sent values"
    assert b"eyJsecret" not in path.read_bytes()


def test_remarks_are_redacted_as_messages_are(path: Path, record: Record) -> None:
    recorder = record()
    recorder.annotate('now wss://h/live?token=1&a=2 and {"password": "x"}')
    recorder.stop()
    with open_capture(path) as capture:
        (remark,) = capture.annotations()
    assert remark.text == 'now wss://h/live?token=REDACTED&a=2 and {"password": "REDACTED"}'


def test_changed_message_of_which_the_original_was_cut_is_not_whole(
    path: Path, control: Control, record: Record
) -> None:
    recorder = record(max_payload=3)
    tape = begin_socket(control.proxy).tape
    assert tape is not None
    tape.offered("123456", direction=Direction.SENT)
    tape.settled("12", direction=Direction.SENT)
    recorder.stop()
    with open_capture(path) as capture:
        (frame,) = capture.frames()
    assert (frame.payload, frame.original) == ("12", "123")
    assert frame.flags == FrameFlag.CHANGED | FrameFlag.TRUNCATED
