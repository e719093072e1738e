"""Handshakes byte by byte: an app that sends a head as it is written, and a server that answers with one."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.raw_peers import HANDSHAKE_KEY
from wirewright.model.handshake import accept_key

SWITCHING = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {accept_key(HANDSHAKE_KEY)}\r\n"
).encode()
"""A 101 without its last line; further fields may follow."""

LARGEST_HEAD = 4 * 1024 * 1024
"""Bytes of a head that are read."""

Fields = list[tuple[str, str]]


def fields_of(head: bytes) -> Fields:
    """Of a request or an answer, in wire order; bytes that are not UTF-8 as surrogates."""
    lines = head.decode("utf-8", "surrogateescape").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return [(name, value.strip()) for name, _, value in pairs]


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """The URL of a server that gives every request this answer, and the heads of the requests."""
    heads: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        if not answer.startswith(b"HTTP/1.1 101"):
            writer.write_eof()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0, limit=LARGEST_HEAD) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@asynccontextmanager
async def asking(port: int, url: str, *lines: bytes) -> AsyncIterator[tuple[bytes, bytes]]:
    """The head and the body of the answer to a handshake with these further lines; then hang up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LARGEST_HEAD)
    host = url.split("/")[2]
    head = (
        f"GET {url.replace('ws', 'http', 1)} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}\r\nSec-WebSocket-Version: 13\r\n"
    )
    writer.write(head.encode() + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
    try:
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer)
        yield answer, await reader.readexactly(int(length[1])) if length else b""
    finally:
        writer.close()


def values(fields: Fields, name: str) -> list[str]:
    """Those of a lower-case name, in wire order."""
    return [value for other, value in fields if other.lower() == name]
