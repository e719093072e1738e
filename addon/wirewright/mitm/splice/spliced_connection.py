"""One connection of a spliced socket: the protocol of its transport."""

import asyncio
import os
from contextlib import suppress
from enum import Enum
from typing import Protocol, cast

from mitmproxy.connection import Connection
from OpenSSL import SSL

from wirewright.mitm.splice import tls_bytes
from wirewright.mitm.splice.tls_bytes import TlsBytes


class Pause(Enum):
    """Why nothing is read."""

    LAYER = "layer"
    """The layer has paused it."""
    WRITING = "writing"
    """A connection of the socket takes no more bytes."""
    HANDING_OVER = "handing over"
    """Something goes through mitmproxy's layers, and nothing may overtake it."""


class Receiver(Protocol):
    """The object that a connection reports to."""

    def received(self, source: Connection, data: bytes) -> None:
        """Bytes have come, decrypted."""

    def tls_ended(self, source: Connection, error: SSL.Error) -> None:
        """No further bytes can come."""

    def connection_lost(self, source: Connection) -> None:
        """The transport is closed."""

    def writing_changed(self) -> None:
        """A connection takes no more bytes, or takes bytes again."""


class SplicedConnection(asyncio.BufferedProtocol):
    """Reads and writes a connection, in the place of mitmproxy's reader and layers.

    All else goes to mitmproxy's own protocol, so that its reading task hears of the end of the connection.
    """

    is_full = False
    """True while the transport takes no more bytes."""

    def __init__(
        self,
        outer: Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        tls: SSL.Connection | None,
    ) -> None:
        """`outer` is the connection of the network, which may be that of a tunnel."""
        self.outer = outer
        self._stock_reader = reader
        self._transport = cast("asyncio.Transport", writer.transport)
        self._descriptor = self._transport.get_extra_info("socket").fileno()
        self._stock = cast("asyncio.Protocol", self._transport.get_protocol())
        self._tls = None if tls is None else TlsBytes(tls)
        self._pauses: set[Pause] = set()
        self._source: Connection
        self._receiver: Receiver

    def take_over(self, source: Connection, receiver: Receiver) -> None:
        """From now on, report to a receiver what a connection sends."""
        self._source, self._receiver = source, receiver
        self._transport.set_protocol(self)

    def read_on(self) -> None:
        """Read what TLS has left, which is nothing as a rule. OpenSSL then gives its buffers back."""
        if self._tls is not None:
            self.buffer_updated(0)
            self._tls.shrink()

    @property
    def has_ended(self) -> bool:
        """True if nothing more can come."""
        reader = self._stock_reader
        return self._transport.is_closing() or reader.at_eof() or reader.exception() is not None

    @property
    def is_idle(self) -> bool:
        """True if mitmproxy's reader has nothing left."""
        return not self._stock_reader._buffer  # type: ignore[attr-defined]

    # asyncio

    def get_buffer(self, sizehint: int) -> memoryview:
        return tls_bytes.received

    def buffer_updated(self, nbytes: int) -> None:
        if self._tls is None:
            self._receiver.received(self._source, bytes(tls_bytes.received[:nbytes]))
            return
        data, error = self._tls.decrypt(nbytes)
        try:
            self._tls.answer(self._write)
        except SSL.Error as failure:
            self._cut(failure)
        if data:
            self._receiver.received(self._source, data)
        if error is not None:
            self._receiver.tls_ended(self._source, error)

    def eof_received(self) -> bool | None:
        return self._stock.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.connection_lost(self._source)
        self._stock.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stock.pause_writing()
        self.is_full = True
        self._receiver.writing_changed()

    def resume_writing(self) -> None:
        self._stock.resume_writing()
        self.is_full = False
        self._receiver.writing_changed()

    # For the socket

    def send(self, data: bytes) -> None:
        """Encrypt and write data."""
        if self._transport.is_closing():
            return
        if self._tls is None:
            self._write(data)
        else:
            try:
                self._tls.encrypt(data, self._write)
            except SSL.Error as failure:
                self._cut(failure)

    def _cut(self, failure: SSL.Error) -> None:
        """TLS has failed while it wrote: cut the connection, as its peer would miss data."""
        self._receiver.tls_ended(self._source, failure)
        self._transport.abort()

    def _write(self, data: bytes | memoryview) -> None:
        """Write data, which may change afterwards.

        The transport would keep a view of what the network does not take at once.
        """
        written = 0
        if not self._transport.get_write_buffer_size():
            with suppress(OSError):  # the transport meets the same error, and reports it
                written = os.write(self._descriptor, data)
        if written < len(data):
            self._transport.write(bytes(data[written:]))

    def pause_reading(self, why: Pause = Pause.LAYER) -> None:
        """Read nothing more, for this reason."""
        self._pauses.add(why)
        self._transport.pause_reading()

    def resume_reading(self, why: Pause = Pause.LAYER) -> None:
        """Read again, if there is no other reason left."""
        if why in self._pauses:
            self._pauses.discard(why)
            if not self._pauses:
                self._transport.resume_reading()
