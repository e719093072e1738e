"""Connections to the remote port whose token has not come."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
import websockets
from websockets.typing import Subprotocol

from support.processes import BIN, running
from support.servers import serving as service
from wirewright import Proxy, launch
from wirewright.async_api import connect
from wirewright.remote import discovery, listening, transport
from wirewright.remote.codec import JSON
from wirewright.remote.listening import ListeningSocket, listen_at_port

pytestmark = pytest.mark.slow

DESCRIPTORS = 300


@pytest.fixture(params=["ws", "wss"])
def certificate(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """The PEM file of the remote port, or None for one without TLS."""
    if request.param == "ws":
        return None
    path = tmp_path / "cert.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@contextmanager
def silent(count: int) -> Iterator[list[socket.socket]]:
    """Connections to the remote port that send nothing."""
    port = int(discovery.find(None, None).address.rpartition(":")[2])
    opened = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    try:
        yield opened
    finally:
        for each in opened:
            each.close()


async def ends(connection: socket.socket) -> bool:
    """True once the other side has closed or cut a connection without a byte."""
    connection.setblocking(False)
    try:
        return await asyncio.get_running_loop().sock_recv(connection, 1) == b""
    except ConnectionResetError:  # bytes had come that were not read
        return True


@asynccontextmanager
async def served(confdir: Path, certificate: Path | None) -> AsyncIterator[Proxy]:
    options = {"ws_remote": "127.0.0.1:0", "ws_remote_cert": str(certificate or "")}
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        yield proxy


async def test_silent_connections_leave_descriptors_for_apps_and_clients(
    confdir: Path, certificate: Path | None, runtime: Path, tmp_path: Path
) -> None:
    command: list[str | Path] = ["sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", BIN / "wirewright"]
    command += ["run", "-p", "0", "--listen-host", "127.0.0.1", "--set", f"confdir={confdir}"]
    command += ["--remote", "127.0.0.1:0"]
    command += ["--remote-cert", certificate] if certificate else []
    async with running(*command, XDG_RUNTIME_DIR=str(tmp_path)) as run, service() as url:
        port = (await run.line(r"listening on \S*:(\d+)"))[1]
        await run.line("Stop +Ctrl-C")
        with silent(DESCRIPTORS - 10):
            async with connect() as proxy, proxy.expect_websocket() as opened:
                app = await websockets.connect(url, proxy=f"http://127.0.0.1:{port}")
                ws = await opened.value
                async with ws.expect_event("framereceived") as frame:
                    await app.send("hello")
                assert await frame.value == "hello"
                await app.close()
        await run.stop()
    assert not any("out of system resource" in line for line in run.lines)


async def test_oldest_connections_without_a_token_are_closed(
    confdir: Path, certificate: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_UNPROVEN", 4)
    async with served(confdir, certificate):
        with silent(10) as opened:
            for each in opened[:6]:
                assert await ends(each)
            for each in opened[6:]:
                with pytest.raises(BlockingIOError):
                    each.recv(1, socket.MSG_DONTWAIT)


async def test_clients_with_a_token_do_not_count(
    confdir: Path, certificate: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "MOST_UNPROVEN", 4)
    async with served(confdir, certificate) as proxy, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect()) for _ in range(6)]
        with silent(10) as opened:
            for each in opened[:6]:
                assert await ends(each)
            for client in clients:
                await client.route_web_socket("**/x", print)
            async with connect() as another:
                assert another.port == proxy.port


async def test_connection_without_a_token_is_closed_in_time(
    confdir: Path, certificate: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "HANDSHAKE_SECONDS", 0.05)
    async with served(confdir, certificate):
        with silent(1) as (only,):
            assert await ends(only)


async def test_request_that_comes_byte_by_byte_is_closed_in_time(
    confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "HANDSHAKE_SECONDS", 0.2)
    async with served(confdir, None):
        with silent(1) as (only,):
            ended = asyncio.ensure_future(ends(only))
            request = iter(b"GET / HTTP/1.1\r\nX-Slow: " + b"x" * 1_000_000)
            while not ended.done():
                with suppress(BlockingIOError, ConnectionError):
                    only.send(bytes([next(request)]))
                await asyncio.wait([ended], timeout=0.01)
            assert await ended


async def test_client_with_a_wrong_token_is_closed(confdir: Path, certificate: Path | None) -> None:
    async with served(confdir, certificate):
        endpoint = discovery.find(None, None)
        tls: dict[str, Any] = {}
        if certificate is not None:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            tls = {"ssl": context}
        for _ in range(3):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(
                    endpoint.address, proxy=None, subprotocols=[Subprotocol(JSON)], **tls
                )


def test_accepting_waits_while_too_many_connections_are_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MOST_UNPROVEN", 2)
    with ListeningSocket(socket.AF_INET) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        apps = [socket.create_connection(server.getsockname()) for _ in range(6)]
        accepted = [server.accept()[0] for _ in range(4)]
        assert [app.recv(1) for app in apps[:2]] == [b"", b""]
        with pytest.raises(BlockingIOError):
            server.accept()
        accepted[0].close()
        accepted.append(server.accept()[0])
        for each in (*apps, *accepted):
            each.close()


async def test_event_loop_does_not_spin_while_connections_are_closing(
    confdir: Path, certificate: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused `accept` leaves the listening socket readable, so the loop asks again, for a few turns."""
    refused = 0
    accept = ListeningSocket.accept

    def counted(self: ListeningSocket) -> tuple[socket.socket, Any]:
        nonlocal refused
        try:
            return accept(self)
        except BlockingIOError:
            refused += len(self._closing) >= listening.MOST_UNPROVEN
            raise

    monkeypatch.setattr(ListeningSocket, "accept", counted)
    monkeypatch.setattr(listening, "MOST_UNPROVEN", 4)
    async with served(confdir, certificate):
        with silent(90) as opened:
            for each in opened[:86]:
                assert await ends(each)
    assert 0 < refused < 2 * len(opened)


async def test_every_address_of_a_host_has_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def found(*_: object, **__: object) -> list[tuple[Any, ...]]:
        kinds = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_INET, ("127.0.0.2", 0))]
        return [(family, socket.SOCK_STREAM, 6, "", address) for family, address in kinds]

    monkeypatch.setattr(loop, "getaddrinfo", found)
    sockets = await listen_at_port("proxy.example", 0)
    assert [each.getsockname()[0] for each in sockets] == ["127.0.0.1", "127.0.0.2"]
    assert len({each.getsockname()[1] for each in sockets}) == 1
    for each in sockets:
        each.close()


async def test_short_messages_to_a_client_do_not_wait_for_its_acknowledgements(
    confdir: Path, certificate: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[socket.socket] = []
    accept = ListeningSocket.accept

    def noted(self: ListeningSocket) -> tuple[socket.socket, Any]:
        found = accept(self)
        accepted.append(found[0])
        return found

    monkeypatch.setattr(ListeningSocket, "accept", noted)
    async with served(confdir, certificate), connect():
        (connection,) = accepted
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
