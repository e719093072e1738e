"""Good recordings of every format in which something was removed, replaced, repeated or cut off."""

import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from support.mutations import (
    FLOW_VALUES,
    JSON_VALUES,
    good,
    good_flow,
    har,
    mutated,
    write_flows,
    write_gzip,
    write_har,
    write_trace,
    write_zip,
)
from wirewright.capture import CaptureError, RecordedFrame, Socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.formats.importer import Imported, import_file
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.cli import captures

pytestmark = [pytest.mark.slow, pytest.mark.once("mutations try our own import")]


@st.composite
def odd_entries(draw: st.DrawFn) -> Any:
    return mutated(draw, good("odd"), JSON_VALUES)


@contextmanager
def a_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def read(path: Path) -> list[tuple[Socket, list[RecordedFrame]]]:
    with open_capture(path) as capture:
        return [(socket, list(capture.frames(socket=socket.id))) for socket in capture.sockets()]


def assert_all_programs_take_it(capture: Path) -> None:
    """An imported session can be shown, counted, exported and imported again."""
    console = Console(file=io.StringIO())
    captures.show(console, capture, Filter(), None)
    captures.show_statistics(console, capture, Filter())
    for suffix in (".har", ".mitm", ".jsonl", ".parquet"):
        with open_capture(capture) as opened:
            export(opened, capture.with_suffix(suffix), Filter())
    for suffix in (".har", ".mitm"):
        again = import_file(capture.with_suffix(suffix), capture.with_name(f"again{suffix}.db"))
        assert list(again.report.sentences()) in ([], [_NO_MESSAGES])
        assert again.sockets == len(read(capture))


_NO_MESSAGES = "It has no messages: it was recorded without frames, or none passed."


def assert_nothing_is_lost_in_silence(
    imported: Imported, sockets: list[tuple[Socket, list[RecordedFrame]]], odd: Any
) -> None:
    """Each message of the odd entry was read or counted, and the entry itself too."""
    report = imported.report
    assert imported.cut_off is None
    messages = odd.get("_webSocketMessages") if isinstance(odd, dict) else None
    if len(sockets) == 3:
        listed = messages if isinstance(messages, list) else []
        errors = sum(isinstance(each, dict) and each.get("type") == "error" for each in listed)
        if not report.values.count:  # the file of its messages may be gone with the response
            assert len(sockets[1][1]) + report.messages.count + errors in (len(listed), 0)
    else:
        assert report.entries.count == 1 or not is_a_websocket(odd)


def is_a_websocket(odd: Any) -> bool:
    return isinstance(odd, dict) and odd.get("_resourceType") == "websocket"


@pytest.mark.parametrize("write", [write_har, write_gzip, write_zip, write_trace])
@settings(deadline=None, max_examples=12)
@given(odd=odd_entries())
def test_odd_entry_costs_no_good_one(write: Callable[[Path, list[Any]], Path], odd: Any) -> None:
    with a_folder() as folder:
        target = folder / "session.db"
        imported = import_file(write(folder, [good("one"), odd, good("two")]), target)
        sockets = read(target)
        assert [socket.url for socket, _ in (sockets[0], sockets[-1])] == ["wss://h/one", "wss://h/two"]
        for socket, frames in (sockets[0], sockets[-1]):
            name = socket.url.rpartition("/")[2]
            assert [frame.payload for frame in frames] == [f"{name}: é", b"\0\xff", b"ping", b"\x0f\xa1bye"]
        assert_nothing_is_lost_in_silence(imported, sockets, odd)
        assert_all_programs_take_it(target)


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_archive_in_which_something_else_is_odd_is_one_sentence(data: st.DataObject) -> None:
    @st.composite
    def odd_archives(draw: st.DrawFn) -> Any:
        return mutated(draw, {"log": {"version": "1.2", "entries": [good("one")]}}, JSON_VALUES)

    with a_folder() as folder:
        source, target = folder / "source.har", folder / "session.db"
        source.write_text(json.dumps(data.draw(odd_archives())))
        import_or_sentence(source, target)


def import_or_sentence(source: Path, target: Path) -> Imported | None:
    """The import, or None where nothing could be read, which is one line."""
    try:
        return import_file(source, target)
    except CaptureError as error:
        reason = error.message
    assert "\n" not in reason
    assert not target.exists()
    return None


def damages(rest: bytes) -> st.SearchStrategy[bytes]:
    """The rest of a file: cut off, with a byte less, a byte more, or another byte."""
    return st.sampled_from([b"", rest[1:], b"9" + rest, b"\0" + rest, b"\xff" + rest[1:]])


@pytest.mark.parametrize("write", [write_har, write_gzip, write_zip, write_trace])
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_file_that_is_cut_off_or_damaged_gives_what_comes_before(
    write: Callable[[Path, list[Any]], Path], data: st.DataObject
) -> None:
    with a_folder() as folder:
        source, target = write(folder, [good("one"), good("two")]), folder / "session.db"
        whole = source.read_bytes()
        at = len(whole) * data.draw(st.integers(0, 9_999)) // 10_000  # flows have times of various lengths
        changed = data.draw(
            st.sampled_from([b"", whole[at:][1:], b"\0" + whole[at:], b"\xff" + whole[at:][1:]])
        )
        source.write_bytes(whole[:at] + changed)
        if (imported := import_or_sentence(source, target)) is not None:
            assert 1 <= imported.sockets <= 2
            assert_all_programs_take_it(target)


@settings(deadline=None, max_examples=10)
@given(cut=st.integers(0, 10_000))
def test_sockets_before_the_cut_are_kept(cut: int) -> None:
    with a_folder() as folder:
        source, target = write_har(folder, [good("one"), good("two")]), folder / "session.db"
        whole = source.read_bytes()
        first = whole.index(b'"wss://h/two"')
        source.write_bytes(whole[: first + cut % (len(whole) - first)])
        imported = import_file(source, target)
        assert imported.sockets in (1, 2)
        assert imported.cut_off is not None


@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_keys_may_occur_twice(data: st.DataObject) -> None:
    with a_folder() as folder:
        source, target = folder / "source.har", folder / "session.db"
        odd = json.dumps(good("odd"))
        at = data.draw(st.sampled_from([each.end() for each in re.finditer(r"\{(?!\})", odd)]))
        key, value = data.draw(st.sampled_from(["time", "type", "name", "url"])), data.draw(JSON_VALUES)
        twice = f"{odd[:at]}{json.dumps(key)}: {json.dumps(value)}, {odd[at:]}"
        source.write_text(har([good("one"), "here", good("two")]).decode().replace('"here"', twice))
        imported = import_file(source, target)
        assert imported.sockets >= 2
        assert_all_programs_take_it(target)


# Flows


@st.composite
def odd_flows(draw: st.DrawFn) -> Any:
    return mutated(draw, good_flow("odd"), FLOW_VALUES)


@settings(deadline=None, max_examples=25)
@given(odd=odd_flows())
def test_odd_flow_costs_no_good_one(odd: Any) -> None:
    with a_folder() as folder:
        target = folder / "session.db"
        imported = import_file(write_flows(folder, [good_flow("one"), odd, good_flow("two")]), target)
        sockets = read(target)
        names = [socket.url.rpartition("/")[2] for socket, _ in sockets]
        assert (names[0], names[-1]) == ("one", "two")
        assert [len(frames) for _, frames in (sockets[0], sockets[-1])] == [3, 3]
        assert imported.cut_off is None
        if len(sockets) == 3:
            websocket = odd.get("websocket")
            messages = websocket.get("messages") if isinstance(websocket, dict) else []
            if isinstance(messages, list):
                assert len(sockets[1][1]) + imported.report.messages.count == len(messages)
        else:
            is_other = odd.get("type") != "http" or not odd.get("websocket")
            assert imported.report.entries.count == 1 or is_other
        assert_all_programs_take_it(target)


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_flow_file_that_is_cut_off_or_damaged_gives_what_comes_before(data: st.DataObject) -> None:
    with a_folder() as folder:
        source, target = write_flows(folder, [good_flow("one"), good_flow("two")]), folder / "session.db"
        whole = source.read_bytes()
        at = len(whole) * data.draw(st.integers(0, 9_999)) // 10_000  # flows have times of various lengths
        changed = data.draw(
            st.sampled_from([b"", whole[at:][1:], b"9" + whole[at:], b"\xff" + whole[at:][1:]])
        )
        source.write_bytes(whole[:at] + changed)
        if import_or_sentence(source, target) is not None:
            assert_all_programs_take_it(target)


def test_report_counts_each_kind_apart() -> None:
    report = OmissionReport()
    report.skip_entry(7, "no `request`")
    report.skip_entry(19, "not an object")
    report.skip_message(2, 5, "no `data`")
    report.skip_value(3, "request.headers", "not a list")
    report.notes.append("It has no messages.")
    assert list(report.sentences()) == [
        "Skipped 2 entries: #7 (no `request`), #19 (not an object).",
        "Skipped 1 message: #5 of entry #2 (no `data`).",
        "Skipped 1 value: `request.headers` of entry #3 (not a list).",
        "It has no messages.",
    ]
