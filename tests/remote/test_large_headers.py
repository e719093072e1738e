"""Header fields that are larger than what a remote client reads: its routes must hold all the same."""

from collections.abc import AsyncIterator

import pytest
import websockets

from support.event_log import eventually
from support.raw_handshakes import SWITCHING, answering, asking
from support.servers import serving
from support.time_limits import STEP_MILLISECONDS
from wirewright import Proxy
from wirewright.mitm.admission import LARGEST_HANDSHAKE
from wirewright.remote import codec, discovery, snapshots
from wirewright.remote.client import Client
from wirewright.remote.protocol import EVENTS
from wirewright.remote.transport import reach

LARGE = b"X-Large: " + b"\x01" * (LARGEST_HANDSHAKE + 1)
"""A header field. In JSON, its value has six times as many bytes."""


@pytest.fixture(params=codec.SUBPROTOCOLS)
async def remote(
    proxy: Proxy, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """A client whose route stops some sockets, and that reads messages of 1 MiB."""
    monkeypatch.setattr(codec, "LARGEST_MESSAGE", LARGEST_HANDSHAKE)
    monkeypatch.setattr(snapshots, "LARGEST_HEADERS", 64 * 1024)
    client = Client(
        await reach(discovery.find(None, None), codec=request.param),
        route_timeout=STEP_MILLISECONDS,
        route_fallback="pass",
    )
    await client.start(None, EVENTS)
    await client.proxy.route_web_socket("**/blocked", lambda ws: ws.reject(403))
    try:
        yield client
    finally:
        await client.stop()


async def check_that_the_route_holds(proxy: Proxy) -> None:
    async with serving() as url:
        with pytest.raises(websockets.InvalidStatus, match="403"):
            await websockets.connect(f"{url}/blocked", proxy=f"http://127.0.0.1:{proxy.port}")


async def test_large_header_field_of_an_app_does_not_cut_a_client(proxy: Proxy, remote: Client) -> None:
    answer = SWITCHING + b"\r\n"
    async with answering(answer) as (url, heads), asking(proxy.port, f"{url}/other", LARGE) as (answered, _):
        assert answered.startswith(b"HTTP/1.1 101 ")
        assert LARGE in heads[0]
        await eventually(lambda: [ws.status for ws in remote.proxy.web_sockets] == [101])
        (ws,) = remote.proxy.web_sockets
        assert "x-large" not in ws.request_headers
        assert ws.request_headers["upgrade"] == "websocket"
        await check_that_the_route_holds(proxy)


async def test_large_header_field_of_a_server_does_not_cut_a_client(proxy: Proxy, remote: Client) -> None:
    answer = SWITCHING + LARGE + b"\r\n\r\n"
    async with answering(answer) as (url, _), asking(proxy.port, f"{url}/other") as (answered, _):
        assert LARGE in answered
        await eventually(lambda: [ws.status for ws in remote.proxy.web_sockets] == [101])
        (ws,) = remote.proxy.web_sockets
        assert ws.response_headers is not None
        assert "x-large" not in ws.response_headers
        assert ws.response_headers["upgrade"] == "websocket"
        await check_that_the_route_holds(proxy)


async def test_client_that_comes_later_gets_no_large_header_fields(proxy: Proxy) -> None:
    answer = SWITCHING + LARGE + b"\r\n\r\n"
    async with answering(answer) as (url, _), asking(proxy.port, f"{url}/other", LARGE):
        client = Client(
            await reach(discovery.find(None, None)), route_timeout=STEP_MILLISECONDS, route_fallback="pass"
        )
        await client.start(None, EVENTS)
        (ws,) = client.proxy.web_sockets
        assert ws.response_headers is not None
        assert "x-large" not in {*ws.request_headers, *ws.response_headers}
        await client.stop()
