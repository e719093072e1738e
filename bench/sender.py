"""What an end sends, and how: as fast as its transport takes it."""

import asyncio
import json
import os
from dataclasses import asdict, dataclass
from functools import cache

from picows import WSListener, WSMsgType, WSTransport

NUMBER = 8
"""Bytes of a message's number, where messages are numbered."""
SMALL = 125
"""Bytes of the largest message whose length fits into the first two bytes of its frame."""
BATCH_MESSAGES, BATCH = 64, 256 * 1024
"""How many small messages, and about how many bytes of others, are sent before others have their turn."""

PATTERN = (
    b'{"type":"order","id":"8c1f","symbol":"EURUSD","side":"buy","price":1.08431,"quantity":25000,"at":17}'
)
assert len(PATTERN) == 100


@dataclass(frozen=True)
class Order:
    """One thing that a socket shall carry."""

    do: str
    """`flood` (server to client), `sink` (client to server) or `echo` (there and back, one after another)."""
    count: int
    size: int
    binary: bool = False
    numbered: bool = False

    @property
    def kind(self) -> WSMsgType:
        return WSMsgType.BINARY if self.binary else WSMsgType.TEXT

    def encode(self) -> str:
        return json.dumps(asdict(self))


@cache
def payload(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


@cache
def small_frames(kind: WSMsgType, size: int, *, masked: bool) -> list[bytes]:
    """So many frames of one and the same message as are sent in one go; RFC 6455, section 5.2."""
    return [_small_frame(kind, payload(size), masked) for _ in range(BATCH_MESSAGES)]


def _small_frame(kind: WSMsgType, message: bytes, masked: bool) -> bytes:
    assert len(message) <= SMALL
    first = 0x80 | kind.value
    if not masked:
        return bytes((first, len(message))) + message
    key = os.urandom(4)
    body = bytes(byte ^ key[position % 4] for position, byte in enumerate(message))
    return bytes((first, 0x80 | len(message))) + key + body


class Sender(WSListener):  # type: ignore[misc, unused-ignore]
    """An end that can send as fast as its transport takes it."""

    def __init__(self) -> None:
        self.sent = 0
        self._order: Order | None = None
        self._left = 0
        self._paused = False
        self._transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    @property
    def transport(self) -> WSTransport:
        assert self._transport is not None
        return self._transport

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send_batch()

    def pump(self, order: Order) -> None:
        self._order, self._left, self.sent = order, order.count, 0
        if not self._paused:
            self._send_batch()

    def _send_batch(self) -> None:
        order = self._order
        if order is None or self.transport.is_disconnected:
            return
        if order.size <= SMALL and not order.numbered:
            self._send_small(order)
        else:
            self._send_large(order)
        if not self._left:
            self._order = None
        elif not self._paused:
            asyncio.get_running_loop().call_soon(self._send_batch)

    def _send_small(self, order: Order) -> None:
        """A TLS record each, as from any server, but not a system call each."""
        frames = small_frames(order.kind, order.size, masked=self.transport.is_client_side)[: self._left]
        self._count(len(frames))
        self.transport.underlying_transport.writelines(frames)

    def _send_large(self, order: Order) -> None:
        message = payload(order.size)
        for _ in range(min(self._left, BATCH // order.size + 1)):
            if order.numbered:
                message = self.sent.to_bytes(NUMBER) + message[NUMBER:]
            self._count(1)
            self.transport.send(order.kind, message)
            if self._paused:
                return

    def _count(self, messages: int) -> None:
        self.sent += messages
        self._left -= messages
