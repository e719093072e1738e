"""permessage-deflate: RFC 7692. Agreement, inflating and deflating; one object a direction."""

import zlib
from dataclasses import dataclass

from wirewright.wire.frames import CloseCode, ProtocolError

EXTENSION = "permessage-deflate"
MESSAGE_TAIL = b"\x00\x00\xff\xff"
"""The bytes that a sender strips from the end of each message and a receiver appends (7.2.1, 7.2.2)."""
_MIN_ZLIB_BITS = 9
"""zlib has no raw window of 8 bits."""
_MAX_WINDOW_BITS = 15
_MAX_FINAL_BLOCKS = 1_000
"""Final blocks of one message. Each takes a new decompressor, and an empty one has only two bytes."""


@dataclass(frozen=True)
class Compression:
    """The agreement of the two ends for one direction."""

    window_bits: int = _MAX_WINDOW_BITS
    takeover: bool = True
    """True if a message may refer to the ones before it (7.1.1)."""


@dataclass(frozen=True)
class Agreement:
    """The meaning of a Sec-WebSocket-Extensions answer for both directions."""

    sent: Compression | None = None
    received: Compression | None = None
    unknown: str | None = None
    """An extension that we cannot read: frames can be passed on, but not understood."""


def parse_agreement(header: str) -> Agreement:
    """Parse a server's Sec-WebSocket-Extensions header (RFC 6455, 9.1; RFC 7692, 7.1)."""
    agreement = Agreement()
    for offer in filter(None, (part.strip() for part in header.split(","))):
        name, *rest = (part.strip() for part in offer.split(";"))
        parameters = {
            key.strip(): value.strip(' "') for key, _, value in (part.partition("=") for part in rest)
        }
        if name.lower() != EXTENSION or agreement.sent is not None:
            return Agreement(unknown=name)
        try:
            agreement = Agreement(_direction("client", parameters), _direction("server", parameters))
        except ValueError:
            return Agreement(unknown=offer)
    return agreement


def _direction(end: str, parameters: dict[str, str]) -> Compression:
    bits = int(parameters.get(f"{end}_max_window_bits") or _MAX_WINDOW_BITS)
    if not 8 <= bits <= _MAX_WINDOW_BITS:
        raise ValueError(bits)
    return Compression(bits, takeover=f"{end}_no_context_takeover" not in parameters)


class Inflater:
    """Inflates the messages of one direction, piece by piece as they come."""

    def __init__(self, compression: Compression) -> None:
        self.takeover = compression.takeover
        # A window larger than agreed reads all that a smaller one does.
        self._window = -max(_MIN_ZLIB_BITS, compression.window_bits)
        self._zlib: zlib._Decompress | None = None
        """None before the first message: it takes 7 KiB, and thousands of sockets never use it."""
        self._used = False
        self.final_blocks = 0
        """The number of final deflate blocks in the current message, until now."""
        self.size = 0
        """Bytes of the current message so far."""

    def begin(self) -> None:
        """A new message begins."""
        if self._used and not self.takeover:
            self._zlib = None
        self._used = False
        self.size = self.final_blocks = 0

    def push(self, data: bytes, limit: int) -> bytes:
        """Inflate a piece of a message, up to one byte more than `limit` bytes of the message.

        It is one call of zlib, whatever comes out: after each call, as after each system call, the event loop
        may wait 5 ms for a thread that computes. The piece is at most a few KiB, and inflates to a thousand
        times as much at most.

        Raises ProtocolError for data that is broken, and for more final blocks than any sender makes.
        """
        self._used = True
        inflated: list[bytes] = []
        try:
            while data and self.size <= limit:
                inflater = self._zlib = self._zlib or zlib.decompressobj(self._window)
                part = inflater.decompress(data, limit + 1 - self.size)
                self.size += len(part)
                inflated.append(part)
                data = self._after_final_block(inflater.unused_data) if inflater.eof else b""
        except zlib.error:
            raise ProtocolError("Invalid frame header", CloseCode.INVALID_DATA) from None
        return inflated[0] if len(inflated) == 1 else b"".join(inflated)

    def _after_final_block(self, data: bytes) -> bytes:
        """Return the data that follows a final block (7.2.3.5). It is inflated anew."""
        self.final_blocks += 1
        if self.final_blocks > _MAX_FINAL_BLOCKS:
            message = f"A compressed message has more than {_MAX_FINAL_BLOCKS:,} final blocks."
            raise ProtocolError(message, CloseCode.INVALID_DATA)
        self._zlib = None
        return data


def deflate(payload: bytes, compression: Compression) -> bytes:
    """A message compressed by itself: nothing in it refers to earlier messages (7.2.1).

    A window no larger than the message compresses as well, and zlib sets it up much faster.
    """
    fitting = max(_MIN_ZLIB_BITS, len(payload).bit_length())
    bits = max(_MIN_ZLIB_BITS, min(fitting, compression.window_bits))
    # Huffman codes alone refer to nothing, and so fit into a window that zlib does not have.
    has_window = compression.window_bits >= _MIN_ZLIB_BITS
    strategy = zlib.Z_DEFAULT_STRATEGY if has_window else zlib.Z_HUFFMAN_ONLY
    compressor = zlib.compressobj(wbits=-bits, memLevel=bits - 7, strategy=strategy)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(MESSAGE_TAIL)]
