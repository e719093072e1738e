"""Messages, as they are written and read."""

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirewright.remote import codec, protocol
from wirewright.remote.codec import (
    JSON,
    MESSAGEPACK,
    SUBPROTOCOLS,
    InvalidMessage,
    MessageTooLarge,
    make_codec,
)
from wirewright.remote.protocol import FromClient, FromProxy
from wirewright.values import Direction

PAYLOADS = st.text(st.characters(exclude_categories=["Cs"])) | st.binary()
FRAMES = st.builds(
    protocol.Frames,
    key=st.text(st.characters(exclude_categories=["Cs"])),
    event=st.sampled_from(protocol.EVENTS),
    number=st.integers(0, 2**53),
    payloads=st.lists(PAYLOADS),
    at=st.floats(0, 2e9),
)
SNAPSHOT = protocol.Snapshot(
    key="k",
    url="wss://h/é",
    request_headers=[("Host", "h")],
    client_address=("::1", 5),
    history=[protocol.Remembered(b"\xff", "framesent", 1.5)],
)
MESSAGES = [
    protocol.Welcome("wirewright", None, "/ca.pem", 5, 6, [SNAPSHOT]),
    protocol.Opening(SNAPSHOT),
    protocol.Outside("wss://h/é", ("::1", 5), 8080, "phone"),
    protocol.Changed("k", [], [("A", "b"), ("a", "\xe9")], 101, 1.0, ("h", 1)),
    protocol.Closed("k", 1006, "", None),
    protocol.RouteMessage(b"x" * 1000, "k", 1, direction=Direction.SENT),
]


def through(subprotocol: str, message: Any, expects: Any = FromProxy) -> Any:
    """What comes out at the other side."""
    *first, last = make_codec(subprotocol, expects).encode(message)
    reader = make_codec(subprotocol, expects)
    assert [reader.decode(data) for data in first] == [None] * len(first)
    return reader.decode(last)


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_message_is_the_same_at_the_other_side(subprotocol: str, message: Any) -> None:
    assert through(subprotocol, message) == message


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
@given(FRAMES)
def test_frames_are_the_same_at_the_other_side(subprotocol: str, message: protocol.Frames) -> None:
    assert through(subprotocol, message) == message


def test_bytes_are_attached_to_json_and_not_in_it() -> None:
    message = protocol.Frames("k", "framesent", 0, ["text", b"\xff" * 5_000, b""], 1.0)
    text, *attachments = make_codec(JSON, FromProxy).encode(message)
    assert attachments == [b"\xff" * 5_000, b""]
    assert json.loads(text) == {
        "type": "frames",
        "key": "k",
        "event": "framesent",
        "number": 0,
        "payloads": ["text", {"attachment": 0}, {"attachment": 1}],
        "at": 1.0,
        "attachments": 2,
    }


def test_message_pack_has_bytes_as_they_are() -> None:
    (data,) = make_codec(MESSAGEPACK, FromClient).encode(
        protocol.Send(b"\xff\x00", 1, "k", direction=Direction.RECEIVED)
    )
    assert isinstance(data, bytes)
    assert msgspec.msgpack.decode(data) == {
        "type": "send",
        "payload": b"\xff\x00",
        "id": 1,
        "key": "k",
        "direction": "received",
    }


@pytest.mark.parametrize(
    ("subprotocol", "data", "code", "said"),
    [
        (MESSAGEPACK, b"\xc1", 1007, "malformed"),
        (MESSAGEPACK, b"", 1007, "truncated"),
        (MESSAGEPACK, "text", 1003, "is binary"),
        (MESSAGEPACK, b"\x81\xa4type\xa4nope", 1007, "Invalid value 'nope'"),
        (MESSAGEPACK, b"\x91" * 100_000, 1007, ""),
        (JSON, b"bytes", 1003, "is text"),
        (JSON, "{", 1007, "Expecting"),
        (JSON, "[" * 100_000, 1007, ""),
        (JSON, "[1]", 1007, "Expected `object`"),
        (JSON, '{"type":"send"}', 1007, "missing required field"),
        (JSON, '{"type":"stopcapture","id":1,"more":2}', 1007, "unknown field `more`"),
        (JSON, '{"type":"stopcapture","id":"1"}', 1007, "Expected `int`"),
        (JSON, '{"type":"stopcapture","id":1,"attachments":-1}', 1007, "attachments must be"),
        (JSON, '{"type":"stopcapture","id":1,"attachments":1e9}', 1007, "attachments must be"),
        (JSON, '{"type":"stopcapture","id":1,"attachments":10001}', 1007, "attachments must be"),
        (JSON, '{"type":"annotate","id":1,"text":{"attachment":0}}', 1007, ""),
        (
            JSON,
            '{"type":"route","id":1,"rule":1,"url":{"type":"function"},"times":null,"timeout":NaN,"fallback":"pass"}',
            1007,
            "timeout must be 0 (no limit) to",
        ),
        (
            JSON,
            '{"type":"conditions","id":1,"key":"k","direction":"received","values":{"latency":Infinity}}',
            1007,
            "latency must be a number",
        ),
        (
            JSON,
            '{"type":"conditions","id":1,"key":"k","direction":"received","values":{"latency":1%s}}'
            % ("0" * 400),
            1007,
            "",
        ),
        (JSON, '{"type":"annotate","id":1,"text":{"attachment":"x"}}', 1007, ""),
        (
            JSON,
            '{"type":"send","id":1,"key":"k","payload":7,"direction":"received"}',
            1007,
            "a payload must be text or bytes, not int",
        ),
    ],
)
def test_what_is_no_message_has_a_code_and_a_reason(
    subprotocol: str, data: str | bytes, code: int, said: str
) -> None:
    with pytest.raises(InvalidMessage) as raised:
        make_codec(subprotocol, FromClient).decode(data)
    assert raised.value.code == code
    assert said in raised.value.reason
    assert len(raised.value.reason.encode()) <= 123  # RFC 6455, 5.5


def test_attachment_must_be_binary() -> None:
    codec = make_codec(JSON, FromClient)
    assert codec.decode('{"type":"stopcapture","id":1,"attachments":1}') is None
    with pytest.raises(InvalidMessage, match="an attachment is binary"):
        codec.decode("text")


def frames(*payloads: str | bytes) -> protocol.Frames:
    return protocol.Frames("k", "framesent", 0, payloads, 1.0)


@pytest.mark.parametrize("subprotocol", SUBPROTOCOLS)
@pytest.mark.parametrize(
    "message",
    [
        frames("x" * 10_000),
        frames("é" * 5_000),
        frames(*["x" * 1_000] * 10),
        frames(b"x" * 10_001),
        protocol.RouteMessage("x" * 10_000, "k", 1, direction=Direction.SENT),
    ],
    ids=["text", "text in UTF-8", "several", "bytes", "for a handler"],
)
def test_message_that_would_end_the_connection_is_too_large(
    subprotocol: str, message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert through(subprotocol, message)
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", 10_000)
    with pytest.raises(MessageTooLarge, match="a message has 10,000 bytes at most"):
        make_codec(subprotocol, FromProxy).encode(message)


@pytest.mark.parametrize(
    "message", [frames("\0" * 2_000), frames('"' * 6_000), frames("\\" * 6_000), frames(*"\0" * 2_000)]
)
def test_json_counts_characters_as_they_are_escaped(
    message: protocol.Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", 11_000)
    assert make_codec(MESSAGEPACK, FromProxy).encode(message)
    with pytest.raises(MessageTooLarge):
        make_codec(JSON, FromProxy).encode(message)


def test_json_has_as_many_attachments_as_the_other_side_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert through(JSON, frames(*[b""] * 10_000))
    with pytest.raises(MessageTooLarge):
        make_codec(JSON, FromProxy).encode(frames(*[b""] * 10_001))
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", 10_000)
    with pytest.raises(MessageTooLarge):
        make_codec(JSON, FromProxy).encode(frames(*[b"x" * 1_001] * 10))


def test_message_that_is_too_large_for_json_is_not_written_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", 16_000_000)
    message = frames("\0" * 4_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLarge):
            make_codec(JSON, FromProxy).encode(message)
        assert tracemalloc.get_traced_memory()[1] < 12_000_000  # written, it has 24,000,000 bytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["x" * 25, "\0\n" * 25, 'é"\\' * 25, "\U0001f600" * 25])
def test_long_text_is_written_in_short_steps(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = make_codec(JSON, FromProxy)
    message = frames("short", text, b"bytes", text[:11])
    whole = writer.encode(message)
    monkeypatch.setattr(codec, "TEXT_STEP", 10)
    written: list[int] = []
    dumps = json.dumps

    def watch(value: Any, **options: Any) -> str:
        written.extend([len(value)] if isinstance(value, str) else [])
        return dumps(value, **options)

    monkeypatch.setattr(json, "dumps", watch)
    steps = writer.encode_in_steps(message)
    assert sum(1 for _ in steps) == len(written) == -(-len(text) // 10) + 2
    assert max(written) == 10
    assert writer.encode(message) == whole
