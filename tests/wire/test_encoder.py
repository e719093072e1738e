"""Frames of our own: RFC 6455, 5.2, and RFC 7692, 7.2.1."""

import os
import zlib

import pytest

from support.frames import MAX_MESSAGE
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode
from wirewright.wire.messages import Event, MessageReader
from wirewright.wire.stream import COMPRESS_FROM, Encoder

TAKEOVER = Compression()
NO_TAKEOVER = Compression(takeover=False)
LONG = "long " * 300


def frames_of(data: bytes, *, masked: bool) -> list[Event]:
    return MessageReader(masked=masked, compression=TAKEOVER, max_message=MAX_MESSAGE).feed(data)


@pytest.mark.parametrize("compression", [TAKEOVER, NO_TAKEOVER, Compression(9)], ids=str)
@pytest.mark.parametrize("masked", [True, False])
def test_messages_above_one_kibibyte_are_compressed_if_agreed(compression: Compression, masked: bool) -> None:
    encoder = Encoder(masked=masked, compression=compression)
    for opcode in (Opcode.TEXT, Opcode.BINARY):
        short = encoder.message(opcode, b"a" * COMPRESS_FROM, compress=True)
        assert short[0] == 0x80 | opcode
        long = encoder.message(opcode, b"a" * (COMPRESS_FROM + 1), compress=True)
        assert long[0] == 0xC0 | opcode
        assert len(long) < 100
        for frame, size in ((short, COMPRESS_FROM), (long, COMPRESS_FROM + 1)):
            assert bool(frame[1] & 0x80) is masked
            (message,) = frames_of(frame, masked=masked)
            assert message in ("a" * size, b"a" * size)


def test_each_compressed_message_stands_for_itself() -> None:
    encoder = Encoder(masked=False, compression=TAKEOVER)
    frames = [encoder.message(Opcode.TEXT, LONG.encode(), compress=True) for _ in range(2)]
    assert frames[0] == frames[1]
    assert [frames_of(frame, masked=False) for frame in frames] == [[LONG], [LONG]]


def test_compression_keeps_to_the_window_that_was_agreed() -> None:
    noise = os.urandom(2000)
    frame = Encoder(masked=False, compression=Compression(9)).message(Opcode.BINARY, noise * 2, compress=True)
    payload = frame[4:] if frame[1] == 126 else frame[10:]
    assert zlib.decompressobj(wbits=-9).decompress(payload) == noise * 2


@pytest.mark.parametrize("compression", [None, Compression(8)], ids=["none agreed", "window of 256 bytes"])
def test_messages_are_not_compressed_where_that_is_impossible(compression: Compression | None) -> None:
    frame = Encoder(masked=False, compression=compression).message(Opcode.BINARY, bytes(5000), compress=True)
    assert frame == b"\x82\x7e\x13\x88" + bytes(5000)


def test_messages_are_not_compressed_unless_wanted() -> None:
    frame = Encoder(masked=False, compression=TAKEOVER).message(Opcode.BINARY, bytes(5000), compress=False)
    assert frame == b"\x82\x7e\x13\x88" + bytes(5000)


def test_frames_to_a_server_have_new_masks() -> None:
    encoder = Encoder(masked=True)
    assert len({encoder.message(Opcode.TEXT, b"same", compress=True) for _ in range(10)}) > 1
    assert encoder.control(Opcode.PING, b"?")[1] & 0x80
    assert encoder.control(Opcode.CLOSE, b"\x03\xe8")[1] & 0x80
