"""Bytes that a hostile end sends once its handshake has passed."""

import struct
from collections.abc import Callable, Iterator
from random import Random

from support.frames import Peer
from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode

KIB, MIB = 1 << 10, 1 << 20
Stream = Callable[[Random, Peer], bytes]
FINAL_BLOCK = b"\x03\x00"
"""An empty deflate block that says it is the last one (RFC 1951, 3.2.3)."""


def message(peer: Peer, content: str | bytes) -> bytes:
    """A message, compressed if that is agreed."""
    if peer.compression is not None:
        return peer.compressed(content)
    return peer.text(content) if isinstance(content, str) else peer.binary(content)


def large(peer: Peer, beginning: str, unit: str, end: str = "") -> bytes:
    """A text of 32 MiB if it can be compressed, and of 4 MiB if not."""
    size = (32 if peer.compression is not None else 4) * MIB
    return message(peer, beginning + unit * (size // len(unit)) + end)


def talk(random: Random, peer: Peer) -> bytes:
    """What a well-behaved end says."""
    return b"".join(_talk(random, peer))


def _talk(random: Random, peer: Peer) -> Iterator[bytes]:
    for number in range(random.randrange(1, 40)):
        match random.randrange(5):
            case 0:
                yield peer.frame(Opcode.PING, random.randbytes(random.randrange(126)))
            case 1:
                parts = [random.randbytes(random.randrange(200)) for _ in range(random.randrange(1, 6))]
                yield from peer.fragments(Opcode.BINARY, *parts)
            case 2:
                yield peer.binary(random.randbytes(random.choice([0, 1, 125, 126, 65_535, 65_536])))
            case 3:
                yield message(peer, f'{{"token": "secret {number}", "é": [{number}]}}')
            case _:
                yield peer.text(f"message {number}")


def damaged_talk(random: Random, peer: Peer) -> bytes:
    """The same with some bytes changed, removed or added."""
    data = bytearray(talk(random, peer))
    for _ in range(random.randrange(1, 6)):
        at = random.randrange(len(data) + 1)
        match random.randrange(3):
            case 0:
                data[at : at + 1] = random.randbytes(1)
            case 1:
                del data[at : at + random.randrange(1, 9)]
            case _:
                data[at:at] = random.randbytes(random.randrange(1, 9))
    return bytes(data)


def odd_headers(random: Random, peer: Peer) -> bytes:
    """Frames whose first bytes are random."""
    frames = [random.randbytes(2) + random.randbytes(random.randrange(40)) for _ in range(3)]
    return talk(random, peer) + b"".join(frames)


def largest_length(random: Random, peer: Peer) -> bytes:
    """A frame that says it has 2^63 - 1 bytes."""
    masked = 0x80 if peer.client else 0
    mask = b"\1\2\3\4" if peer.client else b""
    first = random.choice([0x81, 0x82, 0x01, 0xC2])
    return bytes((first, masked | 127)) + struct.pack("!Q", 2**63 - 1) + mask + bytes(100 * KIB)


def odd_close(random: Random, peer: Peer) -> bytes:
    """A close frame with any code, or a broken one, and something behind it."""
    code = random.choice([0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000, 65_535])
    reason = random.choice([b"", b"bye", b"\xff", b"\x1b[31m", b"password=secret"])
    payload = random.choice([b"", b"\x03", struct.pack("!H", code) + reason])
    return talk(random, peer) + peer.frame(Opcode.CLOSE, payload) + talk(random, peer)


def ping_flood(random: Random, peer: Peer) -> bytes:
    return peer.frame(Opcode.PING) * (2 * MIB // len(peer.frame(Opcode.PING)))


def empty_messages(random: Random, peer: Peer) -> bytes:
    return peer.text("") * (2 * MIB // len(peer.text("")))


def one_byte_fragments(random: Random, peer: Peer) -> bytes:
    middle = peer.frame(Opcode.CONTINUATION, b"a", fin=False)
    return peer.frame(Opcode.TEXT, b"a", fin=False) + middle * (2 * MIB // len(middle))


def unfinished_messages(random: Random, peer: Peer) -> bytes:
    """A large message that never ends."""
    if peer.compression is None:
        return peer.frame(Opcode.BINARY, bytes(4 * MIB), fin=False)
    return peer.frame(Opcode.BINARY, peer.deflate(bytes(60 * MIB)), fin=False, rsv1=True)


def final_blocks(random: Random, peer: Peer) -> bytes:
    """A compressed message of empty final blocks (RFC 7692, 7.2.3.5)."""
    return peer.frame(Opcode.BINARY, FINAL_BLOCK * (MIB // 2), rsv1=True)


def bomb(random: Random, peer: Peer) -> bytes:
    """256 MiB of zeros, where they can be compressed."""
    return message(peer, bytes((256 if peer.compression is not None else 4) * MIB))


def small_bombs(random: Random, peer: Peer) -> bytes:
    """Thirty messages that inflate to 4 MiB each."""
    return message(peer, bytes(4 * MIB if peer.compression is not None else 100 * KIB)) * 30


def open_string(random: Random, peer: Peer) -> bytes:
    """A secret whose closing quote is missing."""
    return large(peer, '{"token":"', "a")


def open_escapes(random: Random, peer: Peer) -> bytes:
    return large(peer, '{"token":"', "\\\\\\")


def many_brackets(random: Random, peer: Peer) -> bytes:
    return large(peer, '"token"', "[]")


def deep_nesting(random: Random, peer: Peer) -> bytes:
    return large(peer, '{"token":', "[")


def deep_objects(random: Random, peer: Peer) -> bytes:
    return large(peer, "", '{"token":')


def many_secrets(random: Random, peer: Peer) -> bytes:
    return large(peer, "[", '{"password":"x"},', "{}]")


def many_quotes(random: Random, peer: Peer) -> bytes:
    return large(peer, "token=", '"')


def many_parameters(random: Random, peer: Peer) -> bytes:
    return large(peer, "a=b", "&access_token=x")


def many_urls(random: Random, peer: Peer) -> bytes:
    return large(peer, "", "https://user:password@h/?token=1 ")


def nulls(random: Random, peer: Peer) -> bytes:
    return large(peer, "", "\0")


def terminal_codes(random: Random, peer: Peer) -> bytes:
    return message(peer, "\x1b[2J\x1b]0;title\x07[red]\u202e\x9b31m[/x]" * 50)


def many_small(random: Random, peer: Peer) -> bytes:
    return b"".join(message(peer, f'{{"n": {number}}}') for number in range(20_000))


def noise(random: Random, peer: Peer) -> bytes:
    return random.randbytes(random.randrange(1, 100 * KIB))


STREAMS: tuple[Stream, ...] = (
    *(talk, damaged_talk, damaged_talk, damaged_talk, odd_headers, largest_length, odd_close, odd_close),
    *(ping_flood, empty_messages, one_byte_fragments, unfinished_messages, final_blocks, bomb, small_bombs),
    *(open_string, open_escapes, many_brackets, deep_nesting, deep_objects, many_secrets, many_quotes),
    *(many_parameters, many_urls, nulls, terminal_codes, many_small, noise),
)


def peer(random: Random, *, client: bool, deflate: bool) -> Peer:
    """An end that agreed on compression, or did not."""
    return Peer(client=client, compression=Compression() if deflate else None)
