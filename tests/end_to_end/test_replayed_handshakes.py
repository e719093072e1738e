"""Recorded handshakes are answered again: refusals with headers and body, openings with their own headers."""

import gzip
import json
import math
import zlib
from pathlib import Path
from typing import Any

import pytest

from support.event_log import Recordings
from support.model_sockets import begin_socket
from support.raw_handshakes import SWITCHING, Fields, answering, asking, fields_of, values
from support.routes import NOWHERE, app
from wirewright import Proxy
from wirewright.capture import open as open_capture
from wirewright.capture.formats.bodies import BODY_BYTES
from wirewright.capture.formats.importer import import_file
from wirewright.capture.recorder import Recorder
from wirewright.model.handshake import Headers
from wirewright.model.proxy_control import Control
from wirewright.values import Direction

pytestmark = pytest.mark.wire("a mocked server needs our own layer")

URL = f"ws://{NOWHERE}/live"
Answer = tuple[str, Fields, bytes]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.db"


async def answer_of(proxy: Proxy, url: str = URL, *lines: bytes) -> Answer:
    """Status line, header fields and body that an app gets."""
    async with asking(proxy.port, url, *lines) as (head, body):
        return head.partition(b"\r\n")[0].decode(), fields_of(head), body


async def replayed(proxy: Proxy, path: Path, answer: bytes, **options: Any) -> tuple[Answer, Answer]:
    """The answer that an app got from a server, and the one that it gets from the recording."""
    proxy.start_capture(path, **options)
    async with answering(answer) as (url, _):
        first = await answer_of(proxy, f"{url}/live")
        proxy.stop_capture()
    proxy.route_from_capture(path)
    return first, await answer_of(proxy, f"{url}/live")


@pytest.mark.parametrize(
    ("status", "fields", "body"),
    [
        ("302 Found", [("Location", "https://login.test/?next=%2Flive"), ("Vary", "A"), ("vary", "B")], b""),
        ("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("www-authenticate", "Bearer")], b"who?"),
        ("503 Service Unavailable", [("Retry-After", "5"), ("Content-Type", "application/json")], b'{"a":1}'),
        ("200 OK", [("Content-Type", "text/html"), ("X-Odd", "caf\udce9")], b"<p>\xff"),
        ("404 Not Found", [], b"\0" * BODY_BYTES),
    ],
)
async def test_refusal_is_replayed_with_headers_and_body(
    proxy: Proxy, path: Path, status: str, fields: Fields, body: bytes
) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode("utf-8", "surrogateescape")
    hop_by_hop = b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    answer = b"HTTP/1.1 %s\r\n%s%s%s%s" % (status.encode(), lines, hop_by_hop, length, body)
    _, (line, got, got_body) = await replayed(proxy, path, answer)
    assert line == f"HTTP/1.1 {status}"
    assert got_body == body
    assert values(got, "content-length") == [str(len(body))]
    kept = [field for field in got if field[0].lower() != "content-length"]
    default = [("Content-Type", "text/plain; charset=utf-8")]
    if body and not any(name == "Content-Type" for name, _ in fields):
        kept = [field for field in kept if field not in default]
    assert sorted(kept) == sorted(fields)


@pytest.mark.parametrize(
    ("encoding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
async def test_encoded_body_is_recorded_and_replayed_decoded(
    proxy: Proxy, path: Path, encoding: str, encode: Any
) -> None:
    said = json.dumps({"token": "secret", "error": "expired"}).encode()
    content = encode(said)
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = answer % encoding.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content)
    _, (line, fields, body) = await replayed(proxy, path, answer)
    assert line == "HTTP/1.1 403 Forbidden"
    assert json.loads(body) == {"token": "REDACTED", "error": "expired"}
    assert [values(fields, name) for name in ("content-encoding", "transfer-encoding")] == [[], []]
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert socket.response_body == body


@pytest.mark.parametrize(
    "content",
    [b"x" * (BODY_BYTES + 1), gzip.compress(b"\0" * 50_000_000), gzip.compress(b"cut off")[:-9], b"no gzip"],
    ids=["large", "large when inflated", "cut off", "not gzip"],
)
async def test_body_that_is_not_recorded_is_said(
    proxy: Proxy, path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    encoding = b"" if content[:1] == b"x" else b"Content-Encoding: gzip\r\n"
    answer = b"HTTP/1.1 500 Oops\r\n%sContent-Length: %d\r\n\r\n%s" % (encoding, len(content), content)
    _, (line, fields, body) = await replayed(proxy, path, answer)
    assert (line, body) == ("HTTP/1.1 500 Internal Server Error", b"")
    assert values(fields, "content-length") == ["0"]
    assert values(fields, "content-encoding") == []
    assert "the body of the recorded answer 500 is not in the capture" in caplog.text
    with open_capture(path) as capture:
        assert [socket.response_body for socket in capture.sockets()] == [None]


async def test_redacted_header_of_a_refusal_is_said_and_not_sent(
    proxy: Proxy, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = (
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=secret\r\nset-cookie: b=secret\r\n"
        b"Location: /in?token=secret&a=1\r\nContent-Length: 0\r\n\r\n"
    )
    first, (_, fields, _) = await replayed(proxy, path, answer)
    assert len(values(first[1], "set-cookie")) == 2
    assert values(fields, "set-cookie") == []
    assert values(fields, "location") == ["/in?token=REDACTED&a=1"]
    assert "the recording has REDACTED for Set-Cookie, Location of socket #" in caplog.text


async def test_opening_is_replayed_with_its_own_headers(proxy: Proxy, path: Path) -> None:
    lines = b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: caf\xe9\r\nKeep-Alive: 5\r\nServer: shop\r\n\r\n"
    answer = SWITCHING + lines
    (_, first, _), (line, again, body) = await replayed(proxy, path, answer, redact=[])
    assert line == "HTTP/1.1 101 Switching Protocols"
    own = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Odd", "caf\udce9"), ("Server", "shop")]
    assert [field for field in again if field in first and field[0] not in ("Upgrade", "Connection")] == [
        ("Sec-WebSocket-Accept", dict(first)["Sec-WebSocket-Accept"]),
        *own,
    ]
    assert values(again, "keep-alive") == values(again, "content-length") == []
    assert body == b""


async def test_redacted_header_of_an_opening_is_said(
    proxy: Proxy, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, (line, fields, _) = await replayed(proxy, path, SWITCHING + b"Set-Cookie: a=1\r\n\r\n")
    assert line.endswith("101 Switching Protocols")
    assert values(fields, "set-cookie") == []
    assert "the recording has REDACTED for Set-Cookie of socket #" in caplog.text


async def test_header_that_cannot_be_sent_is_left_out_and_said(
    proxy: Proxy, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    control, recorder = Control(Proxy()), Recorder(path, "test")
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, URL)
    feed.answered(429, Headers([("X-Bad", "a\r\nSet-Cookie: injected=1"), ("b ad", "x"), ("Good", "1")]), b"")
    feed.closed()
    recorder.stop()
    proxy.route_from_capture(path)
    _, fields, _ = await answer_of(proxy)
    assert [field for field in fields if field[0] != "content-length"] == [("Good", "1")]
    assert caplog.text.count("a recorded header is left out") == 2


def har(status: int, *messages: dict[str, Any], **response: Any) -> str:
    entry = {
        "_resourceType": "websocket",
        "_webSocketMessages": list(messages),
        "startedDateTime": "2025-11-25T20:44:37.000Z",
        "time": 5,
        "request": {"url": URL, "headers": [{"name": "Cookie", "value": "a=1"}]},
        "response": {"status": status, "headers": [{"name": "X-Own", "value": "1"}]} | response,
    }
    return json.dumps({"log": {"entries": [entry]}})


@pytest.mark.parametrize("status", [200, 204, 0, -1, 101])
async def test_socket_with_messages_is_opened_whatever_its_recorded_status(
    proxy: Proxy, path: Path, recordings: Recordings, status: int
) -> None:
    source = path.with_suffix(".har")
    message = {"type": "receive", "time": 1764103478, "opcode": 1, "data": "hello"}
    source.write_text(har(status, message))
    import_file(source, path)
    with open_capture(path) as capture:
        (socket,) = capture.sockets()
    assert socket.status == (status if status > 0 else None)
    replay = proxy.route_from_capture(path, speed=math.inf)
    async with app(proxy, URL) as client:
        assert await client.recv() == "hello"
        assert client.response is not None
        assert (client.response.status_code, client.response.headers["X-Own"]) == (101, "1")
    assert (await recordings.first()).ws.status == 101
    assert list(replay.mismatches) == []


async def test_socket_that_an_older_import_took_for_closed_is_opened(proxy: Proxy, path: Path) -> None:
    control, recorder = Control(Proxy()), Recorder(path, "test")
    control.start_recording(recorder)
    feed = begin_socket(control.proxy, URL)
    feed.answered(200, {})
    assert feed.tape is not None
    feed.tape.messages(["hello"], 5, direction=Direction.RECEIVED)
    feed.closed()
    recorder.stop()
    proxy.route_from_capture(path, speed=math.inf)
    async with app(proxy, URL) as client:
        assert await client.recv() == "hello"


async def test_refusal_of_an_archive_is_replayed(proxy: Proxy, path: Path) -> None:
    source = path.with_suffix(".har")
    source.write_text(har(403, content={"text": "/wAh", "encoding": "base64", "size": 3}))
    import_file(source, path)
    proxy.route_from_capture(path)
    line, fields, body = await answer_of(proxy)
    assert (line, body) == ("HTTP/1.1 403 Forbidden", b"\xff\0!")
    assert values(fields, "x-own") == ["1"]


async def test_answer_that_never_came_is_replayed_as_a_cut(proxy: Proxy, path: Path) -> None:
    control, recorder = Control(Proxy()), Recorder(path, "test")
    control.start_recording(recorder)
    begin_socket(control.proxy, URL).closed()
    recorder.stop()
    proxy.route_from_capture(path)
    with pytest.raises(EOFError):
        await answer_of(proxy)
