import os

import pytest

from wirewright.wire import frames
from wirewright.wire.frames import (
    MAX_CONTROL_PAYLOAD,
    MAX_HEADER,
    CloseCode,
    Opcode,
    ProtocolError,
    apply_mask,
    decode_close,
    encode_close,
    encode_frame,
)

KEY = b"\x37\xfa\x21\x3d"


@pytest.fixture(params=["speedup", "pure"])
def _mask_codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masking as it is, and as it is where no compiled wheel can be had."""
    if request.param == "pure":
        monkeypatch.setattr(frames, "_apply_mask", None)
    elif vars(frames)["_apply_mask"] is None:
        pytest.skip("websockets is not here, or has no compiled part")


@pytest.mark.parametrize(
    ("frame", "on_the_wire"),
    [
        (encode_frame(Opcode.TEXT, b"Hello"), "81 05 48656c6c6f"),
        (encode_frame(Opcode.TEXT, b"Hello", mask=KEY), "81 85 37fa213d 7f9f4d5158"),
        (encode_frame(Opcode.TEXT, b"Hel", fin=False), "01 03 48656c"),
        (encode_frame(Opcode.CONTINUATION, b"lo"), "80 02 6c6f"),
        (encode_frame(Opcode.PING, b"Hello"), "89 05 48656c6c6f"),
        (encode_frame(Opcode.PONG, b"Hello", mask=KEY), "8a 85 37fa213d 7f9f4d5158"),
        (encode_frame(Opcode.TEXT, bytes.fromhex("f248cdc9c90700"), rsv1=True), "c1 07 f248cdc9c90700"),
        (encode_frame(Opcode.CLOSE, b""), "88 00"),
        (encode_frame(Opcode.BINARY, b"", mask=KEY), "82 80 37fa213d"),
    ],
    ids=[
        "text",
        "masked text",
        "first fragment",
        "last fragment",
        "ping",
        "masked pong",
        "compressed",
        "close",
        "masked nothing",
    ],
)
def test_frames_are_encoded_as_in_the_examples_of_the_rfcs(frame: bytes, on_the_wire: str) -> None:
    assert frame == bytes.fromhex(on_the_wire)


@pytest.mark.parametrize("mask", [None, KEY], ids=["unmasked", "masked"])
@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, "00"),
        (125, "7d"),
        (126, "7e 007e"),
        (127, "7e 007f"),
        (256, "7e 0100"),
        (65_535, "7e ffff"),
        (65_536, "7f 0000000000010000"),
    ],
)
def test_length_takes_the_fewest_bytes(size: int, length: str, mask: bytes | None) -> None:
    header = bytearray(b"\x82" + bytes.fromhex(length))
    if mask:
        header[1] |= 0x80
        header += mask
    frame = encode_frame(Opcode.BINARY, bytes(size), mask=mask)
    assert frame[: len(header)] == header
    assert len(frame) == len(header) + size
    assert len(header) <= MAX_HEADER


@pytest.mark.usefixtures("_mask_codec")
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 511, 512, 513, 514, 515, 516, 70_001])
def test_mask_is_repeated_over_the_data(size: int) -> None:
    data = os.urandom(size)
    masked = apply_mask(data, KEY)
    assert masked == bytes(byte ^ KEY[index % 4] for index, byte in enumerate(data))
    assert type(masked) is bytes
    assert apply_mask(masked, KEY) == data


@pytest.mark.usefixtures("_mask_codec")
@pytest.mark.parametrize("size", [7, 1000])
def test_mask_of_zeros_changes_nothing(size: int) -> None:
    data = os.urandom(size)
    assert apply_mask(data, bytes(4)) == data


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1000, ""),
        (1000, "bye"),
        (1001, "gone away"),
        (3000, "custom é"),
        (4999, "🙂" * 30),
        (1014, "a code that RFC 6455 does not know"),
        (2999, "a code that no RFC defines"),
        (999, ""),
        (0, ""),
        (5000, ""),
        (65_535, ""),
    ],
)
def test_close_comes_out_as_it_went_in(code: int, reason: str) -> None:
    payload = encode_close(code, reason)
    assert len(payload) <= MAX_CONTROL_PAYLOAD
    assert decode_close(payload) == (code, reason)


def test_close_without_a_code_is_an_empty_payload() -> None:
    assert encode_close(None) == b""
    assert decode_close(b"") == (CloseCode.NO_STATUS, "")


def test_close_code_is_two_bytes_in_network_order() -> None:
    assert encode_close(1000, "bye") == b"\x03\xe8bye"


RESERVED = "Received a broken close frame containing a reserved status code."
BAD_REASON = "Received a broken close frame containing invalid UTF-8."


@pytest.mark.parametrize(
    ("payload", "message", "code"),
    [
        (b"\x03", "Received a broken close frame with an invalid size of 1 byte.", 1002),
        (b"\x03\xed", RESERVED, 1002),
        (b"\x03\xeebye", RESERVED, 1002),
        (b"\x03\xf7", RESERVED, 1002),
        (b"\x03\xed\xff", RESERVED, 1002),
        (b"\x03\xe8\xff", BAD_REASON, 1007),
        (b"\x03\xe8\xe2\x82", BAD_REASON, 1007),
        (b"\x03\xe8\xed\xa0\x80", BAD_REASON, 1007),
        (b"\x03\xe8\xc0\x80", BAD_REASON, 1007),
    ],
    ids=[
        "one byte",
        "1005",
        "1006 with a reason",
        "1015",
        "1005 and bad UTF-8",
        "bad UTF-8",
        "cut UTF-8",
        "a surrogate",
        "an overlong form",
    ],
)
def test_close_that_a_browser_refuses_is_a_violation(payload: bytes, message: str, code: int) -> None:
    with pytest.raises(ProtocolError) as raised:
        decode_close(payload)
    assert (raised.value.message, raised.value.code) == (message, code)
    assert str(raised.value) == message


def test_violation_is_answered_with_1002_unless_said_otherwise() -> None:
    assert ProtocolError("…").code is CloseCode.PROTOCOL_ERROR
