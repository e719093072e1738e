"""Connections between a proxy and its remote clients: TCP ports, Unix sockets and TLS, on both sides.

`Listener` refuses web pages: requests with an `Origin`, and requests with another host's `Host` (DNS
rebinding). Each client must send the token of this run.
"""

import asyncio
import hmac
import http
import ipaddress
import logging
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.connection import Connection as WebsocketsConnection
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from wirewright.model.errors import EndpointError, Error
from wirewright.no_redirects import ConnectWithoutRedirects
from wirewright.printable import get_logger, printable
from wirewright.remote import discovery
from wirewright.remote.codec import LARGEST_MESSAGE, SUBPROTOCOLS
from wirewright.remote.connection import Connection, Disconnected
from wirewright.remote.discovery import Endpoint, Token
from wirewright.remote.listening import ListeningSocket, listen_at_file, listen_at_port

HANDSHAKE_SECONDS = 10.0
"""How long a connection may take for its TLS handshake, and then for its request with the token."""
CLOSE_SECONDS = 1.0
"""How long a client may take to close its connection."""
PING_SECONDS = 20.0
"""How often the other side is asked whether it is still there, where a network is in between."""
MOST_SAID = 500
"""Bytes of the body of a refusal that are repeated."""
Serve = Callable[[Connection], Awaitable[None]]
Tls = ssl.SSLContext | str | Path
"""The trust of a client: a context, or the PEM file of an authority or of the certificate itself."""
CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
"""The first one is the server's own (RFC 8446, 4.4.2)."""

logger = get_logger(__name__)
_library_logger = logging.getLogger(f"{__name__}.websockets")
_library_logger.setLevel(logging.CRITICAL)  # connections that end within the handshake are not worth a line


class SocketConnection:
    """A WebSocket of the `websockets` library."""

    def __init__(self, connection: WebsocketsConnection) -> None:
        self._socket = connection
        self.subprotocol = str(connection.subprotocol)

    async def send(self, data: str | bytes) -> None:
        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise _disconnected(error) from None

    async def receive(self) -> str | bytes:
        try:
            return await self._socket.recv()
        except ConnectionClosed as error:
            raise _disconnected(error) from None

    async def close(self, code: int, reason: str) -> None:
        try:
            await asyncio.wait_for(self._socket.close(code, reason), CLOSE_SECONDS)
        except Exception:  # one that does not read, or whose connection is gone
            self._socket.transport.abort()


def _options(subprotocols: Iterable[str]) -> dict[str, Any]:
    """The options of both ends of a connection."""
    return {
        "subprotocols": [Subprotocol(each) for each in subprotocols],
        "max_size": LARGEST_MESSAGE,
        "compression": None,
        "ping_interval": None,  # a client at a breakpoint is not gone; the kernel reports lost connections
        "close_timeout": CLOSE_SECONDS,
        "logger": _library_logger,
    }


def _disconnected(error: ConnectionClosed) -> Disconnected:
    received = error.rcvd
    return Disconnected(received.code, received.reason) if received else Disconnected(1006, "")


class Listener:
    """Serves clients at one address."""

    def __init__(
        self, serve: Serve, *, allow_other_machines: bool = False, certificate: Path | None = None
    ) -> None:
        """`allow_other_machines` allows an address that other machines can reach. `certificate` is a PEM file
        with its key."""
        self._serve = serve
        self._allow_other_machines = allow_other_machines
        self._is_public = False
        self._certificate = certificate
        self._tls: ssl.SSLContext | None = None
        self._token = discovery.new_token()
        self._hosts: frozenset[str] = frozenset()
        self._sockets: list[ListeningSocket] = []
        self._servers: list[Server] = []
        self.file: Path | None = None
        """The file in which clients find the endpoint; None if it is not published."""
        self._socket_file: Path | None = None
        self._inode = 0
        self.endpoint: Endpoint

    async def start(self, address: str, *, is_published: bool = True) -> None:
        """Listen at `host:port` (0 for a free one) or `unix:path`. Raises Error where that cannot be.

        An endpoint that is not published has no file: only programs that are given its token can connect.
        """
        options: dict[str, Any] = {
            **_options(SUBPROTOCOLS),
            "process_request": self._check,
            "server_header": None,
            "open_timeout": HANDSHAKE_SECONDS,
        }
        certificate = ""
        if self._certificate is not None:
            self._tls, certificate = _load(self._certificate)
        try:
            if address.startswith("unix:"):
                path = address.removeprefix("unix:").removeprefix("//")
                shown = await self._listen_at_file(Path(path).absolute(), options)  # noqa: ASYNC240
            else:
                shown = await self._listen_at_port(address, options)
        except OSError as error:
            raise Error(f"ws_remote {address}: {error.strerror or error}") from None
        self.endpoint = Endpoint(shown, self._token, os.getpid(), certificate)
        if is_published:
            self.file = discovery.publish(self.endpoint)

    def stop(self) -> None:
        """Listen no more; connections that are open are closed, with 1001, soon."""
        for server in self._servers:
            server.close()
        if self.file is not None:
            self.file.unlink(missing_ok=True)
        path = self._socket_file
        if path is not None and path.exists() and path.stat().st_ino == self._inode:  # and not another's
            path.unlink()

    async def stopped(self) -> None:
        """Return when all connections are closed."""
        for server in self._servers:
            await server.wait_closed()

    async def _listen_at_port(self, address: str, options: dict[str, Any]) -> str:
        host, port = split_address(address)
        if not _is_loopback(host):
            if not self._allow_other_machines:
                raise Error(
                    f"ws_remote {address}: other machines could reach it; ws_remote_insecure_bind "
                    "(--remote-insecure-bind) allows that"
                )
            self._is_public = True
            if self._tls is None:
                raise Error(f"ws_remote {address}: it needs a certificate: ws_remote_cert (--remote-cert)")
        if self._is_public:
            options["ping_interval"] = PING_SECONDS
        self._sockets = await listen_at_port(host, port)
        for listening in self._sockets:
            self._servers.append(await serve(self._run, sock=listening, ssl=self._tls, **options))
        port = self._sockets[0].getsockname()[1]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  as it is reached from here
        name = f"[{host}]" if ":" in host else host
        self._hosts = frozenset(f"{each}:{port}" for each in (name, "localhost", "127.0.0.1", "[::1]"))
        return f"{'wss' if self._tls else 'ws'}://{name}:{port}"

    async def _listen_at_file(self, path: Path, options: dict[str, Any]) -> str:
        self._sockets = [listen_at_file(path)]
        self._socket_file, self._inode = path, path.stat().st_ino  # noqa: ASYNC240
        self._servers.append(await unix_serve(self._run, sock=self._sockets[0], **options))
        self._hosts = frozenset({"localhost"})
        return f"unix://{path}"

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        headers = request.headers
        if "Origin" in headers:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "Web pages are not served.\n")
        hosts = headers.get_all("Host")
        # A far address has as many names as its owner likes; there, the certificate says who it is.
        if len(hosts) != 1 or (hosts[0].lower() not in self._hosts and not self._is_public):
            return connection.respond(http.HTTPStatus.MISDIRECTED_REQUEST, "This is another host.\n")
        given = headers.get_all("Authorization")
        wanted = f"Bearer {self._token}"
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), wanted.encode()):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "The token is missing or wrong.\n")
        descriptor = connection.transport.get_extra_info("socket").fileno()
        for listening in self._sockets:
            listening.prove(descriptor)
        return None

    async def _run(self, connection: ServerConnection) -> None:
        if connection.subprotocol is None:
            await connection.close(1002, f"a subprotocol is missing: {' or '.join(SUBPROTOCOLS)}")
            return
        try:
            await self._serve(SocketConnection(connection))
        except Exception:
            logger.exception("a client of the proxy met an error of ours")
            await connection.close(1011, "the proxy has failed here")


async def reach(
    endpoint: Endpoint, *, codec: str | None = None, tls: Tls | None = None, allow_cleartext: bool = False
) -> Connection:
    """A connection to a running proxy. Raises Error where there is none, and EndpointError for an address to
    which the token would be sent in clear, unless `allow_cleartext` is True.
    """
    _check_address(endpoint.address, allow_cleartext=allow_cleartext)
    options: dict[str, Any] = {
        **_options([codec] if codec else SUBPROTOCOLS),
        "additional_headers": {"Authorization": Token(f"Bearer {endpoint.token}")},
        "user_agent_header": None,
    }
    try:
        address = endpoint.address
        if address.startswith("unix:"):
            path = address.removeprefix("unix://")
            opened = await ConnectWithoutRedirects("ws://localhost/", unix=True, path=path, **options)
        else:
            if address.startswith("wss:"):
                options |= {"ssl": _trust(endpoint, tls), "ping_interval": PING_SECONDS}
            opened = await ConnectWithoutRedirects(address, proxy=None, **options)
    except InvalidStatus as error:
        raise Error(f"{endpoint.address} refuses: {_refusal_text(error)}") from None
    except (InvalidHandshake, OSError, TimeoutError, EOFError) as error:
        reason = str(error) or type(error).__name__
        raise Error(f"{endpoint.address} cannot be reached: {reason}") from None
    if opened.subprotocol is None:
        with suppress(Disconnected):
            await SocketConnection(opened).close(1002, "")
        raise Error(f"{endpoint.address} speaks another version of the protocol")
    return SocketConnection(opened)


def _check_address(address: str, *, allow_cleartext: bool) -> None:
    """Raise EndpointError for an address that is not one, or where others could read the token on its way."""
    if address.startswith("unix:"):
        return
    if "@" in address:  # a user name and a password, which would be sent as a second Authorization
        raise EndpointError("an endpoint has no user name: use wss://host:port and the token")
    try:
        uri = parse_uri(address)
    except (InvalidURI, ValueError):
        raise EndpointError(f"{address!r} is not an address: use ws://host:port or wss://host:port") from None
    if not (uri.secure or allow_cleartext or uri.host == "localhost" or _is_loopback(uri.host)):
        raise EndpointError(
            f"{address}: the token would be sent in clear to another machine. Use wss://, or allow it with "
            "allow_cleartext (--allow-cleartext, and --ws-allow-cleartext of pytest)"
        )


def _refusal_text(error: InvalidStatus) -> str:
    """The reason of a refused handshake, in a few printable words."""
    response = error.response
    if 300 <= response.status_code < 400:
        return f"it redirects to {response.headers.get('Location', '')!r}, and no redirect is followed"
    text = bytes(response.body or b"")[:MOST_SAID].decode(errors="replace").strip()
    if not text:
        return f"status {response.status_code}"
    return printable(text)


def _load(path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context, and its certificate alone, PEM. Raises Error where a file has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(path)
        found = CERTIFICATE.search(path.read_text())
    except (OSError, ValueError) as error:
        raise Error(f"ws_remote_cert {path}: {error}") from None
    return context, found[0] if found else ""


def _trust(endpoint: Endpoint, tls: Tls | None) -> ssl.SSLContext:
    """The context of a client. Without `tls` it trusts the certificate in the endpoint's file."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is not None:
        try:
            return ssl.create_default_context(cafile=tls)
        except OSError as error:
            raise Error(f"tls {tls}: {error.strerror or error}") from None
    if not endpoint.certificate:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is this very certificate, by whatever name it is reached
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=endpoint.certificate)
    return context


def split_address(address: str) -> tuple[str, int]:
    """The host and the port of `host:port`. Raises Error for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65_535:
        raise Error(f"ws_remote must be host:port or unix:path, not {address!r}")
    host = host.strip("[]")
    return ("127.0.0.1" if host in ("", "localhost") else host), int(port)  # localhost may be two addresses


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
