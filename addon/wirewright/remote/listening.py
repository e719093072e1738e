"""Listening sockets that keep few connections whose token has not come yet.

A connection takes a file descriptor before its first byte, and anybody who can reach the address can open
many. The oldest ones are closed, because a client sends its token at once.
"""

import asyncio
import errno
import os
import socket
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_UNPROVEN = 64
"""Connections of one listening socket that may wait for their token; as many may be closing."""


class ListeningSocket(socket.socket):
    """A listening socket whose connections wait for their token until `prove` is called with them."""

    def __init__(self, family: int) -> None:
        # asyncio sets TCP_NODELAY on a connection only if its protocol is known to be TCP
        protocol = 0 if family == getattr(socket, "AF_UNIX", None) else socket.IPPROTO_TCP
        super().__init__(family, socket.SOCK_STREAM, protocol)
        self._unproven: deque[socket.socket] = deque()
        """The oldest first."""
        self._closing: list[socket.socket] = []
        """Connections that are shut down here and are still open in the event loop."""

    def accept(self) -> tuple[socket.socket, Any]:
        """As `socket.accept`. Raises BlockingIOError while too many connections are closing."""
        self._closing = [each for each in self._closing if each.fileno() != -1]
        if len(self._closing) >= MOST_UNPROVEN:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # the event loop asks again
        connection, address = super().accept()
        self._unproven = deque(each for each in self._unproven if each.fileno() != -1)
        self._unproven.append(connection)
        if len(self._unproven) > MOST_UNPROVEN:
            oldest = self._unproven.popleft()
            # Not closed: the descriptor is the event loop's, which sees the end of the connection.
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
            self._closing.append(oldest)
        return connection, address

    def prove(self, descriptor: int) -> None:
        """Keep the connection with this file descriptor: its token has come."""
        self._unproven = deque(each for each in self._unproven if each.fileno() != descriptor)


async def listen_at_port(host: str, port: int) -> list[ListeningSocket]:
    """A bound socket for each address of a host, all with one port; 0 is a free one. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[ListeningSocket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listening = ListeningSocket(family)
            sockets.append(listening)
            if sys.platform != "win32":
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((address[0], port, *address[2:]))
            port = listening.getsockname()[1]
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def listen_at_file(path: Path) -> ListeningSocket:
    """A bound Unix socket, for its owner alone. Raises OSError where that cannot be."""
    listening = ListeningSocket(socket.AF_UNIX)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                if asking.connect_ex(str(path)) == 0:
                    raise OSError(errno.EADDRINUSE, "another program listens there")
            path.unlink()  # a program that was killed has left it
        before = os.umask(0o177)  # the socket is there before its mode could be changed
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
    except BaseException:
        listening.close()
        raise
    return listening
