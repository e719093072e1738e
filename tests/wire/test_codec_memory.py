"""What the codec takes: memory counted by tracemalloc, and copies counted one by one; no clock is asked."""

import os
import tracemalloc
import zlib
from collections.abc import Iterable, Iterator
from typing import SupportsIndex

import pytest

from support.frames import KEY, Peer, pieces
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode, apply_mask
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import Event, TooLarge

KIB = 1024
MIB = 1024 * KIB
SMALL = 256 * KIB
"""Bytes that any reading may take: a step of inflating, zlib's own window and buffers."""
COMPRESSED = Compression()


@pytest.fixture(params=[True, False], ids=["from client", "from server"])
def peer(request: pytest.FixtureRequest) -> Peer:
    return Peer(client=request.param)


def peak_of(reader: MessageReader, parts: Iterable[bytes]) -> tuple[int, list[Event]]:
    """Bytes that reading takes at most, without `parts` themselves."""
    parts = list(parts)
    events: list[Event] = []
    tracemalloc.start()
    try:
        for part in parts:
            events += reader.feed(part)
        return tracemalloc.get_traced_memory()[1], events
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [MIB, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1])
@pytest.mark.parametrize("first", [0x01, 0x82, 0xC2], ids=["fragment", "whole", "compressed"])
@pytest.mark.parametrize("limit", [0, 64 * KIB])
def test_announced_length_takes_no_memory(length: int, first: int, limit: int) -> None:
    reader = MessageReader(masked=True, compression=COMPRESSED, max_message=64 * KIB, limit=limit)
    header = bytes([first, 0xFF]) + length.to_bytes(8, "big") + KEY
    stored_block = apply_mask(b"\0\xff\xff\0\0...", KEY)
    peak, events = peak_of(reader, [header, stored_block[:3], stored_block[3:]])
    is_too_large = limit and first != 0xC2
    assert (events, reader.failure) == ([TooLarge(first & 0x0F)] if is_too_large else [], None)
    assert peak < SMALL


def test_message_takes_its_size_and_that_of_its_copy(peer: Peer) -> None:
    size = 16 * MIB
    stream = peer.binary(bytes(size))
    peak, (message,) = peak_of(peer.reader(max_message=size), pieces(stream, 64 * KIB))
    assert isinstance(message, bytes)
    assert len(message) == size
    assert peak <= 2 * size + SMALL


@pytest.mark.parametrize("limit", [0, MIB], ids=["none wanted", "smaller ones wanted"])
def test_message_that_is_not_kept_takes_nothing(peer: Peer, limit: int) -> None:
    stream = peer.binary(bytes(16 * MIB))
    peak, events = peak_of(peer.reader(max_message=MIB, limit=limit), pieces(stream, 64 * KIB))
    assert events == ([TooLarge(Opcode.BINARY)] if limit else [])
    assert peak < SMALL


def test_message_of_fragments_is_kept_until_it_is_too_large(peer: Peer) -> None:
    fragments = peer.fragments(Opcode.TEXT, *[b"x" * 8 * KIB] * 1000)
    peak, events = peak_of(peer.reader(max_message=MIB), fragments)
    assert events == [TooLarge(Opcode.TEXT)]
    assert peak <= MIB + SMALL


@pytest.mark.parametrize("size", [2, 9])
def test_tiny_fragments_take_no_more_than_was_sent(peer: Peer, size: int) -> None:
    fragments = peer.fragments(Opcode.BINARY, *[b"x" * size] * 12_000)[:-1]
    stream = b"".join(fragments)
    peak, _ = peak_of(peer.reader(), pieces(stream, 64 * KIB))
    assert peak <= len(stream) + SMALL


def test_tiny_pieces_take_no_more_than_was_sent(peer: Peer) -> None:
    size = 40_000
    stream = peer.binary(os.urandom(size))[:-1]
    peak, _ = peak_of(peer.reader(), pieces(stream, 2))
    assert peak <= 2 * size + SMALL


def bomb(repeat: int) -> Iterator[bytes]:
    """A message of so many mebibytes of zeros, a thousandth of that on the wire: RFC 7692, 6.1."""
    zeros = zlib.compressobj(wbits=-15)
    block = zeros.compress(bytes(MIB)) + zeros.flush(zlib.Z_FULL_FLUSH)
    assert len(block) < 1100
    peer = Peer()
    yield peer.frame(Opcode.BINARY, block, fin=False, rsv1=True)
    for _ in range(repeat - 1):
        yield peer.frame(Opcode.CONTINUATION, block, fin=False)
    yield peer.frame(Opcode.CONTINUATION, b"\0")


@pytest.mark.parametrize("repeat", [1, 1024], ids=["1 MiB", "1 GiB"])
@pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "no takeover"])
@pytest.mark.parametrize("limit", [0, None], ids=["none wanted", "wanted"])
def test_bomb_goes_off_at_the_maximum(repeat: int, takeover: bool, limit: int | None) -> None:
    most = 100 * KIB
    compression = Compression(takeover=takeover)
    reader = MessageReader(masked=False, compression=compression, max_message=most, limit=limit)
    peak, events = peak_of(reader, bomb(repeat))
    assert events == ([] if limit == 0 else [TooLarge(Opcode.BINARY)])
    assert reader.failure is None
    assert peak <= most + SMALL


def test_compressed_message_takes_its_size_and_that_of_its_copy() -> None:
    reader = MessageReader(masked=False, compression=COMPRESSED, max_message=16 * MIB)
    peak, (message,) = peak_of(reader, bomb(16))
    assert isinstance(message, bytes)
    assert len(message) == 16 * MIB
    assert peak <= 2 * 16 * MIB + SMALL


def test_short_messages_leave_nothing_behind(peer: Peer) -> None:
    reader = peer.reader()
    stream = (peer.text("abc") + peer.frame(Opcode.PING, b"abc")) * 2000
    reader.feed(stream)
    tracemalloc.start()
    try:
        for part in pieces(stream * 4, 1000):
            reader.feed(part)
        assert tracemalloc.get_traced_memory()[0] < 4 * KIB
    finally:
        tracemalloc.stop()


class Counted(bytes):
    """Bytes that count what is copied out of them."""

    copied = 0

    def __getitem__(self, key: SupportsIndex | slice) -> "Counted":  # type: ignore[override]
        part = super().__getitem__(key)
        if isinstance(part, int):
            return part  # type: ignore[return-value]
        Counted.copied += len(part)
        return Counted(part)

    def __radd__(self, before: bytes) -> "Counted":
        if not isinstance(before, bytes):
            return NotImplemented
        Counted.copied += len(before) + len(self)
        return Counted(before + bytes(self))


@pytest.mark.parametrize("piece", [1000, 64 * KIB, 32 * MIB])
@pytest.mark.parametrize("fragment", [100, 4096, 16 * MIB])
def test_pieces_are_copied_a_bounded_number_of_times(
    piece: int, fragment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 4 * MIB
    peer = Peer()
    stream = b"".join(peer.fragments(Opcode.BINARY, *pieces(bytes(size), fragment)))
    monkeypatch.setattr(Counted, "copied", 0)
    reader = peer.reader(max_message=size)
    (message,) = [event for part in pieces(stream, piece) for event in reader.feed(Counted(part))]
    assert isinstance(message, bytes)
    assert message.count(0) == len(message) == size
    assert Counted.copied <= 2 * len(stream)
