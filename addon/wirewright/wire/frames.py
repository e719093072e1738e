"""The frame codec: RFC 6455, section 5. Pure functions, no state, no I/O."""

import struct
from enum import IntEnum

try:
    # Unmasking in C; docs/performance.md has the figures.
    from websockets.speedups import apply_mask as _apply_mask
except ImportError:  # no wheel for this platform, or a plain checkout beside a bare mitmproxy
    _apply_mask = None  # type: ignore[assignment]

FIN = 0x80
"""In a frame's first byte: it is the last one of its message (5.2)."""
MASKED = 0x80
"""In a frame's second byte: a mask follows the length (5.2)."""
MASK_SIZE = 4
"""Bytes."""
MAX_CONTROL_PAYLOAD = 125
"""Bytes (5.5)."""
MAX_HEADER = 14
"""Bytes: two, eight of length, four of mask (5.2)."""

_CLOSE_CODES = range(1000, 1004), range(1007, 1015), range(3000, 5000)
"""Codes that a close frame may have: those that are registered, and those of libraries and applications
(7.4.2)."""
_XOR = [bytes(value ^ key for value in range(256)) for key in range(256)]
_SHORT_PAYLOAD = 512
"""Up to so many bytes one big integer beats four translations."""


class Opcode(IntEnum):
    """The opcodes of RFC 6455, 5.2. All others are reserved."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """The close codes of RFC 6455, 7.4.1, that Wirewright sends or interprets."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    TOO_BIG = 1009
    TLS_FAILURE = 1015


class ProtocolError(Exception):
    """A peer did what RFC 6455 or RFC 7692 does not allow."""

    def __init__(self, message: str, code: CloseCode = CloseCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """The close code that an endpoint would answer with (7.4.1)."""


def apply_mask(data: bytes, mask: bytes) -> bytes:
    """`data` masked with four bytes, or unmasked: it is the same (5.3)."""
    if _apply_mask is not None:
        return _apply_mask(data, mask)
    size = len(data)
    if size <= _SHORT_PAYLOAD:
        key = (mask * (size // 4 + 1))[:size]
        return (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")
    masked = bytearray(size)
    for offset in range(4):
        masked[offset::4] = data[offset::4].translate(_XOR[mask[offset]])
    return bytes(masked)


def encode_frame(
    opcode: int, payload: bytes, *, mask: bytes | None = None, fin: bool = True, rsv1: bool = False
) -> bytes:
    """One frame. `mask` is four random bytes towards a server, and None towards a client (5.1)."""
    first = (0x80 if fin else 0) | (0x40 if rsv1 else 0) | opcode
    masked = 0x80 if mask is not None else 0
    size = len(payload)
    if size < 126:
        header = bytes((first, masked | size))
    elif size < 0x10000:
        header = struct.pack("!BBH", first, masked | 126, size)
    else:
        header = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return header + payload
    return header + mask + apply_mask(payload, mask)


def frame_size(start: bytes) -> int | None:
    """The bytes of the whole frame that starts so; None if its header is not all there."""
    if len(start) < 2:
        return None
    length, header = start[1] & ~MASKED, 2
    if length > MAX_CONTROL_PAYLOAD:
        header += 2 if length == 126 else 8
        length = int.from_bytes(start[2:header], "big")
    if start[1] & MASKED:
        header += MASK_SIZE
    return None if len(start) < header else header + length


class FrameCutter:
    """Cuts one frame out of bytes that come in pieces, whatever is wrong with the frame."""

    def __init__(self) -> None:
        self._start = b""
        self._taken = 0

    def take(self, data: bytes) -> bytes:
        """The part of a piece that belongs to the frame."""
        self._start += data[: MAX_HEADER - len(self._start)]
        size = frame_size(self._start)
        part = data if size is None else data[: max(0, size - self._taken)]
        self._taken += len(part)
        return part


def encode_close(code: int | None, reason: str = "") -> bytes:
    """The payload of a close frame; None stands for none (5.5.1)."""
    return b"" if code is None else struct.pack("!H", code) + reason.encode()


def decode_close(payload: bytes, *, as_endpoint: bool = False) -> tuple[int, str]:
    """The code and the reason of a close frame; 1005 if it has none (5.5.1, 7.4).

    Raises ProtocolError for a frame that browsers refuse. They accept codes that no RFC defines, and
    `as_endpoint` does not (7.4.2).
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    if len(payload) == 1:
        raise ProtocolError("Received a broken close frame with an invalid size of 1 byte.")
    code = int.from_bytes(payload[:2], "big")
    if code in (CloseCode.NO_STATUS, CloseCode.ABNORMAL, CloseCode.TLS_FAILURE):
        raise ProtocolError("Received a broken close frame containing a reserved status code.")
    if as_endpoint and not any(code in codes for codes in _CLOSE_CODES):
        raise ProtocolError("Received a broken close frame containing an invalid status code.")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        message = "Received a broken close frame containing invalid UTF-8."
        raise ProtocolError(message, CloseCode.INVALID_DATA) from None
