"""The TLS of one connection: bytes of the network in, bytes of its peer out, and the reverse.

It drives the TLS object of mitmproxy's layer, which can go on with it at any time. pyOpenSSL's own methods
allocate memory for each record, and raise an exception at the end of each read.
"""

from collections.abc import Callable

from OpenSSL import SSL

_lib, _ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]
_bio_read, _bio_write, _ssl_read, _ssl_write = _lib.BIO_read, _lib.BIO_write, _lib.SSL_read, _lib.SSL_write
_ssl_error, _WANT_READ = _lib.SSL_get_error, _lib.SSL_ERROR_WANT_READ

READ_BYTES = 512 * 1024
"""Bytes that are read from the network at a time."""
_STEP_BYTES = 64 * 1024
"""Bytes that OpenSSL is given at a time: it keeps as much memory as that, for each connection."""
_MOST_WAITING = 4 * 1024 * 1024
"""Bytes that may wait for the end of a renegotiation, which takes a round trip."""
_RECORD_BYTES = 17 * 1024
"""More than the largest record of TLS takes (RFC 8446, 5.2)."""
_BUFFER_BYTES = READ_BYTES + _STEP_BYTES + _RECORD_BYTES
"""A read may complete a record of which OpenSSL has the first part, and a step of writing may do the same."""

received = memoryview(bytearray(READ_BYTES))
"""The bytes of the last read, of any connection. They are copied or decrypted before the next read."""

_received = _ffi.from_buffer(received)
_plain = _ffi.new("char[]", _BUFFER_BYTES)
_encrypted = _ffi.new("char[]", _BUFFER_BYTES)
_encrypted_bytes = memoryview(_ffi.buffer(_encrypted))

Write = Callable[[memoryview], object]
"""Writes bytes to the network. They may change after the call."""


class TlsBytes:
    """Decrypts and encrypts for one connection, in the thread of the event loop."""

    __slots__ = ("_from_network", "_ssl", "_tls", "_to_network", "_waiting")

    def __init__(self, tls: SSL.Connection) -> None:
        """`tls` is set up for memory instead of a socket, and its handshake is over.

        While nothing comes, OpenSSL keeps no buffers for it: they are 34 KB for each connection.
        """
        self._tls = tls
        self._ssl = tls._ssl
        self._from_network = tls._into_ssl
        self._to_network = tls._from_ssl
        self._waiting = b""
        """Data that is encrypted when a renegotiation is over."""
        _lib.SSL_set_mode(self._ssl, _lib.SSL_MODE_RELEASE_BUFFERS)

    def shrink(self) -> None:
        """Give the memory of the handshake back, which OpenSSL keeps, unless bytes wait in it."""
        content = _ffi.new("char **")
        if _lib.BIO_get_mem_data(self._from_network, content) or _lib.BIO_get_mem_data(
            self._to_network, content
        ):
            return
        into, out = _lib.BIO_new(_lib.BIO_s_mem()), _lib.BIO_new(_lib.BIO_s_mem())
        if _ffi.NULL in (into, out):
            return
        _lib.SSL_set_bio(self._ssl, into, out)  # it frees the former ones
        self._tls._into_ssl = self._from_network = into
        self._tls._from_ssl = self._to_network = out

    def decrypt(self, size: int) -> tuple[bytes, SSL.Error | None]:
        """Decrypt the first `size` bytes of `received`, and whole records only.

        The error is None if more can come, and ZeroReturnError after a close_notify (RFC 8446, 6.1).
        """
        ssl, start, end = self._ssl, 0, 0
        while True:
            if start < size:
                start += _bio_write(self._from_network, _received + start, min(_STEP_BYTES, size - start))
            while (count := _ssl_read(ssl, _plain + end, _BUFFER_BYTES - end)) > 0:
                end += count
            if start >= size or _ssl_error(ssl, count) != _WANT_READ:
                break
        plain: bytes = _ffi.buffer(_plain, end)[:]
        return plain, None if _ssl_error(ssl, count) == _WANT_READ else self._error(count)

    def encrypt(self, data: bytes, write: Write) -> None:
        """Encrypt data, and write it. Nothing is written if the peer has ended the connection.

        While the peer renegotiates (RFC 5246, 7.4.1.1), data waits for the end of that. Raises SSL.Error.
        """
        if self._waiting:
            data, self._waiting = self._waiting + data, b""
        part, start, taken, ready = _ffi.from_buffer(data), 0, 0, 0
        try:
            while start < len(data):
                # A record at a time: pyOpenSSL sets SSL_MODE_ENABLE_PARTIAL_WRITE.
                count = _ssl_write(self._ssl, part + start, len(data) - start)
                if count <= 0:
                    error = self._error(count)
                    if isinstance(error, (SSL.ZeroReturnError, SSL.SysCallError)):
                        break
                    if not isinstance(error, SSL.WantReadError) or len(data) - start > _MOST_WAITING:
                        raise error
                    self._waiting = data[start:]
                    break
                start += count
                if start - taken >= _STEP_BYTES:
                    taken = start
                    ready += max(0, _bio_read(self._to_network, _encrypted + ready, _BUFFER_BYTES - ready))
                    if ready >= READ_BYTES:
                        write(_encrypted_bytes[:ready])
                        ready = 0
        finally:
            self.flush(write, ready)

    def _error(self, count: int) -> SSL.Error:
        """The error for which a call of OpenSSL has returned `count`, which is 0 or less."""
        try:
            self._tls._raise_ssl_error(self._ssl, count)
        except SSL.Error as error:
            return error
        return SSL.Error(f"OpenSSL has returned {count}")

    def answer(self, write: Write) -> None:
        """Write what TLS has to say to the bytes that were decrypted, and data that has waited. Raises
        SSL.Error."""
        if self._waiting:
            self.encrypt(b"", write)
        else:
            self.flush(write)

    def flush(self, write: Write, ready: int = 0) -> None:
        """Write what OpenSSL has ready, behind the first `ready` bytes of `_encrypted`."""
        while (count := _bio_read(self._to_network, _encrypted + ready, _BUFFER_BYTES - ready)) > 0:
            ready += count
            if ready < _BUFFER_BYTES:
                break
            write(_encrypted_bytes[:ready])
            ready = 0
        if ready:
            write(_encrypted_bytes[:ready])
