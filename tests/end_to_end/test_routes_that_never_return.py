"""Handlers that never return: they end soon after their sockets, and no handshake passes undecided."""

import asyncio
from collections.abc import Callable

import pytest

from support.event_log import Recordings, eventually
from support.raw_peers import asking, raw_socket
from support.routes import NOWHERE
from support.servers import serving_raw
from wirewright import Proxy, WebSocketRoute
from wirewright.mitm import connection_ends
from wirewright.model import feed


@pytest.fixture(autouse=True)
def grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short ones."""
    monkeypatch.setattr(feed, "HANDLER_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(connection_ends, "HANDLER_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(connection_ends, "LOOK_SECONDS", 0.01)


class Endless:
    """A handler that waits until it is cancelled."""

    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()

    async def __call__(self, *_: object) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def nothing_is_left(proxy: Proxy) -> None:
    await eventually(lambda: not proxy._scope._tasks)
    assert proxy.web_sockets == []


def on_message_from(side: str, handler: Endless) -> Callable[[WebSocketRoute], None]:
    def route(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        (server if side == "server" else ws).on_message(handler)

    return route


@pytest.mark.parametrize("side", ["app", "server"])
async def test_handler_of_a_message_ends_after_its_socket(
    proxy: Proxy, recordings: Recordings, side: str
) -> None:
    handler = Endless()
    proxy.route_web_socket("**", on_message_from(side, handler))
    async with raw_socket(proxy.port) as socket:
        source = socket.app if side == "app" else socket.server
        await source.send("first")
        await handler.begun.wait()
    await handler.cancelled.wait()
    await recordings.only.closed.wait()
    await nothing_is_left(proxy)


@pytest.mark.wire("it has no on_close")
async def test_handler_of_a_close_ends_after_its_socket(proxy: Proxy, recordings: Recordings) -> None:
    handler = Endless()

    def route(ws: WebSocketRoute) -> None:
        ws.connect_to_server()
        ws.on_close(handler)

    proxy.route_web_socket("**", route)
    async with raw_socket(proxy.port) as socket:
        await socket.app.send_close()
        await handler.begun.wait()
    await handler.cancelled.wait()
    await nothing_is_left(proxy)


async def test_handler_of_a_handshake_ends_after_its_app_has_left(
    proxy: Proxy, recordings: Recordings
) -> None:
    handler = Endless()
    proxy.route_web_socket("**", handler)
    _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(asking(f"http://{NOWHERE}/live", NOWHERE))
    await handler.begun.wait()
    writer.close()
    await handler.cancelled.wait()
    await recordings.only.closed.wait()
    await nothing_is_left(proxy)


async def test_app_that_sends_no_more_gets_no_handshake_past_its_route(
    proxy: Proxy, recordings: Recordings
) -> None:
    """It has only closed its side, and might still read."""
    handler, contacted = Endless(), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        contacted.append(await reader.read())
        writer.close()

    proxy.route_web_socket("**", handler)
    async with serving_raw(serve) as url:
        host = url.removeprefix("ws://")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(asking(f"http://{host}/live", host))
        await handler.begun.wait()
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
    await handler.cancelled.wait()
    assert contacted in ([], [b""])  # a connection of its own accord, without a request
    await recordings.only.closed.wait()
    assert recordings.only.ws.close_code is None
