"""Bodies of answers that refuse a handshake, as a capture keeps them."""

import zlib

BODY_BYTES = 64 * 1024
"""The largest body that is kept, in bytes before and after decompression. A larger one is left out."""
_ANY_ZLIB = 32 + zlib.MAX_WBITS
"""Accepts a gzip header or a zlib header."""


def kept_body(raw: bytes | None, content_encoding: str) -> bytes | None:
    """The body without its `gzip` or `deflate` (RFC 9110, 8.4.1), so that secrets in it can be redacted.

    None if there is no body, or if it is too large, damaged or encoded in another way.
    """
    if raw is None or len(raw) > BODY_BYTES:
        return None
    encoding = content_encoding.strip().lower()
    if not raw or encoding in ("", "identity"):
        return raw
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    decompressor = zlib.decompressobj(_ANY_ZLIB)
    try:
        body = decompressor.decompress(raw, BODY_BYTES + 1)  # a few bytes may stand for gigabytes
    except zlib.error:
        return None
    return body if decompressor.eof and len(body) <= BODY_BYTES else None
