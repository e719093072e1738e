"""Key updates and renegotiations of TLS while a socket is spliced."""

import asyncio
import shutil
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from OpenSSL import SSL

from support.certificates import Certificates, trusting
from support.event_log import Recordings, eventually
from support.raw_peers import accepting, asking
from support.servers import serving
from support.spliced import spliced_connections
from wirewright import Proxy, launch
from wirewright.wire.frames import Opcode, encode_frame

pytestmark = pytest.mark.wire("its layers carry the sockets")

MESSAGES = 300


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the program openssl is not installed")
@pytest.mark.parametrize("command", ["k", "K"], ids=["the app's keys", "the keys of both"])
async def test_new_keys_of_tls_lose_nothing(proxy: Proxy, certificates: Certificates, command: str) -> None:
    """RFC 8446, 4.6.3. Each time the app asks the proxy for new keys, too, or does not."""
    recordings = Recordings(proxy)
    async with (
        serving(tls=certificates.server_context) as url,
        s_client(proxy, url.removeprefix("wss://")) as app,
    ):
        await app.said(b"HTTP/1.1 101 ")
        await eventually(lambda: spliced_connections() == 2)
        for number in range(5):
            app.write(encode_frame(Opcode.TEXT, b"message %d" % number, mask=b"mask"))
            await app.said(b"message %d" % number)
            app.write(command.encode() + b"\n")
            await app.said(b"KEYUPDATE")
    await recordings.only.closed.wait()
    received = [payload for event, payload in recordings.only.frames if event == "framereceived"]
    assert received == [f"message {number}" for number in range(5)]


class SClient:
    """`openssl s_client`, which sends what it reads. A line with K or k is a command for new keys."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = b""

    def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)

    async def said(self, text: bytes) -> None:
        """Wait until it has printed something, and forget what came before."""
        assert self._process.stdout is not None
        while text not in self._said:
            part = await self._process.stdout.read(65536)
            assert part, self._said
            self._said += part
        self._said = self._said.partition(text)[2]


@asynccontextmanager
async def s_client(proxy: Proxy, authority: str) -> AsyncIterator[SClient]:
    """An app that has asked a server for a socket."""
    arguments = ("-connect", authority, "-proxy", f"127.0.0.1:{proxy.port}", "-CAfile", proxy.ca_certificate)
    process = await asyncio.create_subprocess_exec(
        "openssl",
        "s_client",
        *map(str, arguments),
        "-tls1_3",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        app = SClient(process)
        await app.said(b"Verify return code: 0")
        app.write(asking("/live", authority))
        yield app
    finally:
        process.kill()
        await process.communicate()


async def test_new_handshake_of_a_server_loses_nothing(confdir: Path, tmp_path: Path) -> None:
    """RFC 5246, 7.4.1.1. Nothing can be encrypted for the server until it is over."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = tmp_path / "server.pem"
    ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    options = {"ssl_verify_upstream_trusted_ca": str(tmp_path / "ca.pem")}
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        recordings = Recordings(proxy)
        async with renegotiating_server(certificate) as server:
            authority = f"127.0.0.1:{server.port}"
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            await writer.start_tls(trusting(proxy.ca_certificate), server_hostname="127.0.0.1")
            writer.write(asking("/live", authority))
            await reader.readuntil(b"\r\n\r\n")
            await eventually(lambda: spliced_connections() == 2)
            server.may_begin.set()
            await asyncio.to_thread(server.has_begun.wait)
            for number in range(MESSAGES):
                writer.write(encode_frame(Opcode.TEXT, b"%04d" % number * 500, mask=b"mask"))
            await eventually(lambda: len(recordings.only.frames) == MESSAGES)
            server.may_read.set()
            last = encode_frame(Opcode.TEXT, b"that was all")
            assert await reader.readexactly(len(last)) == last
            writer.close()
        await recordings.only.closed.wait()
    assert server.handshakes == 3  # OpenSSL counts the request for the second one, too
    frames = b"".join(
        encode_frame(Opcode.TEXT, b"%04d" % number * 500, mask=b"mask") for number in range(MESSAGES)
    )
    assert server.received == frames


class RenegotiatingServer:
    """A server of TLS 1.2 that begins a new handshake, and reads nothing of what follows until it may."""

    def __init__(self, certificate: Path) -> None:
        self.received = b""
        self.handshakes = 0
        self.may_begin, self.has_begun, self.may_read = (threading.Event() for _ in range(3))
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(certificate))
        context.set_info_callback(self._told)
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def _told(self, connection: SSL.Connection, where: int, result: int) -> None:
        self.handshakes += where == SSL.SSL_CB_HANDSHAKE_DONE

    def serve(self) -> None:
        with self._listening:
            accepted, _ = self._listening.accept()
        connection = SSL.Connection(self._context, accepted)
        connection.set_accept_state()
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(65536)
        connection.sendall(accepting())
        self.may_begin.wait()
        connection.renegotiate()
        connection.do_handshake()
        self.has_begun.set()
        self.may_read.wait()
        size = len(encode_frame(Opcode.TEXT, b"0000" * 500, mask=b"mask")) * MESSAGES
        while len(self.received) < size:
            self.received += connection.recv(65536)
        connection.sendall(encode_frame(Opcode.TEXT, b"that was all"))
        while True:
            try:
                connection.recv(65536)
            except SSL.Error:
                break
        accepted.close()


@asynccontextmanager
async def renegotiating_server(certificate: Path) -> AsyncIterator[RenegotiatingServer]:
    server = RenegotiatingServer(certificate)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield server
    await asyncio.to_thread(thread.join)
