"""Frames of our own: RFC 6455, 5.2, and RFC 7692, 7.2.1."""

import os
import zlib

import pytest

from support.frames import MAX_MESSAGE
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import Event
from wirewright.wire.stream import Encoder

TAKEOVER = Compression()
NO_TAKEOVER = Compression(takeover=False)
LONG = "long " * 300


def frames_of(data: bytes, *, masked: bool) -> list[Event]:
    return MessageReader(masked=masked, compression=TAKEOVER, max_message=MAX_MESSAGE).feed(data)


@pytest.mark.parametrize("compression", [TAKEOVER, NO_TAKEOVER, Compression(9), Compression(8)], ids=str)
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 1024, 1025, 70_000])
def test_messages_of_every_size_are_compressed_if_agreed(
    compression: Compression, masked: bool, size: int
) -> None:
    encoder = Encoder(masked=masked, compression=compression)
    for opcode, payload in ((Opcode.TEXT, "a" * size), (Opcode.BINARY, b"a" * size)):
        frame = encoder.message(opcode, b"a" * size, compress=True)
        assert frame[0] == 0xC0 | opcode
        assert bool(frame[1] & 0x80) is masked
        assert frames_of(frame, masked=masked) == [payload]


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


def test_messages_are_not_compressed_unless_that_was_agreed() -> None:
    frame = Encoder(masked=False).message(Opcode.BINARY, bytes(5000), compress=True)
    assert frame == b"\x82\x7e\x13\x88" + bytes(5000)


def test_messages_are_not_compressed_unless_wanted() -> None:
    frame = Encoder(masked=False, compression=TAKEOVER).message(Opcode.BINARY, bytes(5000), compress=False)
    assert frame == b"\x82\x7e\x13\x88" + bytes(5000)


def test_frames_to_a_server_have_new_masks() -> None:
    encoder = Encoder(masked=True)
    assert len({encoder.message(Opcode.TEXT, b"same", compress=True) for _ in range(10)}) > 1
    assert encoder.control(Opcode.PING, b"?")[1] & 0x80
    assert encoder.control(Opcode.CLOSE, b"\x03\xe8")[1] & 0x80
