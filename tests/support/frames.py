"""What a peer puts on the wire, and what a reader makes of it."""

import zlib
from collections.abc import Iterable, Iterator

from wirewright.wire.deflate import Compression
from wirewright.wire.frames import Opcode, encode_frame
from wirewright.wire.reader import MessageReader
from wirewright.wire.reader_events import Event

KEY = b"\x12\x00\xff\x7a"
"""The mask of each frame of a client."""
MAX_MESSAGE = 1 << 20
"""Bytes."""


class Peer:
    """One end, as it speaks: a client masks; with a `compression` it can deflate, with zlib itself."""

    def __init__(self, *, client: bool = False, compression: Compression | None = None) -> None:
        self.client = client
        self.compression = compression
        self._deflater = self._new_deflater()

    def frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
        return encode_frame(opcode, payload, mask=KEY if self.client else None, fin=fin, rsv1=rsv1)

    def text(self, text: str) -> bytes:
        return self.frame(Opcode.TEXT, text.encode())

    def binary(self, payload: bytes) -> bytes:
        return self.frame(Opcode.BINARY, payload)

    def fragments(self, opcode: int, *payloads: bytes, rsv1: bool = False) -> list[bytes]:
        """One message in as many frames."""
        last = len(payloads) - 1
        return [
            self.frame(
                Opcode.CONTINUATION if index else opcode, payload, fin=index == last, rsv1=rsv1 and not index
            )
            for index, payload in enumerate(payloads)
        ]

    def compressed(self, message: str | bytes) -> bytes:
        """A message in one frame, deflated."""
        text = isinstance(message, str)
        payload = self.deflate(message.encode() if isinstance(message, str) else message)
        return self.frame(Opcode.TEXT if text else Opcode.BINARY, payload, rsv1=True)

    def deflate(self, payload: bytes) -> bytes:
        """RFC 7692, 7.2.1."""
        assert self.compression is not None
        deflated = self._deflater.compress(payload) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        if not self.compression.takeover:
            self._deflater = self._new_deflater()
        return deflated.removesuffix(b"\0\0\xff\xff")

    def reader(self, max_message: int = MAX_MESSAGE, limit: int | None = None) -> MessageReader:
        """One that reads what this peer says."""
        return MessageReader(
            masked=self.client, compression=self.compression, max_message=max_message, limit=limit
        )

    def _new_deflater(self) -> "zlib._Compress":
        # zlib has no raw window of 8 bits; a peer that agreed to one sends short messages here.
        bits = max(9, self.compression.window_bits) if self.compression else 15
        return zlib.compressobj(wbits=-bits)


def pieces(data: bytes, *sizes: int) -> Iterator[bytes]:
    """`data` cut into pieces of so many bytes, the sizes in turn."""
    position = turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        yield data[position : position + size]
        position += size
        turn += 1


def read(reader: MessageReader, parts: Iterable[bytes]) -> list[Event]:
    return [event for part in parts for event in reader.feed(part)]
