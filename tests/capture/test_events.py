"""The events of a capture, and the exports, in the order of time."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from wirewright.capture import CaptureError, events
from wirewright.capture import open as open_capture
from wirewright.capture.events import EventReader, SocketEvent
from wirewright.capture.filters import Filter
from wirewright.capture.formats import har_export, json_lines
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.capture.recorder import Recorder
from wirewright.capture.records import Annotation, Gap, RecordedFrame
from wirewright.capture.replay.as_server import Replay

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND


class Made:
    """A capture whose rows and times a test chooses, in seconds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        Recorder(path, "test").stop()
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA journal_mode = MEMORY")
        self._connection.execute(
            "UPDATE sessions SET started_ns = ?, seen_ns = ?, ended_ns = ?",
            (BEGIN, BEGIN + 100 * SECOND, BEGIN + 100 * SECOND),
        )

    def close(self) -> None:
        self._connection.close()

    def _insert(self, table: str, **values: Any) -> None:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self._connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def session(self, number: int, at: float) -> None:
        began = _ns(at)
        self._insert(
            "sessions", id=number, started_ns=began, seen_ns=began, ended_ns=_ns(at + 100), program="test"
        )

    def socket(
        self,
        number: int,
        asked: float,
        opened: float | None = None,
        closed: float | None = None,
        *,
        session: int = 1,
        error: str | None = None,
    ) -> None:
        self._insert(
            "sockets",
            id=number,
            session_id=session,
            url=f"ws://h/{number}",
            asked_ns=_ns(asked),
            opened_ns=None if opened is None else _ns(opened),
            closed_ns=None if closed is None else _ns(closed),
            request_headers="{}",
            error=error,
        )

    def frame(self, socket: int, at: float, text: str = "x") -> None:
        self._insert(
            "frames",
            socket_id=socket,
            time_ns=_ns(at),
            from_client=0,
            opcode=1,
            size=len(text),
            payload=text,
        )

    def gap(self, at: float, session: int = 1) -> None:
        self._insert("gaps", session_id=session, time_ns=_ns(at), frames=1, bytes=1, reason="test")

    def annotation(self, at: float, session: int = 1) -> None:
        self._insert("annotations", session_id=session, time_ns=_ns(at), text="remark")


def _ns(seconds: float) -> int:
    return BEGIN + int(seconds * SECOND)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    made = Made(tmp_path / "session.db")
    yield made
    made.close()


def shown(read: Iterator[events.Event]) -> list[str]:
    """Each event with its socket or session, and the seconds at which it was."""
    lines = []
    for event in read:
        seconds = f"{(event.time_ns - BEGIN) / SECOND:g}"
        if isinstance(event, RecordedFrame):
            lines.append(f"{seconds} frame #{event.socket_id}")
        elif isinstance(event, SocketEvent):
            lines.append(f"{seconds} {event.kind} #{event.socket.id}")
        else:
            kind = {Gap: "gap", Annotation: "remark"}[type(event)]
            lines.append(f"{seconds} {kind} of session {event.session_id}")
    return lines


def read(made: Made, chosen: Filter | None = None) -> list[str]:
    with open_capture(made.path) as capture:
        return shown(EventReader(capture, chosen or Filter()).read())


def test_events_of_all_kinds_are_in_one_order(made: Made) -> None:
    made.socket(1, 0, 1, 9)
    made.socket(2, 2, None, 3, error="refused")
    made.socket(3, 4, 5)
    made.socket(4, 6)
    for socket, at in ((3, 7.0), (1, 2.5), (1, 8.0), (3, 10.0)):
        made.frame(socket, at)
    made.annotation(2.2)
    made.gap(7.5)
    assert read(made) == [
        "1 open #1",
        "2 connecting #2",
        "2.2 remark of session 1",
        "2.5 frame #1",
        "3 error #2",
        "5 open #3",
        "6 connecting #4",
        "7 frame #3",
        "7.5 gap of session 1",
        "8 frame #1",
        "9 close #1",
        "10 frame #3",
    ]


def test_sessions_come_one_after_the_other_whatever_their_times(made: Made) -> None:
    made.session(2, at=-1_000)
    made.socket(1, 0, 1, 9)
    made.socket(2, -1_000, -999, -900, session=2)
    made.frame(2, -950)
    made.frame(1, 5)
    made.gap(-940, session=2)
    made.annotation(6)
    assert [line.split(maxsplit=1)[1] for line in read(made)] == [
        "open #1",
        "frame #1",
        "remark of session 1",
        "close #1",
        "open #2",
        "frame #2",
        "gap of session 2",
        "close #2",
    ]


def test_frames_are_between_the_opening_and_the_close_of_their_socket(made: Made) -> None:
    made.socket(1, 5, 6, 7)  # its times are those of another clock
    made.frame(1, 4)
    made.frame(1, 8)
    assert [line.split()[1] for line in read(made)] == ["open", "frame", "frame", "close"]


def test_frames_of_one_moment_keep_the_order_of_the_wire(made: Made) -> None:
    made.socket(1, 0, 0)
    for number in range(1_200):  # more than one page
        made.frame(1, 1, f"{number}")
    with open_capture(made.path) as capture:
        texts = [frame.payload for _, frame in Filter().frames(capture)]
    assert texts == [str(number) for number in range(1_200)]


def test_many_frames_are_sorted_across_pages(made: Made) -> None:
    made.socket(1, 0, 0)
    made.socket(2, 0, 0)
    for number in range(1_500):
        made.frame(1, 2 * number)
    for number in range(1_500):
        made.frame(2, 2 * number + 1)
    with open_capture(made.path) as capture:
        times = [frame.time_ns for _, frame in Filter().frames(capture)]
        assert times == [_ns(number) for number in range(3_000)]
        every_second = [frame for _, frame in Filter(socket=2).frames(capture)]
    assert [frame.time_ns for frame in every_second] == [_ns(2 * number + 1) for number in range(1_500)]


def test_sockets_without_a_chosen_frame_are_left_out_where_content_is_chosen(made: Made) -> None:
    made.socket(1, 0, 1, 9)
    made.socket(2, 0, 2, 8)
    made.frame(1, 3, "no")
    made.frame(2, 4, "yes")
    assert read(made, Filter(grep="yes")) == ["2 open #2", "4 frame #2", "8 close #2"]


def test_time_chooses_what_happened_to_sockets_too(made: Made) -> None:
    made.socket(1, 0, 1, 2)
    made.socket(2, 0, 1, 6, error="late")
    made.socket(3, 7)
    made.frame(1, 1.5)
    made.annotation(1.6)
    made.annotation(6.5)
    assert read(made, Filter(since_ns=_ns(5))) == [
        "1 open #2",
        "6 error #2",
        "6 close #2",
        "6.5 remark of session 1",
        "7 connecting #3",
    ]


def test_error_of_a_socket_whose_recorder_was_killed_is_told(made: Made) -> None:
    made.socket(1, 0, 1, error="bad frame")
    made.frame(1, 3)
    assert read(made) == ["1 open #1", "3 frame #1", "3 error #1"]


def test_later_reads_give_what_is_new(made: Made) -> None:
    made.socket(1, 0)
    with open_capture(made.path) as capture:
        events = EventReader(capture, Filter())
        assert shown(events.read()) == ["0 connecting #1"]
        made._connection.execute("UPDATE sockets SET opened_ns = ?", (_ns(1),))
        made.frame(1, 2)
        made.annotation(3)
        assert shown(events.read()) == ["1 open #1", "2 frame #1", "3 remark of session 1"]
        assert shown(events.read()) == []
        made.gap(5)
        made._connection.execute("UPDATE sockets SET closed_ns = ?", (_ns(4),))
        assert shown(events.read()) == ["4 close #1", "5 gap of session 1"]


@pytest.fixture
def imported(made: Made) -> Made:
    """As an import leaves it: socket after socket, the later one first."""
    made.socket(1, 5, 6, 20)
    made.socket(2, 0, 1, 21)
    made.socket(3, 3, None, 4, error="refused")
    for socket, at in ((1, 7), (1, 9), (2, 2), (2, 10), (2, 8)):
        made.frame(socket, at, f"{at}")
    return made


def test_sockets_are_replayed_in_the_order_of_time(imported: Made) -> None:
    assert Replay(imported.path).urls == ["ws://h/2", "ws://h/3", "ws://h/1"]


def test_json_lines_are_in_the_order_of_time(imported: Made) -> None:
    imported.gap(8.5)
    imported.annotation(2.5)
    with open_capture(imported.path) as capture:
        lines = [json.loads(line) for line in json_lines.lines(capture, Filter())]
    assert [(line["event"], line.get("text", line.get("socket"))) for line in lines] == [
        ("socket", 2),
        ("frame", "2"),
        ("annotation", "remark"),
        ("socket", 3),
        ("socket", 1),
        ("frame", "7"),
        ("frame", "8"),
        ("gap", None),
        ("frame", "9"),
        ("frame", "10"),
    ]


def test_archives_have_sockets_and_messages_in_the_order_of_time(imported: Made) -> None:
    with open_capture(imported.path) as capture:
        archive = json.loads("".join(har_export.pieces(Filter().by_socket(capture), OmissionReport())))
    entries = archive["log"]["entries"]
    assert [entry["request"]["url"] for entry in entries] == ["ws://h/2", "ws://h/3", "ws://h/1"]
    assert [_data(entry) for entry in entries] == [["2", "8", "10"], ["refused"], ["7", "9"]]


def _data(entry: dict[str, Any]) -> Sequence[str]:
    return [message["data"] for message in entry["_webSocketMessages"]]


def test_tables_are_in_the_order_of_time(imported: Made, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    from wirewright.capture.formats.exporter import export

    target = tmp_path / "out.parquet"
    with open_capture(imported.path) as capture:
        export(capture, target, Filter())
    assert pyarrow.read_table(target)["text"].to_pylist() == ["2", "7", "8", "9", "10"]


def test_flows_have_messages_in_the_order_of_time(imported: Made, tmp_path: Path) -> None:
    from mitmproxy.io import FlowReader

    from wirewright.capture.formats.exporter import export

    target = tmp_path / "out.mitm"
    with open_capture(imported.path) as capture:
        export(capture, target, Filter())
    with target.open("rb") as file:
        flows = list(FlowReader(file).stream())
    said = [[each.text for each in flow.websocket.messages] for flow in flows if flow.websocket]  # type: ignore[attr-defined]
    assert said == [["2", "8", "10"], ["7", "9"]]


def test_full_disk_for_temporary_files_is_not_taken_for_that_of_the_capture(made: Made) -> None:
    made.socket(1, 0, 1, 9)
    for number in range(5_000):
        made.frame(1, 1 + number / 1_000)
    with open_capture(made.path) as capture:
        capture._connection.execute("PRAGMA temp.max_page_count = 8")
        with pytest.raises(CaptureError, match=r"the disk for temporary files is full.* SQLITE_TMPDIR"):
            list(EventReader(capture, Filter()).read())


def test_socket_that_is_open_by_its_frames_stays_open_in_later_reads(made: Made) -> None:
    """As in a capture that an older Wirewright imported into, and that is recorded into and followed now."""
    made.socket(1, 0, None, 9)
    made.frame(1, 3)
    with open_capture(made.path) as capture:
        reader = EventReader(capture, Filter())
        assert shown(reader.read()) == ["0 open #1", "3 frame #1", "9 close #1"]
        made.session(2, 20)
        made.socket(2, 21, 22, session=2)
        assert shown(reader.read()) == ["22 open #2"]
