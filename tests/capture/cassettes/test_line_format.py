"""The lines of a cassette: what they show, and that each message is read as it was written."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirewright.capture.cassettes.cassette_file import read_lines
from wirewright.capture.cassettes.line_format import BEGINNING, LARGEST_JSON, socket_lines
from wirewright.capture.errors import CaptureError
from wirewright.capture.records import FrameFlag, RecordedFrame, Socket
from wirewright.capture.redaction import Redaction
from wirewright.model.handshake import Headers
from wirewright.values import Direction, Payload

OPENED_NS = 1_700_000_000_000_000_000


def socket(**changes: Any) -> Socket:
    values: dict[str, Any] = {
        "id": 1,
        "session_id": 1,
        "url": "wss://shop.example/live",
        "asked_ns": OPENED_NS - 5,
        "opened_ns": OPENED_NS,
        "closed_ns": None,
        "request_headers": Headers(),
        "response_headers": Headers(),
        "status": 101,
        "subprotocol": None,
        "extensions": None,
        "client_address": "127.0.0.1:5",
        "server_address": "127.0.0.1:6",
        "close_code": None,
        "close_reason": None,
        "closed_by": None,
        "error": None,
    }
    return Socket(**(values | changes))


def frames(
    *payloads: Payload, direction: Direction = Direction.SENT, milliseconds: float = 0
) -> list[RecordedFrame]:
    time_ns = OPENED_NS + int(milliseconds * 1_000_000)
    return [
        RecordedFrame(1, 1, time_ns, direction, 1, len(each), each, FrameFlag.NONE, None) for each in payloads
    ]


def written(
    recorded: Socket, messages: Sequence[RecordedFrame] = (), redaction: Redaction | None = None
) -> list[str]:
    return list(socket_lines(recorded, messages, redaction or Redaction()))


def read_back(*lines: str) -> tuple[Socket, list[RecordedFrame]]:
    text = "".join(f"{each}\n" for each in (BEGINNING, *lines))
    cassette = read_lines(BytesIO(text.encode()), Path("chat.jsonl"))
    (recorded,) = cassette.sockets()
    last = cassette.spans().get(1, (0, 0))[1]
    return recorded, list(cassette.frames(after=0, until=last, socket=1, page=50))


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        ('{"b":1,"a":[1.50,"é"]}', '{"at": 0, "sent": {"b":1,"a":[1.50,"é"]}}'),
        ('{"a": 1, "a": 2}', '{"at": 0, "sent": {"a": 1, "a": 2}}'),
        ("[]", '{"at": 0, "sent": []}'),
        (f"[{'1' * 5_000}]", f'{{"at": 0, "sent": [{"1" * 5_000}]}}'),
        ("hello", '{"at": 0, "sent": "hello"}'),
        ('"quoted"', '{"at": 0, "sent": "\\"quoted\\""}'),
        ("5", '{"at": 0, "sent": "5"}'),
        ("", '{"at": 0, "sent": ""}'),
        ('{"a": 1}\n', '{"at": 0, "sent": "{\\"a\\": 1}\\n"}'),
        ('{"a": 1} ', '{"at": 0, "sent": "{\\"a\\": 1} "}'),
        ('{"a": NaN}', '{"at": 0, "sent": "{\\"a\\": NaN}"}'),
        ('{"a": }', '{"at": 0, "sent": "{\\"a\\": }"}'),
        ("[\u202e]\x1b", '{"at": 0, "sent": "[\\u202e]\\u001b"}'),
        ('["\u202e"]', '{"at": 0, "sent": "[\\"\\u202e\\"]"}'),
        (b"\x00\xff", '{"at": 0, "sent_base64": "AP8="}'),
        (b"", '{"at": 0, "sent_base64": ""}'),
    ],
)
def test_message_is_json_where_it_can_be(payload: Payload, line: str) -> None:
    assert written(socket(), frames(payload))[1:] == [line]
    (frame,) = read_back(*written(socket(), frames(payload)))[1]
    assert (frame.payload, frame.direction) == (payload, Direction.SENT)
    assert frame.opcode == (1 if isinstance(payload, str) else 2)


@pytest.mark.parametrize(
    "payload",
    ["[" * 100_000 + "]" * 100_000, f'["{"x" * LARGEST_JSON}"]'],
    ids=["deep", "large"],
)
def test_json_that_is_costly_to_read_is_text(payload: str) -> None:
    assert written(socket(), frames(payload))[1].startswith('{"at": 0, "sent": "[')
    assert read_back(*written(socket(), frames(payload)))[1][0].payload == payload


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PAYLOADS = TEXTS | st.binary() | JSON_VALUES.map(json.dumps) | st.builds(lambda text: f"{{{text}}}", TEXTS)


@settings(max_examples=40)
@given(st.lists(PAYLOADS))
def test_every_message_is_read_as_it_was_sent(payloads: list[Payload]) -> None:
    lines = written(socket(), frames(*payloads, direction=Direction.RECEIVED), Redaction([]))
    assert all(line.isprintable() for line in lines)
    assert [frame.payload for frame in read_back(*lines)[1]] == payloads


def test_times_are_milliseconds_since_the_opening() -> None:
    lines = written(
        socket(
            closed_ns=OPENED_NS + 2_000_900_000, closed_by="server", close_code=1011, close_reason="restart"
        ),
        [*frames("a"), *frames("b", milliseconds=12.9, direction=Direction.RECEIVED)],
    )
    assert lines == [
        '{"socket": "wss://shop.example/live"}',
        '{"at": 0, "sent": "a"}',
        '{"at": 12, "received": "b"}',
        '{"at": 2000, "closed_by": "server", "code": 1011, "reason": "restart"}',
    ]
    recorded, (first, second) = read_back(*lines)
    assert (recorded.opened_ns, first.time_ns, second.time_ns) == (0, 0, 12_000_000)
    assert (recorded.closed_ns, recorded.closed_by) == (2_000_000_000, "server")
    assert (recorded.close_code, recorded.close_reason) == (1011, "restart")


def test_end_without_a_code_or_a_known_side_is_kept() -> None:
    lost = socket(closed_ns=OPENED_NS, close_code=1006)
    assert written(lost)[1:] == ['{"at": 0, "closed_by": null, "code": 1006}']
    recorded, _ = read_back(*written(lost))
    assert (recorded.close_code, recorded.close_reason, recorded.closed_by) == (1006, "", None)


def test_control_frames_are_left_out() -> None:
    ping = RecordedFrame(1, 1, OPENED_NS, Direction.SENT, 9, 0, b"", FrameFlag.NONE, None)
    assert len(written(socket(), [ping])) == 1


def test_headers_that_differ_from_run_to_run_are_left_out() -> None:
    request = Headers(
        [
            ("Host", "shop.example"),
            ("Sec-WebSocket-Key", "AAAA"),
            ("Connection", "Upgrade, X-Hop"),
            ("X-Hop", "1"),
            ("User-Agent", "app/3.1"),
            ("Sec-WebSocket-Protocol", "chat, log"),
            ("Origin", "https://shop.example"),
        ]
    )
    response = Headers(
        [
            ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"),
            ("Sec-WebSocket-Accept", "AAAA"),
            ("Sec-WebSocket-Protocol", "chat"),
            ("X-Shard", "a"),
            ("X-Shard", "b"),
        ]
    )
    (line,) = written(socket(request_headers=request, response_headers=response))
    assert line == (
        '{"socket": "wss://shop.example/live", "subprotocol": "chat", "request_headers": '
        '[["Sec-WebSocket-Protocol", "chat, log"], ["Origin", "https://shop.example"]], '
        '"response_headers": [["X-Shard", "a"], ["X-Shard", "b"]]}'
    )
    recorded, _ = read_back(line)
    assert recorded.subprotocol == "chat"
    assert recorded.status == 101
    assert recorded.response_headers is not None
    assert recorded.response_headers.get_all("x-shard") == ["a", "b"]


def test_secrets_are_redacted_as_in_a_capture() -> None:
    token = "eyJ" + "a" * 40
    lines = written(
        socket(
            url="wss://shop.example/live?token=s3cr3t",
            request_headers=Headers([("Authorization", "s3cr3t"), ("Sec-WebSocket-Protocol", token)]),
            response_headers=Headers([("Set-Cookie", "s3cr3t"), ("Sec-WebSocket-Protocol", token)]),
            subprotocol=token,
            closed_ns=OPENED_NS,
            close_code=1000,
            close_reason="jwt=s3cr3t",
        ),
        frames('{"password": "s3cr3t", "a": 1}', b'{"password": "s3cr3t"}'),
    )
    said = "\n".join(lines)
    assert "s3cr3t" not in said
    assert token not in said
    assert '{"at": 0, "sent": {"password": "REDACTED", "a": 1}}' in lines
    assert '"subprotocol": "REDACTED"' in lines[0]
    assert "s3cr3t" in "\n".join(written(socket(url="wss://a/?token=s3cr3t"), (), Redaction([])))


def test_refused_and_failed_sockets_have_their_status_and_error() -> None:
    token = "eyJ" + "a" * 40
    refused = socket(
        opened_ns=None,
        status=403,
        error=f"Error during WebSocket handshake: {token}",
        response_headers=Headers([("Sec-WebSocket-Protocol", token), ("Retry-After", "5")]),
    )
    (line,) = written(refused)
    assert '"status": 403' in line
    assert line.endswith('"failed": "Error during WebSocket handshake: REDACTED"}')
    recorded, _ = read_back(line)
    assert (recorded.opened_ns, recorded.status) == (None, 403)
    assert recorded.error == "Error during WebSocket handshake: REDACTED"
    (line,) = written(socket(opened_ns=None, status=None, response_headers=None))
    assert line == '{"socket": "wss://shop.example/live", "failed": "the handshake failed"}'
    assert read_back(line)[0].status is None


SOCKET = '{"socket": "wss://shop.example/live"}'


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([SOCKET, "{"], "line 3: it is not JSON: Input data was truncated"),
        ([SOCKET, "[]"], "line 3: it must be a JSON object"),
        ([SOCKET, "{}"], 'line 3: it has none of "socket", "sent", "received" and "closed_by"'),
        ([SOCKET, '{"at": 1, "sent": "a", "x": 1}'], "line 3: it is not JSON: trailing characters"),
        ([SOCKET, '{"sent": "a", "at": 1}'], 'line 3: a message has "at" in milliseconds, then "sent"'),
        ([SOCKET, '{"at": -1, "sent": "a"}'], 'line 3: a message has "at" in milliseconds, then "sent"'),
        ([SOCKET, '{"at": 1, "sent": 5}'], "line 3: a message must be a JSON string, object or array"),
        ([SOCKET, '{"at": 1, "sent": {"a":}}'], "line 3: it is not JSON: invalid character"),
        ([SOCKET, '{"at": 1, "sent": [NaN]}'], "line 3: it is not JSON: invalid character"),
        ([SOCKET, '{"at": 1, "sent": "\\ud800"}'], "line 3: it is not JSON"),
        ([SOCKET, f'{{"at": 1, "x": {"1" * 5_000}}}'], "line 3: it is not JSON: Exceeds the limit"),
        ([SOCKET, '{"at": 1, "sent_base64": "?"}'], "line 3: a binary message must be base64"),
        ([SOCKET, '{"at": 1, "sent_base64": "é"}'], "line 3: a binary message must be base64"),
        (
            [SOCKET, '{"at": 1, "sent": ' + "[" * 100_000 + "]" * 100_000 + "}"],
            "line 3: it is nested too deeply",
        ),
        (
            [SOCKET, f'{{"at": 1, "sent": ["{"x" * LARGEST_JSON}"]}}'],
            "line 3: a JSON value has more than 1 MiB",
        ),
        (['{"at": 1, "sent": "a"}'], "line 2: a socket must come first"),
        (['{"at": 1, "closed_by": "client"}'], "line 2: a socket must come first"),
        (['{"socket": 5}'], "line 2: no URL"),
        (['{"socket": "http://["}'], "line 2: not the URL of a WebSocket"),
        (['{"socket": "ws://a", "status": 5000}'], 'line 2: "status" must be an HTTP status'),
        (['{"socket": "ws://a", "status": true}'], 'line 2: "status" must be a whole number'),
        (['{"socket": "ws://a", "subprotocol": 5}'], 'line 2: "subprotocol" must be a string'),
        (
            ['{"socket": "ws://a", "request_headers": {}}'],
            'line 2: "request_headers" must be a list of [name',
        ),
        (
            ['{"socket": "ws://a", "response_headers": [["a"]]}'],
            'line 2: "response_headers" must be a list of',
        ),
        (
            ['{"socket": "ws://a", "response_headers": [["a", "b\\r\\nc"]]}'],
            "a header has a line end or a NUL",
        ),
        ([SOCKET, '{"at": 1, "closed_by": "me"}'], 'line 3: "closed_by" must be "client", "server", "proxy"'),
        ([SOCKET, '{"at": 1, "closed_by": []}'], 'line 3: "closed_by" must be "client", "server", "proxy"'),
        ([SOCKET, '{"at": 1.5, "closed_by": "server"}'], 'line 3: "at" must be a whole number'),
        ([SOCKET, '{"closed_by": "server"}'], 'line 3: "at" must be a number of milliseconds'),
        ([SOCKET, '{"at": 1, "closed_by": "server", "code": 70000}'], 'line 3: "code" must be a close code'),
        ([SOCKET, '{"at": 1, "closed_by": "server", "code": 7}'], 'line 3: "code" must be a close code'),
        (
            [SOCKET, f'{{"at": 1, "closed_by": "server", "code": 1000, "reason": "{"x" * 124}"}}'],
            'line 3: "reason" has more than 123 bytes',
        ),
    ],
    ids=lambda value: str(value[-1])[:50] if isinstance(value, list) else None,
)
def test_line_that_cannot_be_read_is_named_with_its_number(lines: list[str], said: str) -> None:
    with pytest.raises(CaptureError) as error:
        read_back(*lines)
    assert str(error.value).startswith("chat.jsonl: line ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
