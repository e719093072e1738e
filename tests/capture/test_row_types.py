"""Values of a capture that have another type or size than a recorder writes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support.hostile_captures import run
from support.model_sockets import begin_socket
from wirewright.capture import Capture, CaptureError
from wirewright.capture import open as open_capture
from wirewright.capture.events import EventReader
from wirewright.capture.filters import Filter
from wirewright.capture.recorder import Recorder
from wirewright.model.proxy_control import Control
from wirewright.values import Direction

READINGS: dict[str, Callable[[Capture], object]] = {
    "sessions": Capture.sessions,
    "sockets": Capture.sockets,
    "frames": lambda capture: list(capture.frames()),
    "gaps": Capture.gaps,
    "annotations": Capture.annotations,
}
DAMAGE = r"session\.db: it is damaged: "
BAD_VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "sessions": {
        "started_ns": ("'x'", "1.5", "x'00'"),
        "seen_ns": ("'x'", "-9223372036854775808"),
        "ended_ns": ("'x'", "0.5"),
        "program": ("x'00'",),
        "id": ("9223372036854775807",),
    },
    "sockets": {
        "session_id": ("9", "'x'"),
        "url": ("x'00'", "'ws://[::1'", "CAST(x'ff' AS TEXT)"),
        "asked_ns": ("'x'", "1e300"),
        "opened_ns": ("'x'",),
        "closed_ns": ("1e300",),
        "request_headers": (
            *("'['", "'5'", "'[[1, 2]]'", "'[[\"a\"]]'", "'{\"a\": 1}'", "x'5b5d'"),
            *('\'[["a", "\\ud800"]]\'', "replace(hex(zeroblob(50000)), '0', '[')", "'[[\"a\", 1e999999]]'"),
        ),
        "response_headers": ("'['", "1"),
        "status": ("'x'", "-2", "1000", "1e9"),
        "subprotocol": ("x'00'",),
        "client_address": ("x'00'",),
        "close_code": ("'x'", "65536", "-1"),
        "close_reason": ("x'00'",),
        "closed_by": ("'nobody'", "x'00'"),
        "error": ("x'00'",),
        "response_body": ("'x'", "1.5"),
    },
    "frames": {
        "time_ns": ("'x'", "1e300", "x'ff00'"),
        "from_client": ("'x'", "2"),
        "opcode": ("'x'", "16", "-1", "2", "8"),
        "size": ("'x'", "-1", "1e300"),
        "payload": ("NULL", "5", "1.5", "x'00'", "CAST(x'ff' AS TEXT)"),
        "flags": ("'x'", "16", "-1", "1.5"),
        "original": ("5",),
    },
    "gaps": {
        "session_id": ("9", "-1", "'x'"),
        "time_ns": ("'x'",),
        "frames": ("'x'", "-1"),
        "bytes": ("'x'",),
        "reason": ("x'00'",),
    },
    "annotations": {"session_id": ("9", "-1", "'x'"), "time_ns": ("'x'",), "text": ("x'00'",)},
}


def read_events(capture: Capture) -> object:
    return list(EventReader(capture, Filter()).read())


@pytest.fixture
def capture(path: Path, control: Control) -> Path:
    recorder = Recorder(path, "test")
    control.start_recording(recorder)
    feed = begin_socket(control.proxy)
    assert feed.tape is not None
    feed.tape.messages(["hello"], 5, direction=Direction.SENT)
    feed.tape.too_large()
    recorder.annotate("a remark")
    recorder.stop()
    return path


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        (table, column, value)
        for table, columns in BAD_VALUES.items()
        for column, values in columns.items()
        for value in values
    ],
)
def test_value_that_no_recorder_writes_is_damage(capture: Path, table: str, column: str, value: str) -> None:
    with open_capture(capture) as opened:
        assert READINGS[table](opened)
    run(capture, f"UPDATE {table} SET {column} = {value}")
    for read in (READINGS[table], read_events):
        with open_capture(capture) as opened, pytest.raises(CaptureError, match=DAMAGE):
            read(opened)


def test_values_of_an_older_import_are_read(capture: Path) -> None:
    """It kept Chrome's time before 1970, and Playwright's status of a handshake without an answer."""
    run(capture, "UPDATE sockets SET asked_ns = -1000000000, status = -1", "UPDATE frames SET time_ns = -1")
    with open_capture(capture) as opened:
        assert [(each.asked_ns, each.status) for each in opened.sockets()] == [(-1_000_000_000, -1)]
        assert [each.time_ns for each in opened.frames()] == [-1]
