"""The payload of a message while it comes."""

from io import BytesIO

_SHORT = 4096
"""Parts of fewer bytes are collected in one bytearray: a list of very many parts is slower."""
_BLOCK = 4 * 1024 * 1024
"""Parts are collected in a list up to so many bytes, and then written to a BytesIO. A large message is joined
faster so: joining a list takes the memory of all its parts twice. A small one is faster with the list."""


class PayloadBuffer:
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
