"""Real apps behind a real proxy: what they say, and what Wirewright says of it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import pytest
from websockets import Subprotocol
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from support.certificates import Certificates
from support.clients import CLIENTS, Client, Connect, Message, Wish
from support.event_log import Recording, Recordings
from support.servers import Handler, echo, serving
from wirewright import Proxy

pytestmark = pytest.mark.remote

PLAIN = Wish()
MESSAGES: list[Message] = ["text é 🎉", b"\x00\xff", "", b"", "a" * 1_000_000, b"\x01" * 1_000_000]


class Apps:
    """Opens sockets to servers of its own, and ends both with the test."""

    def __init__(self, proxy: Proxy, connect: Connect, scheme: str, certificates: Certificates) -> None:
        self.proxy = proxy
        self.url = ""
        self._connect = connect
        self._tls = certificates.server_context if scheme == "wss" else None
        self._recordings = Recordings(proxy)
        self._stack = AsyncExitStack()

    async def open(self, handler: Handler = echo, wish: Wish = PLAIN) -> tuple[Client, Recording]:
        """An app connected to a server that does what `handler` does, and the record of its socket."""
        server = serving(
            handler, tls=self._tls, subprotocols=[Subprotocol("chat.v2")] if wish.subprotocols else None
        )
        self.url = await self._stack.enter_async_context(server) + "/live?token=1"
        connection = self._connect(self.proxy, self.url, wish)
        client = await self._stack.enter_async_context(connection)
        seen = await self._recordings.first()
        while seen.ws.opened_at is None:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0)
        return client, seen

    async def close(self) -> None:
        await self._stack.aclose()


@pytest.fixture(params=["ws", "wss"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def apps(
    proxy: Proxy, connect: Connect, scheme: str, certificates: Certificates
) -> AsyncIterator[Apps]:
    opened = Apps(proxy, connect, scheme, certificates)
    yield opened
    await opened.close()


async def test_messages_of_every_kind_are_reported_in_order(apps: Apps) -> None:
    client, seen = await apps.open()
    for message in MESSAGES:
        await client.send(message)
        assert await client.receive() == message
    assert await seen.until(2 * len(MESSAGES)) == [
        (event, message) for message in MESSAGES for event in ("framesent", "framereceived")
    ]


async def test_compressed_messages_are_reported_inflated(apps: Apps) -> None:
    client, seen = await apps.open(wish=Wish(compress=True))
    assert seen.ws.response_headers is not None
    assert "permessage-deflate" in seen.ws.response_headers["sec-websocket-extensions"]
    messages: list[Message] = ["again and again " * 1000, b"\x00" * 100_000, "again and again"]
    for number, message in enumerate(messages, 1):
        await client.send(message)
        assert await client.receive() == message
        events = await seen.until(2 * number)
        assert events[-2:] == [("framesent", message), ("framereceived", message)]


async def test_uncompressed_sockets_agree_on_no_extension(apps: Apps) -> None:
    _, seen = await apps.open()
    assert seen.ws.response_headers is not None
    assert "sec-websocket-extensions" not in seen.ws.response_headers


async def test_fields_of_an_open_socket(apps: Apps, scheme: str) -> None:
    before = time.time()
    client, seen = await apps.open(wish=Wish(subprotocols=("chat.v1", "chat.v2")))
    ws = seen.ws
    assert ws.url == apps.url
    assert ws.url.startswith(f"{scheme}://127.0.0.1:")
    assert client.subprotocol == ws.subprotocol == "chat.v2"
    assert [name.strip() for name in ws.request_headers["sec-websocket-protocol"].split(",")] == [
        "chat.v1",
        "chat.v2",
    ]
    assert ws.request_headers["host"] == apps.url.split("/")[2]
    assert ws.response_headers is not None
    assert ws.response_headers["upgrade"].lower() == "websocket"
    assert ws.status == 101
    assert ws.client_address == ("127.0.0.1", client.port)
    assert ws.opened_at is not None
    assert before <= ws.opened_at <= time.time()
    assert apps.proxy.web_sockets == [ws]
    assert not ws.is_closed()
    assert (ws.closed_at, ws.close_code, ws.close_reason, ws.closed_by) == (None, None, None, None)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1000, "bye"), (3000, "custom é"), (4999, "x" * 123)]
)
async def test_client_closes(apps: Apps, code: int, reason: str) -> None:
    served = asyncio.get_running_loop().create_future()

    async def until_closed(connection: ServerConnection) -> None:
        await connection.wait_closed()
        served.set_result((connection.close_code, connection.close_reason))

    client, seen = await apps.open(until_closed)
    await client.close(code, reason)
    assert await served == (code, reason)
    await seen.closed.wait()
    assert seen.events == [("close", None)]
    assert_closed(seen, code, reason, "client")
    assert apps.proxy.web_sockets == []


@pytest.mark.parametrize(("code", "reason"), [(1000, "done"), (1011, "oops"), (3000, "custom é"), (None, "")])
async def test_server_closes(apps: Apps, code: int | None, reason: str) -> None:
    async def say_goodbye(connection: ServerConnection) -> None:
        await connection.send("last words")
        if code is None:
            async with connection.send_context():
                connection.protocol.send_close()
        else:
            await connection.close(code, reason)

    client, seen = await apps.open(say_goodbye)
    assert await client.receive() == "last words"
    assert await client.closed() == (code or 1005, reason)
    await seen.closed.wait()
    assert seen.events == [("framereceived", "last words"), ("close", None)]
    assert_closed(seen, code or 1005, reason, "server")


@pytest.mark.parametrize("connect", [case for case in CLIENTS if case.id == "node"], indirect=True)
async def test_client_closes_without_a_code(apps: Apps) -> None:
    client, seen = await apps.open()
    await client.close(None)
    await seen.closed.wait()
    assert_closed(seen, 1005, "", "client")


async def test_injected_messages_reach_the_ends_in_order(apps: Apps) -> None:
    received: asyncio.Queue[Message] = asyncio.Queue()

    async def collect(connection: ServerConnection) -> None:
        async for message in connection:
            received.put_nowait(message)

    client, seen = await apps.open(collect)
    messages: list[Message] = ["one", b"two", "", "three é", b"4" * 70_000]
    for message in messages:
        seen.ws.send_to_server(message)
        seen.ws.send_to_client(message)
    assert [await received.get() for _ in messages] == messages
    assert [await client.receive() for _ in messages] == messages
    await client.send("own")
    assert await received.get() == "own"
    assert await seen.until(2 * len(messages) + 1) == [
        *((event, message) for message in messages for event in ("framesent", "framereceived")),
        ("framesent", "own"),
    ]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3001, "go home é")])
async def test_closing_from_the_proxy_reaches_both_ends(apps: Apps, code: int, reason: str) -> None:
    served = asyncio.get_running_loop().create_future()
    received: list[Message] = []

    async def until_closed(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                received.append(await connection.recv())
        served.set_result((connection.close_code, connection.close_reason))

    client, seen = await apps.open(until_closed)
    seen.ws.send_to_server("before")
    seen.ws.send_to_client("before")
    seen.ws.close(code, reason)
    assert await client.receive() == "before"
    assert await client.closed() == (code, reason)
    await seen.closed.wait()
    assert (await served, received) == ((code, reason), ["before"])
    assert seen.events == [("framesent", "before"), ("framereceived", "before"), ("close", None)]
    assert_closed(seen, code, reason, "proxy")


def assert_closed(seen: Recording, code: int, reason: str, by: str) -> None:
    ws = seen.ws
    assert ws.is_closed()
    assert (ws.close_code, ws.close_reason, ws.closed_by) == (code, reason, by)
    assert ws.opened_at is not None
    assert ws.closed_at is not None
    assert ws.opened_at <= ws.closed_at <= time.time()
