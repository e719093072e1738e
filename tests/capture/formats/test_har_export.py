"""HAR 1.2, and what readers of it make of a capture."""

import json
import os
import shutil
import subprocess
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hario_core.parse import parse
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from capture.conftest import Record
from capture.formats.conftest import Fill
from support.clients import NODE_MODULES
from support.time_limits import STEP_SECONDS
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats import har_export
from wirewright.capture.formats.omission_report import OmissionReport
from wirewright.values import Direction


@pytest.fixture
def filled(fill: Fill) -> Path:
    return fill([""])


def archive(path: Path, chosen: Filter | None = None) -> Any:
    with open_capture(path) as capture:
        pieces = har_export.pieces((chosen or Filter()).by_socket(capture), OmissionReport())
        return json.loads("".join(pieces), parse_float=Decimal)


def test_messages_are_as_chrome_writes_them(filled: Path) -> None:
    with open_capture(filled) as capture:
        times = [
            Decimal(frame.time_ns) / 1_000_000_000 for frame in capture.frames(socket=1) if frame.is_message
        ]
    entry = archive(filled)["log"]["entries"][0]
    assert entry["_resourceType"] == "websocket"
    assert entry["_webSocketMessages"] == [
        {"type": "send", "time": times[0], "opcode": 1, "data": "text é one"},
        {"type": "send", "time": times[1], "opcode": 2, "data": "AP8="},
        {"type": "receive", "time": times[3], "opcode": 1, "data": ""},
    ]


def test_entries_have_what_the_specification_asks_for(filled: Path) -> None:
    log = archive(filled)["log"]
    assert (log["version"], log["creator"]["name"]) == ("1.2", "Wirewright")
    assert [entry["request"]["url"].rpartition("/")[2] for entry in log["entries"]] == [
        "one?a=1&b=%20",
        "two?a=1&b=%20",
        "refused",
    ]
    for entry in log["entries"]:
        assert entry["startedDateTime"] == datetime.fromisoformat(entry["startedDateTime"]).isoformat(
            timespec="microseconds"
        )
        assert float(entry["time"]) == pytest.approx(float(sum(entry["timings"].values())))
        assert entry.keys() >= {"request", "response", "cache", "timings"}
        assert entry["request"].keys() >= {"method", "httpVersion", "cookies", "headersSize", "bodySize"}
        assert entry["response"].keys() >= {"statusText", "content", "redirectURL", "cookies"}
    one, _, refused = log["entries"]
    assert one["request"]["queryString"] == [{"name": "a", "value": "1"}, {"name": "b", "value": " "}]
    assert one["request"]["headers"] == [{"name": "host", "value": "h"}]
    assert (one["response"]["status"], one["response"]["statusText"]) == (101, "Switching Protocols")
    assert (one["serverIPAddress"], one["connection"]) == ("10.0.0.1", "443")
    own = one["_wirewright"]
    assert (own["close_code"], own["close_reason"], own["closed_by"]) == (3000, "bye", "client")
    assert (refused["response"]["status"], refused["response"]["_error"]) == (
        0,
        "net::ERR_CONNECTION_REFUSED",
    )
    (error,) = refused["_webSocketMessages"]
    assert (error["type"], error["opcode"], error["data"]) == ("error", -1, "net::ERR_CONNECTION_REFUSED")


def test_only_what_is_chosen_is_in_it(filled: Path) -> None:
    entries = archive(filled, Filter(url="**/two*", direction=Direction.RECEIVED))["log"]["entries"]
    assert [message["data"] for entry in entries for message in entry["_webSocketMessages"]] == [""]


def test_capture_of_nothing_is_an_archive(path: Path, record: Record) -> None:
    record().stop()
    assert archive(path)["log"]["entries"] == []


def test_mitmproxy_reads_it(filled: Path, tmp_path: Path) -> None:
    file = tmp_path / "session.har"
    file.write_text(json.dumps(archive(filled), default=float))
    with file.open("rb") as opened:
        flows = [flow for flow in FlowReader(opened).stream() if isinstance(flow, HTTPFlow)]
    assert [flow.request.path for flow in flows] == ["/one?a=1&b=%20", "/two?a=1&b=%20", "/refused"]
    assert [flow.response.status_code for flow in flows if flow.response] == [101, 101, 0]


@pytest.fixture
def file(filled: Path, tmp_path: Path) -> Path:
    exported = tmp_path / "session.har"
    exported.write_text(json.dumps(archive(filled), default=float))
    return exported


def test_an_independent_library_reads_it(file: Path) -> None:
    entries: Any = parse(file).entries
    assert [entry.request.url.rpartition("/")[2] for entry in entries][1:] == ["two?a=1&b=%20", "refused"]
    assert [message.data for message in entries[0].webSocketMessages] == ["text é one", "AP8=", ""]


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_it_is_of_the_schema_of_the_specification(file: Path) -> None:
    validate = "require('har-validator').har(JSON.parse(require('fs').readFileSync(process.argv[1])))"
    tell = ".then(() => console.log('valid'), wrong => console.log(wrong.message, wrong.errors))"
    said = subprocess.run(
        ["node", "-e", validate + tell, str(file)],
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
        capture_output=True,
        text=True,
        check=True,
        timeout=STEP_SECONDS,
    )
    assert said.stdout == "valid\n"
