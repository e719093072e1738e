"""mitmproxy's modes: an app that knows of the proxy, one that does not, and a proxy behind the proxy."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
import websockets

from support.certificates import Certificates, trusting
from support.event_log import Recordings, eventually
from support.processes import mitmdump
from support.scripts import PRINTING, write_script
from support.servers import serving
from support.spliced import spliced_connections
from wirewright import Proxy, launch
from wirewright.model.handshake import accept_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASKED_HELLO = b"\x81\x85\x00\x00\x00\x00hello"
HELLO = b"\x81\x05hello"


async def handshake(port: int, target: str, host: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An app that asks a proxy for a socket without a CONNECT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    )
    return reader, writer


async def test_regular_mode_with_connect(proxy: Proxy) -> None:
    recordings = Recordings(proxy)
    async with (
        serving() as url,
        websockets.connect(f"{url}/a?b=c", proxy=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        await client.send("hello")
        assert await client.recv() == "hello"
        await client.close()
    seen = recordings.only
    assert seen.ws.url == f"{url}/a?b=c"
    assert seen.events == [("framesent", "hello"), ("framereceived", "hello"), ("close", None)]


async def test_regular_mode_with_a_target_in_absolute_form(proxy: Proxy) -> None:
    recordings = Recordings(proxy)
    async with serving() as url:
        host = url.removeprefix("ws://")
        reader, writer = await handshake(proxy.port, f"http://{host}/a?b=c#d", host)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert accept_key(KEY).encode() in answer
        writer.write(MASKED_HELLO)
        assert await reader.readexactly(len(HELLO)) == HELLO
        seen = recordings.only
        assert seen.ws.url == f"{url}/a?b=c"
        assert seen.frames == [("framesent", "hello"), ("framereceived", "hello")]
        writer.close()
        await seen.closed.wait()
        assert (seen.ws.close_code, seen.ws.closed_by) == (1006, "client")


async def test_regular_mode_with_a_ws_target_in_absolute_form(proxy: Proxy) -> None:
    async with (
        serving() as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url, proxy=f"http://127.0.0.1:{proxy.port}") as client,
    ):
        await client.send_str("hello")
        assert (await client.receive_str()) == "hello"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_reverse_mode_reports_the_server(
    confdir: Path, certificates: Certificates, scheme: str
) -> None:
    tls = certificates.server_context if scheme == "wss" else None
    options = {"ssl_verify_upstream_trusted_ca": str(certificates.ca_file)}
    async with serving(tls=tls) as url:
        mode = url.replace("ws", "http", 1)
        async with launch(port=0, confdir=confdir, mode=[f"reverse:{mode}"], options=options) as proxy:
            recordings = Recordings(proxy)
            async with websockets.connect(f"ws://127.0.0.1:{proxy.port}/a?b=c", proxy=None) as client:
                await client.send("hello")
                assert await client.recv() == "hello"
                await eventually(lambda: spliced_connections() == 2)
    seen = recordings.only
    assert seen.ws.url == f"{url}/a?b=c"
    assert seen.events == [("framesent", "hello"), ("framereceived", "hello"), ("close", None)]


async def test_reverse_mode_with_the_host_header_kept_reports_what_the_app_asked_for(confdir: Path) -> None:
    async with serving() as url:
        mode = url.replace("ws", "http", 1)
        options = {"keep_host_header": True}
        async with launch(port=0, confdir=confdir, mode=[f"reverse:{mode}"], options=options) as proxy:
            recordings = Recordings(proxy)
            _, writer = await handshake(proxy.port, "/live", "App.Example")
            ws = await proxy.wait_for_websocket() if not recordings.all else recordings.only.ws
            writer.close()
            assert ws.url == "ws://app.example/live"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_upstream_mode_reports_the_url_that_the_app_sees(
    confdir: Path, certificates: Certificates, tmp_path: Path, scheme: str
) -> None:
    script = write_script(tmp_path / "watch.py", PRINTING)
    trusted = ("--set", f"ssl_verify_upstream_trusted_ca={certificates.ca_file}")
    async with (
        serving(tls=certificates.server_context if scheme == "wss" else None) as url,
        mitmdump("-s", script, *trusted, confdir=confdir) as (upstream, upstream_port),
        launch(
            port=0,
            confdir=confdir,
            mode=[f"upstream:http://127.0.0.1:{upstream_port}"],
            options={"ssl_verify_upstream_trusted_ca": str(confdir / "mitmproxy-ca-cert.pem")},
        ) as proxy,
    ):
        recordings = Recordings(proxy)
        async with websockets.connect(
            f"{url}/live",
            proxy=f"http://127.0.0.1:{proxy.port}",
            ssl=trusting(proxy.ca_certificate) if scheme == "wss" else None,
        ) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            await eventually(lambda: spliced_connections() == 2)
            seen = recordings.only
            assert seen.ws.url == f"{url}/live"
            assert seen.frames == [("framesent", "hello"), ("framereceived", "hello")]
            assert (await upstream.line("^SOCKET (.*)"))[1] == f"{url}/live"
            seen.ws.send_to_client("one")
            seen.ws.send_to_server("two")
            assert [await client.recv(), await client.recv()] == ["one", "two"]
