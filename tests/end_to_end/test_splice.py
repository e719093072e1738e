"""Sockets whose connections are taken from mitmproxy's layers once they are open."""

import asyncio
import os
import random
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import websockets

from support.certificates import Certificates, trusting
from support.event_log import Recordings, eventually
from support.raw_peers import RawSocket, accepting, asking, raw_socket
from support.servers import serving
from support.spliced import paused_connections, spliced_connections
from wirewright import Proxy, WebSocketRoute, launch
from wirewright.wire.frames import Opcode, encode_frame

HANDED_OVER = int(os.environ.get("WIREWRIGHT_HANDOVERS", "10"))
"""Sockets of a test."""


pytestmark = pytest.mark.wire("its layers carry the sockets")


async def talk(socket: RawSocket) -> None:
    """A message in each direction, so that the socket is open."""
    for source, destination in socket.legs():
        await source.send("hello")
        assert await destination.message() == "hello"


async def test_open_socket_is_read_past_the_layers(proxy: Proxy) -> None:
    async with raw_socket(proxy.port) as socket:
        await talk(socket)
        await eventually(lambda: spliced_connections() == 2)
        await talk(socket)


async def test_option_leaves_sockets_to_the_layers(confdir: Path) -> None:
    async with (
        launch(port=0, confdir=confdir, options={"ws_splice": False}) as proxy,
        raw_socket(proxy.port) as socket,
    ):
        await talk(socket)
        assert spliced_connections() == 0


@pytest.mark.skipif(not hasattr(asyncio, "eager_task_factory"), reason="Python 3.12 has eager tasks")
async def test_answer_of_a_route_waits_for_the_end_of_its_message(proxy: Proxy) -> None:
    """mitmproxy's programs have eager tasks: an order of a route comes while its message is being offered."""

    def route(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()

        async def handle(message: str | bytes) -> None:
            server.send(message)

        ws.on_message(handle)

    proxy.route_web_socket("**", route)
    loop = asyncio.get_running_loop()
    async with raw_socket(proxy.port) as socket:
        await eventually(lambda: spliced_connections() == 2)
        loop.set_task_factory(asyncio.eager_task_factory)
        try:
            for number in range(5):
                await socket.app.send(f"message {number}")
                assert await socket.server.message() == f"message {number}"
        finally:
            loop.set_task_factory(None)


# The hand-over


class Script:
    """The messages of both ends, which are sent as soon as possible. The app's close frame follows."""

    def __init__(self, numbers: random.Random, messages: int) -> None:
        """`messages` is how many each end sends."""
        self.app, self.server = (
            [f"{number} {'x' * numbers.choice((0, 3, 120, 130, 5_000))}" for number in range(messages)]
            for _ in range(2)
        )

    def sent(self) -> bytes:
        return b"".join(encode_frame(Opcode.TEXT, each.encode(), mask=b"mask") for each in self.app)

    def received(self) -> bytes:
        return b"".join(encode_frame(Opcode.TEXT, each.encode()) for each in self.server)


CLOSE = encode_frame(Opcode.CLOSE, b"\x03\xe8")
MASKED_CLOSE = encode_frame(Opcode.CLOSE, b"\x03\xe8", mask=b"mask")


@dataclass(frozen=True)
class Way:
    """When an end speaks, and in which pieces."""

    glued: bool = False
    """The server sends its messages with the 101."""
    behind: bool = False
    """The app sends its messages with the request."""
    piece: int = 1 << 20
    """Bytes of a write."""
    messages: int = 100
    """Of each end."""

    async def write(self, writer: asyncio.StreamWriter, *parts: bytes) -> None:
        for part in parts:
            for start in range(0, len(part), self.piece):
                writer.write(part[start : start + self.piece])
                await asyncio.sleep(0)
        await writer.drain()


WAYS = {
    "after the 101": Way(),
    "glued to the 101": Way(glued=True),
    "behind the request": Way(behind=True),
    "both at once": Way(glued=True, behind=True),
    "one byte at a time": Way(piece=1, messages=3),
    "in small pieces": Way(glued=True, behind=True, piece=7, messages=10),
}


@pytest.fixture(params=["ws", "wss"])
def is_encrypted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "wss")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_no_byte_is_lost_or_doubled_at_the_hand_over(
    proxy: Proxy, way: Way, certificates: Certificates, confdir: Path, is_encrypted: bool
) -> None:
    recordings, numbers = Recordings(proxy), random.Random(7)
    server_tls = certificates.server_context if is_encrypted else None
    app_tls = trusting(confdir / "mitmproxy-ca-cert.pem") if is_encrypted else None
    for _ in range(HANDED_OVER):
        script = Script(numbers, way.messages)
        await exchange(proxy.port, script, way, server_tls, app_tls)
        recording = recordings.all[-1]
        await recording.closed.wait()
        for event, said in (("framesent", script.app), ("framereceived", script.server)):
            assert [payload for name, payload in recording.events if name == event] == said
        assert recording.events[-1] == ("close", None)
        assert (recording.ws.close_code, len(recording.frames)) == (1000, 2 * way.messages)


async def exchange(
    port: int, script: Script, way: Way, server_tls: ssl.SSLContext | None, app_tls: ssl.SSLContext | None
) -> None:
    """Carry out a script between an app and a server."""
    served: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            head, messages = accepting(), script.received()
            await way.write(writer, *([head + messages] if way.glued else [head, messages]))
            assert await reader.readexactly(len(script.sent())) == script.sent()
            assert await reader.readexactly(len(MASKED_CLOSE)) == MASKED_CLOSE
            writer.write(CLOSE)
        except Exception as error:
            served.set_exception(error)
        else:
            served.set_result(None)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls, limit=1 << 22) as server:
        authority = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        if app_tls is not None:
            await writer.start_tls(app_tls, server_hostname="127.0.0.1")
        request = asking("/live", authority)
        await way.write(writer, request + script.sent() if way.behind else request)
        await reader.readuntil(b"\r\n\r\n")
        if not way.behind:
            await way.write(writer, script.sent())
        assert await reader.readexactly(len(script.received())) == script.received()
        await eventually(lambda: spliced_connections() == 2)
        writer.write(MASKED_CLOSE)
        assert await reader.readexactly(len(CLOSE)) == CLOSE
        assert await reader.read() == b""
        writer.close()
        await served


# TLS


@asynccontextmanager
async def encrypted_socket(
    proxy: Proxy, certificates: Certificates
) -> AsyncIterator[websockets.ClientConnection]:
    """An app whose socket is spliced, at a server that sends everything back."""
    async with (
        serving(tls=certificates.server_context) as url,
        websockets.connect(
            url, proxy=f"http://127.0.0.1:{proxy.port}", ssl=trusting(proxy.ca_certificate), max_size=None
        ) as app,
    ):
        await eventually(lambda: spliced_connections() == 2)
        yield app


def network_of(app: websockets.ClientConnection) -> asyncio.Transport:
    """The TCP connection under the TLS of an app."""
    network: asyncio.Transport = app.transport._ssl_protocol._transport  # type: ignore[attr-defined]
    return network


async def test_large_messages_pass_tls(proxy: Proxy, certificates: Certificates) -> None:
    async with encrypted_socket(proxy, certificates) as app:
        for size in (16_384, 131_072, 3_000_001):
            message = random.Random(size).randbytes(size)
            await app.send(message)
            assert await app.recv() == message


async def test_app_that_reads_late_gets_every_byte(proxy: Proxy, certificates: Certificates) -> None:
    """The network does not take all at once, so that the transport keeps what is written over and over."""
    messages = [random.Random(number).randbytes(100_000) for number in range(200)]

    async def serve(connection: websockets.ServerConnection) -> None:
        for message in messages:
            await connection.send(message)

    async with (
        serving(serve, tls=certificates.server_context) as url,
        websockets.connect(
            url, proxy=f"http://127.0.0.1:{proxy.port}", ssl=trusting(proxy.ca_certificate)
        ) as app,
    ):
        await eventually(lambda: spliced_connections() == 2)
        network_of(app).pause_reading()
        await eventually(lambda: paused_connections() == 2)
        network_of(app).resume_reading()
        assert [await app.recv() for _ in messages] == messages


async def test_record_that_is_no_tls_ends_the_socket(
    proxy: Proxy, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    recordings = Recordings(proxy)
    async with encrypted_socket(proxy, certificates) as app:
        network_of(app).write(b"\x17\x03\x03\x00\x20" + b"no TLS at all".ljust(32))
        with pytest.raises(websockets.ConnectionClosedError):
            await app.recv()
        await recordings.only.closed.wait()
    assert recordings.only.ws.close_code == 1006
    assert [message for message in caplog.messages if message.startswith("TLS Error: ")]


@pytest.mark.parametrize("leaves", [True, False], ids=["close_notify", "FIN"])
async def test_app_that_ends_its_tls_ends_the_socket(
    proxy: Proxy, certificates: Certificates, leaves: bool
) -> None:
    recordings = Recordings(proxy)
    async with encrypted_socket(proxy, certificates) as app:
        await app.send("hello")
        assert await app.recv() == "hello"
        app.transport.close() if leaves else network_of(app).close()
        await recordings.only.closed.wait()
    assert (recordings.only.ws.close_code, recordings.only.ws.closed_by) == (1006, "client")
