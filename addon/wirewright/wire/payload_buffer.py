"""The payload of a message while it comes."""

from io import BytesIO

_SHORT = 4096
"""Bytes of a part up to which it is copied to the one before: a list of very many costs more."""
_BLOCK = 4 * 1024 * 1024
"""Bytes of parts that are kept as they are. A list of all parts of a large message is slower than one that
grows in place, as it takes its memory twice; for smaller ones it is the other way round."""


class Parts:
    """The parts of one message. Its cost a byte is the same for one of a megabyte and one of a hundred."""

    __slots__ = ("_block", "_block_size", "_large")

    def __init__(self) -> None:
        self._block: list[bytes | bytearray] = []
        self._block_size = 0
        self._large: BytesIO | None = None

    def append(self, part: bytes) -> None:
        block = self._block
        if len(part) >= _SHORT or not block:
            block.append(part)
        elif isinstance(last := block[-1], bytearray):
            last += part
        else:
            block.append(bytearray(part))
        self._block_size += len(part)
        if self._block_size > _BLOCK:
            self._large = self._large or BytesIO()
            self._large.writelines(block)
            self._block, self._block_size = [], 0

    def join(self) -> bytes:
        """The whole payload."""
        block = self._block
        if self._large is not None:
            self._large.writelines(block)
            self._block, self._block_size = [], 0
            return self._large.getvalue()
        if len(block) == 1 and isinstance(block[0], bytes):
            return block[0]
        return b"".join(block)
