"""What a capture holds is the same after a way through another format."""

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow.parquet import read_table

from support.model_sockets import begin_socket
from wirewright.capture import RecordedFrame, Socket
from wirewright.capture import open as open_capture
from wirewright.capture.filters import Filter
from wirewright.capture.formats.exporter import export
from wirewright.capture.formats.importer import import_file
from wirewright.capture.recorder import Recorder
from wirewright.model.handshake import Headers
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.values import Direction, Payload

pytestmark = pytest.mark.slow

Message = tuple[bool, Payload]
"""Whether it is the client's, and what it says."""
FLOAT_NS = 250
"""A flow's times are floats: of seconds since the epoch they tell a quarter of a microsecond apart."""

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["", "\0", '{"half":"\\ud800"}', '"\\"', "\u2028\u2029\x7f\x80", "\r\n", "😀"]
)
BINARIES = st.binary() | st.sampled_from([b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"{", b"\xef\xbb\xbf"])
MESSAGES = st.lists(st.tuples(st.booleans(), TEXTS | BINARIES), max_size=8)
HANDSHAKE = Headers(
    [
        *(("Host", "h"), ("connection", "Upgrade"), ("Upgrade", "websocket"), ("Cookie", "a=1, 2; c=3")),
        *(("Sec-WebSocket-Protocol", "chat"), ("cookie", "b=4"), ("X-Odd", "\udcff"), ("X-Text", "é \u2603")),
    ]
)
ANSWER = Headers(
    [
        *(("Upgrade", "websocket"), ("sec-websocket-protocol", "chat"), ("Set-Cookie", "a=1; Max-Age=5, b")),
        *(
            ("Vary", "A"),
            ("set-cookie", "b=2; Secure"),
            ("vary", "B"),
            ("X-Odd", "caf\udce9"),
            ("X-Odd", "é"),
        ),
    ]
)
REFUSAL = Headers([("WWW-Authenticate", "Basic"), ("Content-Length", "4"), ("www-authenticate", "Bearer")])
EDGES: list[Message] = [
    (True, ""),
    (False, b""),
    (True, '{"half":"\\ud800"}'),
    (False, b"\xff\xfe"),
    (True, "\0"),
]


@contextmanager
def recorded(*sockets: list[Message], **options: Any) -> Iterator[Path]:
    """A capture of sockets that are closed with 3000 and up."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.db"
        control, recorder = Control(Proxy()), Recorder(path, "test", redact=(), **options)
        control.start_recording(recorder)
        for number, messages in enumerate(sockets):
            url = f"wss://h/{number}?a=%20&b=é"
            feed = begin_socket(control.proxy, url, key=str(number), headers=HANDSHAKE)
            feed.answered(101, ANSWER)
            feed.opened(("10.0.0.1", 443))
            assert feed.tape is not None
            for from_client, payload in messages:
                size = len(payload if isinstance(payload, bytes) else payload.encode())
                feed.tape.messages(
                    [payload], size, direction=Direction.SENT if from_client else Direction.RECEIVED
                )
            control.close(str(number), 3000 + number, "bye é", "server")
        refused = begin_socket(control.proxy, "ws://h/refused", key="refused", headers=HANDSHAKE)
        refused.answered(401, REFUSAL, b"\xff\0no")
        refused.failed("HTTP Authentication failed; no valid credentials available")
        control.close("refused", by="server")
        recorder.stop()
        yield path


def held(path: Path) -> list[tuple[Socket, list[RecordedFrame]]]:
    with open_capture(path) as capture:
        return [(socket, list(frames)) for socket, frames in Filter().by_socket(capture)]


def exported(path: Path, suffix: str) -> Path:
    target = path.with_suffix(suffix)
    with open_capture(path) as capture:
        export(capture, target, Filter())
    return target


def there_and_back(path: Path, suffix: str) -> list[tuple[Socket, list[RecordedFrame]]]:
    back = path.with_name("back.db")
    import_file(exported(path, suffix), back)
    return held(back)


@settings(deadline=None, max_examples=40)
@given(MESSAGES, MESSAGES)
@example(EDGES, [])
def test_har_keeps_everything(one: list[Message], two: list[Message]) -> None:
    with recorded(one, two) as path:
        assert there_and_back(path, ".har") == held(path)


@settings(deadline=None, max_examples=40)
@given(MESSAGES, MESSAGES)
@example(EDGES, [])
def test_flows_keep_all_but_the_last_digits_of_times(one: list[Message], two: list[Message]) -> None:
    with recorded(one, two) as path:
        before, after = held(path), there_and_back(path, ".mitm")
    assert [frames_without_times(frames) for _, frames in after] == [
        frames_without_times(frames) for _, frames in before
    ]
    for (was, were), (found, are) in zip(before, after, strict=True):
        for name in (
            *("url", "status", "request_headers", "response_headers", "response_body"),
            *("close_code", "close_reason", "error"),
        ):
            assert getattr(found, name) == getattr(was, name)
        assert (found.opened_ns is None) == (was.opened_ns is None)
        if was.opened_ns is not None:
            assert (found.closed_by, found.server_address) == (was.closed_by, was.server_address)
            assert abs((was.closed_ns or 0) - (found.closed_ns or 0)) <= FLOAT_NS
        assert abs(was.asked_ns - found.asked_ns) <= FLOAT_NS
        for this, that in zip(were, are, strict=True):
            assert abs(this.time_ns - that.time_ns) <= FLOAT_NS


def frames_without_times(frames: list[RecordedFrame]) -> list[object]:
    return [(frame.direction, frame.opcode, frame.payload, frame.size, frame.flags) for frame in frames]


@settings(deadline=None, max_examples=40)
@given(MESSAGES, MESSAGES)
@example(EDGES, [])
def test_json_lines_have_everything(one: list[Message], two: list[Message]) -> None:
    with recorded(one, two) as path:
        sockets = held(path)
        events = [json.loads(line) for line in exported(path, ".jsonl").read_bytes().split(b"\n")[:-1]]
    told = {event["socket"]: event for event in events if event["event"] == "socket"}
    for socket, frames in sockets:
        event = told[socket.id]
        assert (event["url"], event["status"], event["error"]) == (socket.url, socket.status, socket.error)
        assert (event["close_code"], event["close_reason"], event["closed"]) == (
            socket.close_code,
            socket.close_reason,
            socket.closed_ns,
        )
        assert [
            (event["time"], event["direction"], event["opcode"], payload_of(event), event["size"])
            for event in events
            if event["event"] == "frame" and event["socket"] == socket.id
        ] == [(frame.time_ns, frame.direction, frame.opcode, frame.payload, frame.size) for frame in frames]


def payload_of(event: dict[str, Any]) -> Payload:
    return event["text"] if "text" in event else base64.b64decode(event["base64"], validate=True)


@settings(deadline=None, max_examples=20)
@given(MESSAGES, MESSAGES)
@example(EDGES, [])
def test_parquet_has_every_frame(one: list[Message], two: list[Message]) -> None:
    with recorded(one, two) as path:
        frames = [(socket, frame) for socket, frames in held(path) for frame in frames]
        table = read_table(exported(path, ".parquet"))
    rows = table.set_column(3, "time", table["time"].cast("int64")).to_pylist()
    assert [
        (row["socket"], row["url"], row["time"], row["direction"], row["opcode"], row["size"]) for row in rows
    ] == [
        (socket.id, socket.url, frame.time_ns, frame.direction, frame.opcode, frame.size)
        for socket, frame in frames
    ]
    assert [row["binary"] if row["text"] is None else row["text"] for row in rows] == [
        frame.payload for _, frame in frames
    ]


@pytest.mark.once("the size tries our own writers")
@pytest.mark.parametrize("suffix", [".har", ".mitm"])
@pytest.mark.parametrize("payload", ["é" * 10_000_000, b"\xff\x00" * 10_000_000], ids=["text", "binary"])
def test_message_of_20_megabytes_is_the_same_afterwards(suffix: str, payload: Payload) -> None:
    with recorded([(True, payload), (False, "after")]) as path:
        (_, frames), _ = there_and_back(path, suffix)
    assert [frame.payload for frame in frames] == [payload, "after"]
    assert frames[0].size == 20_000_000


@pytest.mark.parametrize("suffix", [".har", ".mitm"])
def test_flags_stay_where_the_format_has_them(suffix: str) -> None:
    with recorded([(True, "123456789")], max_payload=5) as path:
        (_, (frame,)), _ = there_and_back(path, suffix)
    assert frame.payload == "12345"
    assert (frame.size, frame.flags.name) == {".har": (9, "TRUNCATED"), ".mitm": (5, "NONE")}[suffix]
