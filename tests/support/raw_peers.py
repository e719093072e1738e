"""Both ends of a socket, byte by byte: an app and a server that a test drives in turn."""

import asyncio
import re
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from support.frames import KEY
from wirewright.model.handshake import accept_key
from wirewright.wire.frames import Opcode, apply_mask, encode_frame

HANDSHAKE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(frozen=True)
class Frame:
    """One frame as it came (RFC 6455, 5.2), its payload unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False


class RawEnd:
    """One end of an open socket. It answers nothing by itself."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, masks: bool, headers: str
    ) -> None:
        self.headers = headers
        """Of the other side's handshake."""
        self.received = b""
        """All bytes since the handshake."""
        self.writer = writer
        self._reader = reader
        self._mask = KEY if masks else None

    def encode(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
        return encode_frame(opcode, payload, mask=self._mask, fin=fin, rsv1=rsv1)

    async def write(self, *data: bytes) -> None:
        """All in one piece."""
        self.writer.write(b"".join(data))
        await self.writer.drain()

    async def send(self, message: str | bytes) -> None:
        """A message in one frame."""
        opcode, content = (
            (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
        )
        await self.write(self.encode(opcode, content))

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        await self.write(self.encode(Opcode.CLOSE, struct.pack("!H", code) + reason.encode()))

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes. Raises EOFError if the connection ends before."""
        data = await self._reader.readexactly(size)
        self.received += data
        return data

    async def frame(self) -> Frame:
        first, second = await self.read(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.read(2 if size == 126 else 8), "big")
        mask = await self.read(4) if second & 0x80 else b""
        payload = await self.read(size)
        return Frame(
            first & 0x0F, apply_mask(payload, mask) if mask else payload, first > 0x7F, bool(first & 0x40)
        )

    async def message(self) -> str | bytes:
        """The next message, fragments joined, and inflated if it refers to no other; control frames are left
        out."""
        opcode, parts, is_compressed = 0, [], False
        while True:
            frame = await self.frame()
            if frame.opcode >= Opcode.CLOSE:
                assert frame.opcode != Opcode.CLOSE, frame
                continue
            opcode = opcode or frame.opcode
            is_compressed = is_compressed or frame.rsv1
            parts.append(frame.payload)
            if frame.fin:
                whole = b"".join(parts)
                if is_compressed:
                    whole = zlib.decompressobj(wbits=-15).decompress(whole + b"\0\0\xff\xff")
                return whole.decode() if opcode == Opcode.TEXT else whole

    async def rest(self) -> bytes:
        """What comes until the connection ends, by FIN or by RST."""
        try:
            data = await self._reader.read()
        except ConnectionError:
            return b""
        self.received += data
        return data

    async def ending(self) -> tuple[int, str]:
        """The close frame that ends the socket: code and reason; 1006 where the connection just ends."""
        try:
            while (frame := await self.frame()).opcode != Opcode.CLOSE:
                pass
        except (EOFError, ConnectionError):
            return 1006, ""
        return int.from_bytes(frame.payload[:2], "big") or 1005, frame.payload[2:].decode()

    def hang_up(self) -> None:
        """End the TCP connection with no close frame."""
        self.writer.close()


@dataclass
class RawSocket:
    """An open socket, from both ends."""

    app: RawEnd
    server: RawEnd

    def legs(self) -> tuple[tuple[RawEnd, RawEnd], tuple[RawEnd, RawEnd]]:
        """Source and destination of each direction."""
        return (self.app, self.server), (self.server, self.app)


class RawServer:
    """A server that accepts every handshake, and then leaves its end to the test."""

    def __init__(self, extensions: str = "", *, early: bytes = b"", answer: bytes | None = None) -> None:
        """`answer` is the head of its 101, if not the usual one. `early` are bytes that it sends with it."""
        self.url = ""
        self._answer = accepting(extensions) if answer is None else answer
        self._early = early
        self._ends: asyncio.Queue[RawEnd] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def sockets(self) -> int:
        """The number of connections so far."""
        return len(self._writers)

    async def end(self) -> RawEnd:
        """That of the next socket."""
        return await self._ends.get()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 22)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        request = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        if length := re.search(r"(?i)\ncontent-length: *(\d+)", request):
            await reader.readexactly(int(length[1]))
        writer.write(self._answer + self._early)
        self._ends.put_nowait(RawEnd(reader, writer, masks=False, headers=request))


def accepting(extensions: str = "") -> bytes:
    """A server's 101."""
    extra = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(HANDSHAKE_KEY)}\r\n{extra}\r\n"
    ).encode()


def asking(target: str, host: str, extensions: str = "") -> bytes:
    """An app's handshake."""
    extra = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {HANDSHAKE_KEY}\r\n{extra}\r\n"
    ).encode()


@asynccontextmanager
async def raw_app(port: int, url: str, *, extensions: str = "") -> AsyncIterator[RawEnd]:
    """An app whose handshake is answered with a 101, through CONNECT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    try:
        parts = urlsplit(url)
        authority = f"{parts.hostname}:{parts.port or 80}"
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        connected = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert connected.startswith("HTTP/1.1 200 "), connected
        writer.write(asking(parts.path or "/", parts.netloc, extensions))
        answer = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert answer.startswith("HTTP/1.1 101 "), answer
        yield RawEnd(reader, writer, masks=True, headers=answer)
    finally:
        writer.close()


@asynccontextmanager
async def raw_socket(port: int, *, path: str = "/live", extensions: str = "") -> AsyncIterator[RawSocket]:
    """An open socket through the proxy at `port`."""
    async with (
        RawServer(extensions) as server,
        raw_app(port, server.url + path, extensions=extensions) as app,
    ):
        yield RawSocket(app, await server.end())
