"""Header fields with a CR, LF or NUL, with which a request would end early or another one begin."""

import base64
import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow

from support.foreign_recordings import archive, entry, read
from support.model_sockets import begin_socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.recorder import Recorder
from wirewright.capture.replay.handshake_answer import accept
from wirewright.model.handshake import Headers
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.route import WebSocketRoute

UNSAFE = [
    ("X-One", "a\r\nEvil: 1"),
    ("X-Two", "a\rEvil: 1"),
    ("X-Three", "a\0"),
    ("X-Four\r\nEvil", "1"),
    ("X-Five\0", "1"),
]


def with_headers(side: str, *fields: dict[str, Any]) -> dict[str, Any]:
    made = entry()
    made[side]["headers"] = [{"name": "X-Good", "value": "1"}, *fields]
    return made


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize(("name", "value"), UNSAFE)
def test_unsafe_field_of_an_archive_is_left_out_and_counted(
    tmp_path: Path, path: Path, side: str, name: str, value: str
) -> None:
    source = archive(tmp_path, with_headers(side, {"name": name, "value": value}))
    ((socket, _),), report = read(source, path)
    headers = socket.request_headers if side == "request" else socket.response_headers
    assert headers is not None
    assert headers.pairs == (("X-Good", "1"),)
    assert list(report.sentences()) == [
        f"Skipped 1 value: `{side}.headers` of entry #1 (a header has a line end or a NUL)."
    ]


def test_unsafe_bytes_of_an_archive_are_left_out(tmp_path: Path, path: Path) -> None:
    octets = base64.b64encode(b"\xff\r\nEvil: 1").decode()
    source = archive(tmp_path, with_headers("request", {"name": "X", "value": "a", "_base64": octets}))
    ((socket, _),), report = read(source, path)
    assert socket.request_headers.pairs == (("X-Good", "1"),)
    assert report.values.count == 1


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize(("name", "value"), UNSAFE)
def test_unsafe_field_of_a_flow_is_left_out_and_counted(
    tmp_path: Path, path: Path, side: str, name: str, value: str
) -> None:
    state: Any = tflow.twebsocketflow().get_state()
    state[side]["headers"] = ((b"X-Good", b"1"), (name.encode(), value.encode()))
    source = tmp_path / "flows.mitm"
    source.write_bytes(tnetstring.dumps(state))
    ((socket, _),), report = read(source, path)
    headers = socket.request_headers if side == "request" else socket.response_headers
    assert headers is not None
    assert headers.pairs == (("X-Good", "1"),)
    assert list(report.sentences()) == [
        f"Skipped 1 value: `{side}.headers` of flow #1 (a header has a line end or a NUL)."
    ]


@pytest.fixture(params=["request_headers", "response_headers"])
def hostile(path: Path, request: pytest.FixtureRequest) -> Path:
    """A capture into which somebody has put an unsafe field."""
    record_socket(path)
    connection = sqlite3.connect(path)
    fields = json.dumps([["X-One", "a\r\nEvil: 1"]])
    connection.execute(f"UPDATE sockets SET {request.param} = ?", (fields,))
    connection.commit()
    connection.close()
    return path


def record_socket(path: Path) -> None:
    """A capture of one socket."""
    recorder, control = Recorder(path, "test"), Control(Proxy())
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, "ws://h/live", key="1", headers={"host": "h"})
    feed.answered(101, {"upgrade": "websocket"})
    feed.opened(("10.0.0.1", 80))
    control.close("1", 1000, "", "client")
    recorder.stop()


@pytest.mark.parametrize("suffix", [".har", ".mitm"])
def test_unsafe_field_is_left_out_of_an_export_and_counted(hostile: Path, suffix: str) -> None:
    target = hostile.with_suffix(suffix)
    with open_capture(hostile) as capture:
        exported = export(capture, target, Filter())
    (sentence,) = exported.report.sentences()
    assert re.fullmatch(
        r"Skipped 1 value: `re(quest|sponse)\.headers` of socket #1 \(a header has a line end or a NUL\)\.",
        sentence,
    )
    assert b"Evil" not in target.read_bytes()


NO_NAMES = ["", "a b", "x:y", " Authorization", "ä", "x\t"]


@pytest.mark.parametrize("name", [*NO_NAMES, ":authority"])
def test_field_without_a_name_of_http_is_counted_in_each_import(
    tmp_path: Path, path: Path, name: str
) -> None:
    """RFC 9110, 5.1 and 5.6.2."""
    state: Any = tflow.twebsocketflow().get_state()
    state["request"]["headers"] = ((b"X-Good", b"1"), (name.encode(), b"v"))
    flows = tmp_path / "flows.mitm"
    flows.write_bytes(tnetstring.dumps(state))
    har = archive(tmp_path, with_headers("request", {"name": name, "value": "v"}))
    for source in (flows, har):
        ((socket, _),), report = read(source, path)
        path.unlink()
        assert socket.request_headers.pairs == (("X-Good", "1"),)
        assert report.values.count == 1


@pytest.mark.parametrize("suffix", [".har", ".mitm"])
@pytest.mark.parametrize("name", NO_NAMES)
def test_field_without_a_name_of_http_is_left_out_of_an_export_and_counted(
    path: Path, suffix: str, name: str
) -> None:
    record_socket(path)
    change(path, "UPDATE sockets SET request_headers = ?", json.dumps([["X-Good", "1"], [name, "v"]]))
    target = path.with_suffix(suffix)
    with open_capture(path) as capture:
        exported = export(capture, target, Filter())
    assert exported.report.values.count == 1
    ((socket, _),), report = read(target, path.with_name("back.db"))
    assert socket.request_headers.pairs == (("X-Good", "1"),)
    assert report.values.count == 0


def change(path: Path, sql: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute(sql, values)
    connection.commit()
    connection.close()


def test_json_lines_show_an_unsafe_field_escaped(hostile: Path) -> None:
    target = hostile.with_suffix(".jsonl")
    with open_capture(hostile) as capture:
        export(capture, target, Filter())
    lines = target.read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert r"a\r\nEvil: 1" in target.read_text()


def test_replay_as_the_server_leaves_out_an_unsafe_field(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answered: list[Any] = []

    class Route(WebSocketRoute):
        protocols = []  # noqa: RUF012

        def __init__(self) -> None: ...

        def __repr__(self) -> str:
            return "a route"

        def accept(self, *given: Any) -> None:
            answered.extend(given)

    headers = Headers([("X-One", "a\r\nEvil: 1"), ("X-Two", "a\0"), ("X-Three\n", "a"), ("X-Good", "1")])
    record_socket(path)
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    accept(Route(), replace(socket, response_headers=headers))
    assert answered == [None, (("X-Good", "1"),)]
    assert caplog.text.count("a recorded header is left out") == 3
