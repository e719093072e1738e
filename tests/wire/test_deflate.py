import os
import zlib

import pytest
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from support.frames import MAX_MESSAGE, Peer, pieces, read
from wirewright.wire import deflate as deflate_module
from wirewright.wire.deflate import MESSAGE_TAIL, Agreement, Compression, Inflater, deflate, parse_agreement
from wirewright.wire.frames import CloseCode, Opcode, ProtocolError, encode_frame
from wirewright.wire.reader_events import TooLarge

TAKEOVER = Compression()
NO_TAKEOVER = Compression(takeover=False)
PIECE = 64 * 1024
BROKEN = b"\xff\xff\xff"
"""There is no third type of block."""


@pytest.fixture(params=[TAKEOVER, NO_TAKEOVER], ids=["takeover", "no takeover"])
def compression(request: pytest.FixtureRequest) -> Compression:
    value: Compression = request.param
    return value


def both(client: Compression, server: Compression) -> Agreement:
    return Agreement(client, server)


@pytest.mark.parametrize(
    ("header", "agreement"),
    [
        ("", Agreement()),
        (" , ,", Agreement()),
        ("permessage-deflate", both(TAKEOVER, TAKEOVER)),
        (" Permessage-Deflate ;", both(TAKEOVER, TAKEOVER)),
        (", permessage-deflate ,", both(TAKEOVER, TAKEOVER)),
        ("permessage-deflate; client_no_context_takeover", both(NO_TAKEOVER, TAKEOVER)),
        ("permessage-deflate; server_no_context_takeover", both(TAKEOVER, NO_TAKEOVER)),
        ("permessage-deflate;server_max_window_bits=10", both(TAKEOVER, Compression(10))),
        ("permessage-deflate;client_max_window_bits=8", both(Compression(8), TAKEOVER)),
        ('permessage-deflate; client_max_window_bits="11"', both(Compression(11), TAKEOVER)),
        ("permessage-deflate ; client_max_window_bits = 15 ", both(TAKEOVER, TAKEOVER)),
        ('permessage-deflate;\tserver_max_window_bits=" 9 "', both(TAKEOVER, Compression(9))),
        ("permessage-deflate; client_max_window_bits", both(TAKEOVER, TAKEOVER)),
        (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=9; client_max_window_bits=12",
            both(Compression(12, takeover=False), Compression(9, takeover=False)),
        ),
        ("x-none", Agreement(unknown="x-none")),
        ("x-none; a=1", Agreement(unknown="x-none")),
        ('x-none; a="1, permessage-deflate"', Agreement(unknown="x-none")),
        ("permessage-deflate, x-none", Agreement(unknown="x-none")),
        ("x-none, permessage-deflate", Agreement(unknown="x-none")),
        ("permessage-deflate, permessage-deflate", Agreement(unknown="permessage-deflate")),
        *(
            (offer, Agreement(unknown=offer))
            for offer in (
                "permessage-deflate; server_max_window_bits=7",
                "permessage-deflate; server_max_window_bits=16",
                "permessage-deflate; client_max_window_bits=-9",
                "permessage-deflate; client_max_window_bits=ten",
            )
        ),
    ],
)
def test_agreement_is_read_for_both_directions(header: str, agreement: Agreement) -> None:
    assert parse_agreement(header) == agreement


def test_endless_number_is_no_agreement() -> None:
    offer = "permessage-deflate; client_max_window_bits=" + "9" * 5000
    assert parse_agreement(offer) == Agreement(unknown=offer)


HELLO = "f2 48 cd c9 c9 07 00"


@pytest.mark.parametrize(
    ("payloads", "messages"),
    [
        ((HELLO,), ["Hello"]),
        ((HELLO, HELLO), ["Hello", "Hello"]),
        ((HELLO, "f2 00 11 00 00"), ["Hello", "Hello"]),
        (("00 05 00 fa ff 48 65 6c 6c 6f 00",), ["Hello"]),
        (("f3 48 cd c9 c9 07 00 00",), ["Hello"]),
        (("f2 48 05 00 00 00 ff ff ca c9 c9 07 00",), ["Hello"]),
        (("00", "00", HELLO, "00"), ["", "", "Hello", ""]),
        (("f3 48 cd c9 c9 07 00 00", HELLO, "f2 00 11 00 00"), ["Hello", "Hello", "Hello"]),
        (("f3 48 cd c9 c9 07 00 " + HELLO,), ["HelloHello"]),
        (("03 00 03 00 03 00 00", HELLO), ["", "Hello"]),
    ],
    ids=[
        "one block",
        "sharing nothing",
        "sharing the window",
        "block without compression",
        "final block",
        "two blocks",
        "empty messages",
        "final block, then others",
        "final block and another one",
        "empty final blocks",
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_blocks_of_any_kind_are_inflated(payloads: tuple[str, ...], messages: list[str], size: int) -> None:
    """Mostly the examples of RFC 7692, 7.2.3."""
    peer = Peer(compression=TAKEOVER)
    stream = b"".join(peer.frame(Opcode.TEXT, bytes.fromhex(payload), rsv1=True) for payload in payloads)
    reader = peer.reader()
    assert read(reader, pieces(stream, size)) == messages
    assert reader.failure is None


def test_what_a_message_left_unfinished_does_not_spoil_the_next_without_takeover() -> None:
    peer = Peer(compression=NO_TAKEOVER)
    reader = peer.reader()
    unfinished = peer.frame(Opcode.BINARY, b"\x03\x00", rsv1=True)  # lacks the byte that begins another block
    assert reader.feed(unfinished + peer.compressed("next")) == [b"", "next"]
    assert reader.failure is None


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize("bits", range(8, 16))
def test_messages_are_read_with_every_window(bits: int, compression: Compression, client: bool) -> None:
    peer = Peer(client=client, compression=Compression(bits, compression.takeover))
    size = 10 if bits == 8 else 3000
    messages: list[str | bytes] = ["é" * size, os.urandom(size), "", b"", "abc" * size, b"abc" * size]
    reader = peer.reader()
    assert read(reader, pieces(b"".join(map(peer.compressed, messages)), 1, 1000)) == messages


def test_message_may_refer_to_earlier_ones_only_with_takeover() -> None:
    peer = Peer(compression=TAKEOVER)
    noise = os.urandom(1000)
    stream = peer.compressed(noise) + peer.compressed(noise)
    assert len(stream) < 1200
    assert peer.reader().feed(stream) == [noise, noise]
    without = Peer(compression=NO_TAKEOVER).reader()
    assert without.feed(stream) == [noise]
    assert without.failure is not None
    assert (without.failure.message, without.failure.code) == ("Invalid frame header", CloseCode.INVALID_DATA)


def test_compressed_message_is_read_from_fragments_with_control_frames_between(
    compression: Compression,
) -> None:
    peer = Peer(client=True, compression=compression)
    expected = []
    stream = b""
    for text in ("one" * 400, "two", "", "one" * 500):
        deflated = peer.deflate(text.encode())
        parts = peer.fragments(Opcode.TEXT, deflated[:2], b"", deflated[2:], b"", rsv1=True)
        stream += peer.frame(Opcode.PING, b"?").join(parts) + peer.text("plain")
        expected += [text, "plain"]
    reader = peer.reader()
    events = read(reader, pieces(stream, 1, 2, 30))
    assert [event for event in events if isinstance(event, str)] == expected
    assert len(events) == len(expected) + 4 * 3


def test_message_without_compression_leaves_the_window_as_it_is() -> None:
    peer = Peer(compression=TAKEOVER)
    stream = peer.compressed("shared" * 9) + peer.text("ours") + peer.compressed("shared" * 9)
    assert peer.reader().feed(stream) == ["shared" * 9, "ours", "shared" * 9]


@pytest.mark.parametrize("limit", [0, 100, 1000])
def test_messages_that_nobody_wanted_still_fill_the_window(limit: int) -> None:
    peer = Peer(compression=TAKEOVER)
    noise = os.urandom(1001)
    reader = peer.reader(limit=limit)
    said = [TooLarge(Opcode.BINARY)] if limit else []
    assert read(reader, pieces(peer.compressed(noise), 7)) == said
    reader.wanted.limit = MAX_MESSAGE
    assert reader.feed(peer.compressed(noise)) == [noise]


def test_nothing_compressed_is_read_after_a_message_beyond_the_maximum() -> None:
    peer = Peer(compression=TAKEOVER)
    reader = peer.reader(max_message=1000)
    stream = (
        peer.compressed(bytes(1001)) + peer.compressed("short") + peer.text("plain") + peer.compressed(b"")
    )
    events = [TooLarge(Opcode.BINARY), TooLarge(Opcode.TEXT), "plain", TooLarge(Opcode.BINARY)]
    assert read(reader, pieces(stream, 1)) == events
    assert reader.failure is None


def test_next_message_is_read_after_one_beyond_the_maximum_without_takeover() -> None:
    peer = Peer(compression=NO_TAKEOVER)
    reader = peer.reader(max_message=1000)
    stream = peer.compressed(bytes(1001)) + peer.compressed("short") + peer.compressed(os.urandom(300_000))
    stream += peer.compressed(bytes(1000))
    events = [TooLarge(Opcode.BINARY), "short", TooLarge(Opcode.BINARY), bytes(1000)]
    assert read(reader, pieces(stream, 4096)) == events
    assert reader.feed(stream) == events


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, MAX_MESSAGE])
@pytest.mark.parametrize("piece", [1, 50, MAX_MESSAGE])
def test_large_message_is_inflated_whole(size: int, piece: int, compression: Compression) -> None:
    peer = Peer(compression=compression)
    reader = peer.reader()
    for _ in range(2):
        assert read(reader, pieces(peer.compressed(bytes(size)), piece)) == [bytes(size)]


@pytest.mark.parametrize("data", [BROKEN, b"\x00\x01\x02\x03\x04", b"\xf3\x48\xcd\xc9\xc9\x07\x00" + BROKEN])
def test_data_that_is_no_deflate_is_a_violation(data: bytes) -> None:
    inflater = Inflater(TAKEOVER)
    inflater.begin()
    with pytest.raises(ProtocolError, match=r"^Invalid frame header$") as raised:
        inflater.push(data, 1000)
    assert raised.value.code is CloseCode.INVALID_DATA


def test_inflating_stops_one_byte_after_the_limit() -> None:
    zeros = zlib.compressobj(wbits=-15)
    block = zeros.compress(bytes(MAX_MESSAGE)) + zeros.flush(zlib.Z_FULL_FLUSH)
    assert len(block) < 1100
    inflater = Inflater(TAKEOVER)
    inflater.begin()
    limit = 100_000
    inflated = sum(len(inflater.push(block, limit)) for _ in range(1024))
    assert inflated == inflater.size == limit + 1
    assert inflater.push(MESSAGE_TAIL, limit) == b""


class CountingZlib:
    """zlib, counting the calls and the bytes that it is given."""

    error = zlib.error

    def __init__(self) -> None:
        self.given = self.calls = 0

    def decompressobj(self, wbits: int) -> "CountingZlib._Decompressor":
        return self._Decompressor(self, wbits)

    class _Decompressor:
        def __init__(self, counter: "CountingZlib", wbits: int) -> None:
            self._counter = counter
            self._zlib = zlib.decompressobj(wbits)

        def decompress(self, data: bytes, max_length: int) -> bytes:
            self._counter.given += len(data)
            self._counter.calls += 1
            return self._zlib.decompress(data, max_length)

        @property
        def eof(self) -> bool:
            return self._zlib.eof

        @property
        def unused_data(self) -> bytes:
            return self._zlib.unused_data


@pytest.mark.parametrize("piece", [PIECE, 8 * MAX_MESSAGE], ids=["in pieces", "in one piece"])
def test_inflating_goes_over_the_data_a_bounded_number_of_times(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = CountingZlib()
    monkeypatch.setattr(deflate_module, "zlib", counter)
    noise = os.urandom(4 * MAX_MESSAGE)
    data = deflate_of(noise)
    inflater = Inflater(TAKEOVER)
    assert b"".join(inflater.push(part, 8 * MAX_MESSAGE) for part in pieces(data, piece)) == noise
    assert counter.given <= 4 * len(data)


def test_piece_is_inflated_in_one_call_however_large_it_becomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each call the event loop may wait for a thread that computes."""
    counter = CountingZlib()
    monkeypatch.setattr(deflate_module, "zlib", counter)
    inflater = Inflater(TAKEOVER)
    assert inflater.push(deflate_of(bytes(MAX_MESSAGE)), MAX_MESSAGE) == bytes(MAX_MESSAGE)
    assert counter.calls == 1


def deflate_of(payload: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("payload", [b"", b"a", b"abc" * 10_000, os.urandom(100_000)], ids=len)
@pytest.mark.parametrize("bits", range(9, 16))
def test_own_messages_are_read_by_zlib_and_wsproto(
    bits: int, compression: Compression, payload: bytes
) -> None:
    takeover = compression.takeover
    deflated = deflate(payload, Compression(bits, takeover))
    assert not deflated.endswith(b"\0\0\xff\xff")
    inflater = zlib.decompressobj(-bits)
    assert inflater.decompress(deflated + b"\0\0\xff\xff") == payload

    extension = PerMessageDeflate(server_max_window_bits=bits, server_no_context_takeover=not takeover)
    extension.finalize("permessage-deflate")
    app = FrameProtocol(client=True, extensions=[extension])
    for _ in range(2):
        app.receive_bytes(encode_frame(Opcode.BINARY, deflated, rsv1=True))
        assert [frame.payload for frame in app.received_frames()] == [payload]


def test_own_messages_may_come_between_those_of_another_sender() -> None:
    peer = Peer(compression=NO_TAKEOVER)
    own = deflate(b"own" * 100, NO_TAKEOVER)
    stream = peer.compressed("theirs") + peer.frame(Opcode.TEXT, own, rsv1=True) + peer.compressed("theirs")
    assert peer.reader().feed(stream) == ["theirs", "own" * 100, "theirs"]


@pytest.mark.parametrize("payload", [b"", b"a", b"abc" * 10_000], ids=len)
def test_nothing_refers_back_for_a_window_that_zlib_does_not_have(payload: bytes) -> None:
    deflated = deflate(payload, Compression(8))
    assert zlib.decompressobj(-9).decompress(deflated + b"\0\0\xff\xff") == payload
    # A byte takes at least a bit, as none is copied from before.
    assert len(deflated) >= len(payload) // 8


@pytest.mark.parametrize("size", [1, 500, 5_000, 500_000])
def test_window_that_fits_a_message_compresses_it_as_well_as_the_largest(size: int) -> None:
    payload = (b'{"type": "tick", "symbol": "EURUSD", "price": 1.0843}' * (size // 50 + 1))[:size]
    largest = deflate_of(payload).removesuffix(b"\0\0\xff\xff")
    assert len(deflate(payload, Compression())) <= len(largest)


EMPTY_FINAL_BLOCK = b"\x03\x00"


def test_final_blocks_of_a_message_are_bounded_and_counted(compression: Compression) -> None:
    inflater = Inflater(compression)
    for _ in range(3):
        inflater.begin()
        assert inflater.push(EMPTY_FINAL_BLOCK * 1000, 1000) == b""
        assert inflater.final_blocks == 1000
    with pytest.raises(ProtocolError, match="more than 1,000 final blocks") as raised:
        inflater.push(EMPTY_FINAL_BLOCK, 1000)
    assert raised.value.code is CloseCode.INVALID_DATA


@pytest.mark.parametrize("piece", [1, 1 << 20], ids=["in bytes", "in one piece"])
def test_flood_of_empty_final_blocks_makes_a_bounded_number_of_decompressors(
    piece: int, monkeypatch: pytest.MonkeyPatch, compression: Compression
) -> None:
    made: list[int] = []
    decompressobj = zlib.decompressobj

    def counting(wbits: int) -> object:
        made.append(wbits)
        return decompressobj(wbits)

    peer = Peer(compression=compression)
    reader = peer.reader()
    monkeypatch.setattr(zlib, "decompressobj", counting)
    flood = EMPTY_FINAL_BLOCK * (1 << 14)
    stream = peer.frame(Opcode.TEXT, flood, fin=False, rsv1=True) + peer.frame(0, flood)
    assert read(reader, pieces(stream, piece)) == []
    assert reader.failure is not None
    assert reader.failure.message == "A compressed message has more than 1,000 final blocks."
    assert len(made) < 1100


@pytest.mark.parametrize("limit", [0, 1000])
def test_message_is_inflated_no_further_than_is_wanted_if_no_later_one_refers_to_it(limit: int) -> None:
    peer = Peer(compression=NO_TAKEOVER)
    reader = peer.reader(limit=limit)
    inflater = reader._message.inflater
    assert inflater is not None
    for _ in range(3):
        assert reader.feed(peer.compressed(bytes(MAX_MESSAGE))) == [TooLarge(Opcode.BINARY)] * bool(limit)
        assert inflater.size == (limit + 1 if limit else 0)
