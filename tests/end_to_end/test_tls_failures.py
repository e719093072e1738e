"""TLS handshakes that fail, with real apps and real servers: the fact, the socket's error, and the remedy."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
import websockets

from support.certificates import Certificates, trusting
from support.event_log import Recordings
from support.servers import RawHandler, serving, serving_raw
from wirewright import Proxy, launch
from wirewright.model.tls_failures import TlsFailure
from wirewright.state import tls_failures

CA = Path("/ca.pem")
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def failures() -> Iterator["asyncio.Queue[TlsFailure]"]:
    """Those of this test, as they come."""
    queue: asyncio.Queue[TlsFailure] = asyncio.Queue()
    tls_failures.watchers.append(queue.put_nowait)
    yield queue
    tls_failures.watchers.remove(queue.put_nowait)


async def tunnel(proxy: Proxy, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An app's connection to a server through the proxy, before its first byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def test_app_that_does_not_trust_the_ca_is_noted(
    proxy: Proxy, failures: "asyncio.Queue[TlsFailure]", certificates: Certificates
) -> None:
    began = time.time()
    async with serving(tls=certificates.server_context) as url:
        reader, writer = await tunnel(proxy, url.removeprefix("wss://"))
        alert = await refuse_certificate(reader, writer, "api.example.com")
        writer.write(alert)
        failure = await failures.get()
        writer.close()
    assert (failure.side, failure.server_name) == ("client", "api.example.com")
    assert began <= failure.at <= time.time()
    assert failure.client_address == writer.get_extra_info("sockname")
    assert failure.is_certificate_refused
    sentence = "the app does not trust this CA, or pins its certificate (tlsv1 alert unknown ca)"
    assert failure.sentence == sentence
    assert f"install {CA} " in str(failure.remedy(CA))
    assert failure in tls_failures.newest(since=began)
    assert failure not in tls_failures.newest(since=time.time() + 1)


async def test_app_that_hangs_up_without_an_alert_is_noted(
    proxy: Proxy, failures: "asyncio.Queue[TlsFailure]", certificates: Certificates
) -> None:
    async with serving(tls=certificates.server_context) as url:
        _, writer = await tunnel(proxy, url.removeprefix("wss://"))
        with pytest.raises(ssl.SSLCertVerificationError):  # asyncio closes without sending the alert
            await writer.start_tls(ssl.create_default_context(), server_hostname="api.example.com")
    failure = await failures.get()
    assert failure.is_certificate_refused
    assert "hung up during the TLS handshake" in failure.sentence


async def test_app_that_hangs_up_at_the_certificate_is_noted(
    proxy: Proxy, failures: "asyncio.Queue[TlsFailure]", certificates: Certificates
) -> None:
    async with serving(tls=certificates.server_context) as url:
        reader, writer = await tunnel(proxy, url.removeprefix("wss://"))
        writer.write(client_hello("pins.example.com"))
        assert await reader.read(1), "the proxy's certificate"
        writer.close()
    failure = await failures.get()
    assert failure.server_name == "pins.example.com"
    assert failure.is_certificate_refused
    assert "hung up during the TLS handshake" in failure.sentence


async def test_app_without_a_common_tls_version_is_noted(
    proxy: Proxy, failures: "asyncio.Queue[TlsFailure]", certificates: Certificates
) -> None:
    async with serving(tls=certificates.server_context) as url:
        _, writer = await tunnel(proxy, url.removeprefix("wss://"))
        # A client hello of TLS 1.2 says "TLS 1.0" when two of its bytes are changed.
        hello = bytearray(client_hello("old.example.com", maximum=ssl.TLSVersion.TLSv1_2))
        hello[9:11] = b"\x03\x01"
        writer.write(hello)
        failure = await failures.get()
        writer.close()
    assert not failure.is_certificate_refused
    assert failure.sentence == "the app and the proxy have no TLS version in common"
    assert "tls_version_client_min" in str(failure.remedy(CA))


async def test_app_that_hangs_up_before_the_certificate_has_not_refused_it(
    proxy: Proxy, failures: "asyncio.Queue[TlsFailure]", certificates: Certificates
) -> None:
    async with serving(tls=certificates.server_context) as url:
        _, writer = await tunnel(proxy, url.removeprefix("wss://"))
        writer.write(client_hello("slow.example.com")[:40])
        await writer.drain()
        writer.close()
        _, writer = await tunnel(proxy, url.removeprefix("wss://"))
        with suppress(ssl.SSLError):
            await writer.start_tls(ssl.create_default_context(), server_hostname="next.example.com")
    assert (await failures.get()).server_name == "next.example.com"


class AppSide:
    """The TLS of an app, by hand."""

    def __init__(self, name: str, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        context = ssl.create_default_context()
        context.maximum_version = maximum
        self.incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._connection = context.wrap_bio(self.incoming, self._outgoing, server_hostname=name)

    def step(self) -> bytes:
        """The bytes that the app sends next."""
        with suppress(ssl.SSLWantReadError):
            self._connection.do_handshake()
        return self._outgoing.read()

    def rest(self) -> bytes:
        return self._outgoing.read()


def client_hello(name: str, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> bytes:
    """The first bytes of an app that speaks TLS."""
    return AppSide(name, maximum).step()


async def refuse_certificate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str) -> bytes:
    """Begin a handshake, and return the alert about the certificate that came."""
    app = AppSide(name)
    writer.write(app.step())
    while True:
        app.incoming.write(await reader.read(65536))
        try:
            app.step()
        except ssl.SSLCertVerificationError:
            return app.rest()


def presenting(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def expired(ca: trustme.CA) -> ssl.SSLContext:
    return presenting(ca.issue_cert("127.0.0.1", not_before=PAST, not_after=PAST + timedelta(days=1)))


def not_yet_valid(ca: trustme.CA) -> ssl.SSLContext:
    begins = datetime.now(UTC) + timedelta(days=1)
    return presenting(ca.issue_cert("127.0.0.1", not_before=begins, not_after=begins + timedelta(days=1)))


def of_another_host(ca: trustme.CA) -> ssl.SSLContext:
    return presenting(ca.issue_cert("another.example.com"))


def of_another_address(ca: trustme.CA) -> ssl.SSLContext:
    return presenting(ca.issue_cert("192.0.2.1"))


def of_an_unknown_ca(ca: trustme.CA) -> ssl.SSLContext:
    return presenting(trustme.CA().issue_cert("127.0.0.1"))


@pytest.fixture
async def careful(confdir: Path, tmp_path: Path) -> AsyncIterator[tuple[Proxy, trustme.CA]]:
    """A proxy that trusts one CA of servers."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "servers.pem"))
    options = {"ssl_verify_upstream_trusted_ca": str(tmp_path / "servers.pem")}
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        yield proxy, ca


@pytest.mark.parametrize(
    ("make", "code", "reason", "can_be_trusted"),
    [
        (of_an_unknown_ca, "ERR_CERT_AUTHORITY_INVALID", "unable to get local issuer certificate", True),
        (expired, "ERR_CERT_DATE_INVALID", "certificate has expired", False),
        (not_yet_valid, "ERR_CERT_DATE_INVALID", "certificate is not yet valid", False),
        (of_another_host, "ERR_CERT_COMMON_NAME_INVALID", "IP address mismatch", False),
        (of_another_address, "ERR_CERT_COMMON_NAME_INVALID", "IP address mismatch", False),
    ],
)
async def test_server_certificate_that_the_proxy_refuses(
    careful: tuple[Proxy, trustme.CA],
    make: Callable[[trustme.CA], ssl.SSLContext],
    code: str,
    reason: str,
    can_be_trusted: bool,
) -> None:
    proxy, ca = careful
    recordings = Recordings(proxy)
    async with serving(tls=make(ca)) as url:
        with pytest.raises(websockets.WebSocketException):
            await websockets.connect(
                f"{url}/live", proxy=f"http://127.0.0.1:{proxy.port}", ssl=trusting(proxy.ca_certificate)
            )
    seen = recordings.only
    assert seen.events == [
        ("socketerror", f"Error in connection establishment: net::{code}"),
        ("close", None),
    ]
    failure = tls_failures.of_server(seen.ws.client_address)
    assert failure is not None
    assert failure.sentence.startswith(f"the proxy does not trust the certificate of 127.0.0.1: {reason}")
    remedy = str(failure.remedy(CA))
    assert "ssl_insecure=true" in remedy
    assert ("ssl_verify_upstream_trusted_ca=" in remedy) is can_be_trusted


async def test_server_that_does_not_speak_tls(careful: tuple[Proxy, trustme.CA]) -> None:
    proxy, _ = careful
    recordings = Recordings(proxy)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with serving_raw(answer) as url:
        with pytest.raises(websockets.WebSocketException):
            await websockets.connect(
                url.replace("ws:", "wss:"),
                proxy=f"http://127.0.0.1:{proxy.port}",
                ssl=trusting(proxy.ca_certificate),
            )
    assert recordings.only.events[0] == (
        "socketerror",
        "Error in connection establishment: net::ERR_SSL_PROTOCOL_ERROR",
    )
    failure = tls_failures.of_server(recordings.only.ws.client_address)
    assert failure is not None
    assert not failure.is_certificate_refused


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a client hello with the alert `handshake_failure` (RFC 8446, 6.2)."""
    await send_alert(reader, writer, 40)


async def break_down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The same with `internal_error`."""
    await send_alert(reader, writer, 80)


async def send_alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, description: int) -> None:
    await reader.read(1)
    writer.write(bytes([21, 3, 3, 0, 2, 2, description]))
    await writer.drain()
    await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("answer", "code"),  # as a Chromium says
    [
        (hang_up, "ERR_CONNECTION_CLOSED"),
        (refuse, "ERR_SSL_VERSION_OR_CIPHER_MISMATCH"),
        (break_down, "ERR_SSL_PROTOCOL_ERROR"),
    ],
)
async def test_server_that_ends_the_tls_handshake(
    careful: tuple[Proxy, trustme.CA], answer: RawHandler, code: str
) -> None:
    proxy, _ = careful
    recordings = Recordings(proxy)
    async with serving_raw(answer) as url:
        with pytest.raises(websockets.WebSocketException):
            await websockets.connect(
                url.replace("ws:", "wss:"),
                proxy=f"http://127.0.0.1:{proxy.port}",
                ssl=trusting(proxy.ca_certificate),
            )
    seen = recordings.only
    assert seen.events[0] == ("socketerror", f"Error in connection establishment: net::{code}")
    failure = tls_failures.of_server(seen.ws.client_address)
    assert failure is not None
    assert failure.sentence.startswith("the TLS handshake with 127.0.0.1 failed: ")
