"""A WebSocket server that writes each byte by hand, so that it can break every rule: one behaviour a path."""

import asyncio
import re
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

from wirewright.model.handshake import accept_key

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """One frame (RFC 6455, 5.2), of any opcode and any reserved bits."""
    masked = 0x80 if mask else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if len(payload) < 126:
        head += bytes([masked | len(payload)])
    elif len(payload) < 1 << 16:
        head += struct.pack("!BH", masked | 126, len(payload))
    else:
        head += struct.pack("!BQ", masked | 127, len(payload))
    return head + mask + unmask(payload, mask)


def unmask(payload: bytes, mask: bytes) -> bytes:
    """Masking and unmasking are the same (RFC 6455, 5.3). No mask leaves the payload as it is."""
    if not mask or not payload:
        return payload
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.path = ""
        self.headers: dict[str, str] = {}

    async def read_request(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        self.path = head.split(" ")[1]
        self.headers = {
            name.lower(): value for name, value in re.findall(r"^([\w-]+): *(.*?)\r$", head, re.MULTILINE)
        }

    async def accept(self, **headers: str) -> None:
        """Answer the handshake with a 101. `headers` add to its own or replace them; "" leaves one out."""
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec_WebSocket_Accept": accept_key(self.headers["sec-websocket-key"]),
            **headers,
        }
        lines = (f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items() if value)
        await self.write(f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n".encode())

    async def write(self, *data: bytes) -> None:
        """All in one piece."""
        self._writer.write(b"".join(data))
        await self._writer.drain()

    async def read_frame(self) -> tuple[int, bool, bytes]:
        """The next frame: its opcode, whether it is the last of its message, and the payload, unmasked."""
        first, second = await self._reader.readexactly(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
        mask = await self._reader.readexactly(4 if second & 0x80 else 0)
        return first & 0xF, bool(first & 0x80), unmask(await self._reader.readexactly(size), mask)

    async def read_message(self) -> tuple[int, bytes]:
        """The next message: its opcode, and its fragments as one. Pings are no part of it."""
        kind, parts = CONTINUATION, []
        while True:
            opcode, fin, payload = await self.read_frame()
            if opcode in {PING, PONG}:
                continue
            kind = kind or opcode
            parts.append(payload)
            if fin:
                return kind, b"".join(parts)

    async def end(self, *, answering: bool = True) -> None:
        """Wait for the other side's close frame, or for its TCP to end; send the close frame back."""
        opcode, payload = CONTINUATION, b""
        while opcode != CLOSE:
            opcode, _, payload = await self.read_frame()
        if answering:
            await self.write(frame(CLOSE, payload))

    def reset(self) -> None:
        """End the TCP connection with an RST."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """End the TCP connection with a FIN."""
        self._writer.close()

    def greet(self) -> None:
        """Speak what is neither TLS nor HTTP."""
        self._writer.write(b"220 mail.example ready\r\n")
        self._writer.close()


Behaviour = Callable[[Peer], Awaitable[None]]
_behaviours: dict[str, Behaviour] = {}


def _at(path: str) -> Callable[[Behaviour], Behaviour]:
    def register(behaviour: Behaviour) -> Behaviour:
        _behaviours[path] = behaviour
        return behaviour

    return register


def says(*data: bytes) -> Behaviour:
    """Accepts, writes `data` in one piece, and answers the other side's close frame."""

    async def behaviour(peer: Peer) -> None:
        await peer.accept()
        await peer.write(*data)
        await peer.end()

    return behaviour


def closes(*data: bytes) -> Behaviour:
    """Accepts, writes `data` with a close frame at its end, and waits for the other side's."""

    async def behaviour(peer: Peer) -> None:
        await peer.accept()
        await peer.write(*data)
        await peer.end(answering=False)

    return behaviour


def vanishes(*data: bytes) -> Behaviour:
    """Accepts, writes `data` in one piece, and ends the TCP connection with a FIN."""

    async def behaviour(peer: Peer) -> None:
        await peer.accept()
        await peer.write(*data)

    return behaviour


def after_reply(*data: bytes, **headers: str) -> Behaviour:
    """Accepts, writes a message, and writes `data` in one piece once that was answered."""

    async def behaviour(peer: Peer) -> None:
        await peer.accept(**headers)
        await peer.write(M)
        await peer.read_message()
        await peer.write(*data)
        await peer.end()

    return behaviour


def accepts(**headers: str) -> Behaviour:
    """Accepts with these headers, and waits."""

    async def behaviour(peer: Peer) -> None:
        await peer.accept(**headers)
        await peer.end()

    return behaviour


def answers(status: str, *headers: str) -> Behaviour:
    """Answers the handshake with something else than a 101."""

    async def behaviour(peer: Peer) -> None:
        fields = "".join(f"{header}\r\n" for header in headers)
        await peer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n{fields}\r\n".encode())

    return behaviour


def says_instead(*data: bytes) -> Behaviour:
    """Answers the handshake with these bytes and a FIN."""

    async def behaviour(peer: Peer) -> None:
        await peer.write(*data)

    return behaviour


M = frame(TEXT, b"m")

_behaviours |= {
    "/message": says(M),
    "/close-1000": closes(M, frame(CLOSE, struct.pack("!H", 1000) + b"done")),
    "/close-3000": closes(M, frame(CLOSE, struct.pack("!H", 3000) + "custom é".encode())),
    "/close-without-code": closes(M, frame(CLOSE)),
    "/fin": vanishes(M),
    "/fin-mid-frame": vanishes(frame(TEXT, b"0123456789")[:6]),
    "/fin-in-answer": says_instead(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: web"),
    "/one-byte": says_instead(b"H"),
    "/html": says_instead(b"<html><body>It works</body></html>"),
    "/tls-alert": says_instead(b"\x15\x03\x01\x00\x02\x02\x28"),
    "/silent": accepts(),
    "/wrong-accept": accepts(Sec_WebSocket_Accept=accept_key("another key")),
    "/no-accept": accepts(Sec_WebSocket_Accept=""),
    "/no-upgrade": accepts(Upgrade=""),
    "/other-upgrade": accepts(Upgrade="h2c"),
    "/no-connection": accepts(Connection=""),
    "/other-subprotocol": accepts(Sec_WebSocket_Protocol="v9"),
    "/extension": accepts(Sec_WebSocket_Extensions="x-none"),
    "/status-404": answers("404 Not Found"),
    "/status-403": answers("403 Forbidden"),
    "/status-500": answers("500 Internal Server Error"),
    "/status-200": answers("200 OK"),
    "/status-302": answers("302 Found", "Location: /message"),
    "/status-401": answers("401 Unauthorized", 'WWW-Authenticate: Basic realm="parity"'),
    "/opcode-3": says(M, frame(0x3, b"x")),
    "/opcode-11": says(M, frame(0xB)),
    "/bad-utf-8": says(M, frame(TEXT, b"\xff\xfe")),
    "/masked": says(M, frame(TEXT, b"x", mask=b"abcd")),
    "/fragments": says(
        frame(TEXT, b"aa", fin=False),
        frame(CONTINUATION, b"bb", fin=False),
        frame(PING, b"between"),
        frame(CONTINUATION, b"cc"),
    ),
    "/reserved-bit": says(M, frame(TEXT, b"x", rsv=0b010)),
    "/lone-continuation": says(M, frame(CONTINUATION, b"x")),
    "/unfinished-message": says(M, frame(TEXT, b"x", fin=False), frame(TEXT, b"y")),
    "/fragmented-ping": after_reply(frame(PING, b"x", fin=False)),
    "/long-ping": after_reply(frame(PING, b"x" * 126)),
    "/long-length": after_reply(b"\x81\x7e\x00\x01x"),
    "/bad-deflate": after_reply(
        frame(TEXT, b"\xff" * 5, rsv=0b100), Sec_WebSocket_Extensions="permessage-deflate"
    ),
    "/close-of-one-byte": closes(M, frame(CLOSE, b"x")),
    "/close-1005": closes(M, frame(CLOSE, struct.pack("!H", 1005))),
    "/close-2999": closes(M, frame(CLOSE, struct.pack("!H", 2999))),
    "/message-after-close": closes(M, frame(CLOSE, struct.pack("!H", 1000) + b"done"), M),
    "/close-with-bad-utf-8": closes(M, frame(CLOSE, struct.pack("!H", 1000) + b"\xff")),
}


@_at("/echo-two")
async def _echo_two(peer: Peer) -> None:
    """Both messages are read before the first is sent back: the order of the four is one only."""
    await peer.accept()
    messages = [await peer.read_message(), await peer.read_message()]
    await peer.write(*(frame(opcode, payload) for opcode, payload in messages))
    await peer.end()


@_at("/echo")
async def _echo(peer: Peer) -> None:
    await peer.accept()
    await peer.write(frame(*await peer.read_message()))
    await peer.end()


@_at("/reset")
async def _reset(peer: Peer) -> None:
    """An RST may overtake a message: this one waits until the message has arrived."""
    await peer.accept()
    await peer.write(M)
    await peer.read_message()
    peer.reset()


@_at("/no-answer")
async def _no_answer(peer: Peer) -> None:
    """FIN, and not a byte."""


@_at("/reset-unanswered")
async def _reset_unanswered(peer: Peer) -> None:
    """RST, and not a byte."""
    peer.reset()


@_at("/reset-in-answer")
async def _reset_in_answer(peer: Peer) -> None:
    """The RST comes when the rest of the answer is awaited: one that comes at once overtakes the bytes."""
    await peer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
    await asyncio.sleep(0.2)
    peer.reset()


@_at("/no-http")
async def _no_http(peer: Peer) -> None:
    await peer.write(b"220 mail.example ready\r\n\r\n")


@_at("/ping")
async def _ping(peer: Peer) -> None:
    """The message comes after the pong alone."""
    await peer.accept()
    await peer.write(frame(PING, b"are you there"))
    opcode, _, payload = await peer.read_frame()
    answered = (opcode, payload) == (PONG, b"are you there")
    await peer.write(frame(TEXT, b"after" if answered else b"no pong"))
    await peer.end()


@_at("/deflate")
async def _deflate(peer: Peer) -> None:
    """Compressed both ways (RFC 7692, 7.2), each message for itself; says whether it could read the app's."""
    assert "permessage-deflate" in peer.headers["sec-websocket-extensions"]
    takeover = "server_no_context_takeover; client_no_context_takeover"
    await peer.accept(Sec_WebSocket_Extensions=f"permessage-deflate; {takeover}")
    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(b"welcome " * 22 + b"back") + compressor.flush(zlib.Z_SYNC_FLUSH)
    await peer.write(frame(TEXT, packed.removesuffix(b"\0\0\xff\xff"), rsv=0b100))
    _, payload = await peer.read_message()
    unpacked = zlib.decompressobj(wbits=-15).decompress(payload + b"\0\0\xff\xff")
    await peer.write(frame(TEXT, b"understood" if unpacked == b"0123456789" * 50 else b"not understood"))
    await peer.end()


@_at("/subprotocol")
async def _subprotocol(peer: Peer) -> None:
    """Takes the last one that was offered."""
    await peer.accept(Sec_WebSocket_Protocol=peer.headers["sec-websocket-protocol"].split(", ")[-1])
    await peer.write(M)
    await peer.end()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    peer = Peer(reader, writer)
    try:
        await peer.read_request()
        if "upgrade" in peer.headers:
            await _behaviours[peer.path](peer)
        else:
            await peer.write(PAGE)
    except (EOFError, ConnectionError):
        pass  # the other side is gone: a browser also opens connections that it never uses
    finally:
        writer.close()


@asynccontextmanager
async def raw_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The server's port."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def no_tls_server(answer: Callable[[Peer], None]) -> AsyncIterator[int]:
    """The port of a server that answers so as soon as a TLS handshake begins."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        answer(Peer(reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port that nobody else can take, and that refuses every connection."""
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
