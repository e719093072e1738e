"""Flow files of older versions of mitmproxy, and flows that have less than they should."""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow

from support.foreign_recordings import read
from wirewright.capture import CaptureError
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.formats.importer import import_file

State = dict[str, Any]

HERE = Path(__file__).parent


def state() -> State:
    """A WebSocket with three messages, as it is in a file."""
    found: State = tflow.twebsocketflow().get_state()
    return found


def flow_file(tmp_path: Path, *states: object) -> Path:
    path = tmp_path / "flows.mitm"
    path.write_bytes(b"".join(tnetstring.dumps(each) for each in states))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("version", [4, 5])
def test_flows_of_old_versions_come_once(path: Path, version: int) -> None:
    sockets, report = read(HERE / f"flows_of_mitmproxy_{version}.mitm", path)
    said = {
        socket.url.rpartition("/")[2]: [(frame.direction, frame.payload) for frame in frames]
        for socket, frames in sockets
    }
    greeting = [("received", "welcome é"), ("received", b"\0\xff")]
    assert said == {
        "one?a=1": [*greeting, ("sent", "é"), ("received", "é"), ("sent", b"\1"), ("received", b"\1")],
        "two": [*greeting, ("sent", "x"), ("received", "x"), ("sent", "bye")],
        "three": [*greeting, ("sent", "3"), ("received", "3")],
    }
    ends = {
        socket.url.rpartition("/")[2]: (socket.close_code, socket.close_reason, socket.closed_by)
        for socket, _ in sockets
    }
    assert ends["two"] == (4001, "server bye", "server")
    assert ends["one?a=1"] == (1000, "", "client")
    assert list(report.sentences()) == []
    for socket, frames in sockets:
        times = [socket.asked_ns, socket.opened_ns, frames[0].time_ns, frames[-1].time_ns, socket.closed_ns]
        assert times == sorted(time for time in times if time is not None)


@pytest.mark.parametrize(("written", "code"), [(-1, 1005), (65_536, 1005), (65_535, 65_535), (4001, 4001)])
def test_close_code_has_sixteen_bits(tmp_path: Path, path: Path, written: int, code: int) -> None:
    flow = state()
    flow["websocket"]["close_code"] = written
    ((socket, frames),), _ = read(flow_file(tmp_path, flow), path)
    assert (socket.close_code, len(frames)) == (code, 3)


@pytest.mark.parametrize(("written", "status"), [(-2, None), (0, 0), (200, 200), (999, 999), (1000, None)])
def test_status_has_three_digits(tmp_path: Path, path: Path, written: int, status: int | None) -> None:
    flow = state()
    flow["response"]["status_code"] = written
    ((socket, frames),), _ = read(flow_file(tmp_path, flow), path)
    assert (socket.status, len(frames)) == (status, 3)


def test_old_handshake_without_its_websocket_is_a_socket_without_messages(tmp_path: Path, path: Path) -> None:
    first = next(iter(_records(HERE / "flows_of_mitmproxy_5.mitm")))
    source = tmp_path / "flows.mitm"
    source.write_bytes(first)
    ((socket, frames),), _ = read(source, path)
    assert (socket.status, frames) == (101, [])
    assert socket.opened_ns is not None


def _records(source: Path) -> Iterable[bytes]:
    rest = source.read_bytes()
    while rest:
        length, _, _ = rest.partition(b":")
        end = len(length) + 1 + int(length) + 1
        yield rest[:end]
        rest = rest[end:]


def test_text_of_a_message_may_be_a_str(tmp_path: Path, path: Path) -> None:
    old = state()
    old["websocket"]["messages"] = [[1, True, "hé", 946681203.0, False, False]]
    ((_, (frame,)),), _ = read(flow_file(tmp_path, old), path)
    assert (frame.payload, frame.size) == ("hé", 3)


@pytest.mark.parametrize("suffix", [".mitm", ".har"])
def test_flow_with_messages_and_without_a_response_was_open(tmp_path: Path, path: Path, suffix: str) -> None:
    ((socket, frames),), _ = read(flow_file(tmp_path, state() | {"response": None}), path)
    assert (socket.status, len(frames)) == (None, 3)
    assert socket.opened_ns is not None
    exported, back = path.with_suffix(suffix), path.with_name("back.db")
    with open_capture(path) as capture:
        export(capture, exported, Filter())
    ((again, repeated),), _ = read(exported, back)
    assert (again.status, again.opened_ns, len(repeated)) == (None, socket.opened_ns, 3)


@pytest.mark.parametrize("status", [200, 426, 503])
def test_flow_without_a_websocket_was_refused(tmp_path: Path, path: Path, status: int) -> None:
    refused = state() | {"websocket": None}
    refused["response"]["status_code"] = status
    ((socket, _),), _ = read(flow_file(tmp_path, refused), path)
    assert (socket.status, socket.opened_ns) == (status, None)


@pytest.mark.parametrize(
    "odd",
    [
        [3, True, b"", 946681203.0, False, False],
        [300, True, b"", 946681203.0, False, False],
        [True, True, b"", 946681203.0, False, False],
        [1, True, None, 946681203.0, False, False],
        [1, True],
        [],
        None,
        "message",
    ],
    ids=str,
)
def test_odd_message_is_skipped_and_counted(tmp_path: Path, path: Path, odd: object) -> None:
    with_odd = state()
    with_odd["websocket"]["messages"].insert(1, odd)
    ((_, frames),), report = read(flow_file(tmp_path, with_odd), path)
    assert len(frames) == 3
    (said,) = report.sentences()
    assert said.startswith("Skipped 1 message: #2 of flow #1 (")


@pytest.mark.parametrize("timestamp", [None, -1.0, float("nan"), float("inf"), 0, "soon"])
def test_time_of_a_message_that_is_none_is_its_neighbours(
    tmp_path: Path, path: Path, timestamp: object
) -> None:
    with_odd = state()
    messages = with_odd["websocket"]["messages"] = [list(each) for each in with_odd["websocket"]["messages"]]
    messages[1][3] = timestamp
    ((_, frames),), _ = read(flow_file(tmp_path, with_odd), path)
    assert frames[1].time_ns == frames[0].time_ns


def without(name: str) -> Callable[[State], None]:
    return lambda state: state.pop(name)


def with_value(value: object, *keys: str) -> Callable[[State], None]:
    def change(state: State) -> None:
        inner: Any = state
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        without("request"),
        without("client_conn"),
        without("version"),
        with_value(999, "version"),
        with_value(None, "request"),
        with_value("http", "request", "headers"),
        with_value(b"/\xff", "request", "scheme"),
        with_value("x", "response", "status_code"),
        with_value(7, "websocket"),
        with_value("?", "type"),
        with_value("yesterday", "request", "timestamp_start"),
    ],
)
def test_odd_flow_costs_no_other_one(tmp_path: Path, path: Path, change: Callable[[State], None]) -> None:
    odd = copy.deepcopy(state())
    change(odd)
    sockets, _ = read(flow_file(tmp_path, state(), odd, state()), path)
    assert len(sockets) in (2, 3)
    assert {len(frames) for _, frames in sockets} == {3}


def test_host_header_that_is_no_host_costs_no_flow(tmp_path: Path, path: Path) -> None:
    odd = state()
    odd["request"]["headers"] = [(b"Host", b"20:44:37"), *odd["request"]["headers"]]
    ((socket, frames),), _ = read(flow_file(tmp_path, odd), path)
    assert (socket.url, len(frames)) == ("ws://example.com/ws", 3)


def test_other_flows_are_not_counted_but_unknown_ones_are(tmp_path: Path, path: Path) -> None:
    others = [tflow.ttcpflow().get_state(), tflow.tdnsflow().get_state(), tflow.tflow(resp=True).get_state()]
    sockets, report = read(flow_file(tmp_path, *others, state() | {"type": "?"}, state()), path)
    assert len(sockets) == 1
    assert list(report.sentences()) == ["Skipped 1 flow: #4 (its type is '?')."]


@pytest.mark.parametrize("odd", [7, "flow", [], {}, None, b""])
def test_record_that_is_not_a_flow_is_skipped_and_counted(tmp_path: Path, path: Path, odd: object) -> None:
    sockets, report = read(flow_file(tmp_path, state(), odd, state()), path)
    assert len(sockets) == 2
    (said,) = report.sentences()
    assert said.startswith("Skipped 1 flow: #2 (")


def test_flow_of_a_newer_mitmproxy_is_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(
        CaptureError, match=r"Skipped 1 flow: #1 \(.* cannot read files with flow format version 999"
    ):
        import_file(flow_file(tmp_path, state() | {"version": 999}), path)


def test_flows_before_the_cut_are_kept(tmp_path: Path, path: Path) -> None:
    source = flow_file(tmp_path, state(), state())
    source.write_bytes(source.read_bytes()[:-100])
    came = import_file(source, path)
    assert (came.sockets, came.frames) == (1, 3)
    assert came.cut_off == f"{source}: its end is missing: the last flow is cut off"
