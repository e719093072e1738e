"""mitmproxy's read loop reads nothing from a connection that is paused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from mitmproxy import options
from mitmproxy.proxy import commands, events, layer, mode_specs, server
from mitmproxy.proxy.context import Context

from support import mitmproxy_patches
from support.event_log import eventually
from wirewright.mitm.patches import back_pressure, installation


class DataLog(layer.Layer):
    """Keeps the data that it is given."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.data = b""
        self.pauses_after: bytes | None = None
        """Data after which it pauses the connection, as the wire's layer does."""

    def _handle_event(self, event: events.Event) -> Iterator[commands.Command]:  # type: ignore[override]
        if isinstance(event, events.DataReceived):
            self.data += event.data
            if event.data == self.pauses_after:
                back_pressure.pause(event.connection)
        elif isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(event.connection)


@pytest.fixture(autouse=True)
def patched() -> Iterator[None]:
    with mitmproxy_patches.installed(back_pressure):
        yield


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[server.ConnectionHandler, DataLog, asyncio.StreamWriter]]:
    """A connection to mitmproxy's read loop, with the peer's end of it."""
    accepted: asyncio.Queue[server.ConnectionHandler] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mode = mode_specs.ProxyMode.parse("regular")
        handler = server.SimpleConnectionHandler(reader, writer, options.Options(), mode, {})
        handler.layer = DataLog(handler.layer.context)
        accepted.put_nowait(handler)
        await handler.handle_client()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        handler = await accepted.get()
        log = handler.layer
        assert isinstance(log, DataLog)
        yield handler, log, writer
        back_pressure.resume(handler.client)
        writer.close()
        await writer.wait_closed()


async def test_connection_is_not_read_while_it_is_paused() -> None:
    async with connected() as (handler, log, writer), connected() as (_, other_log, other):
        log.pauses_after = b"one"
        writer.write(b"one")
        await eventually(lambda: not handler.timeout_watchdog.can_timeout.is_set())
        writer.write(b"two")
        other.write(b"three")
        await eventually(lambda: other_log.data == b"three")
        assert log.data == b"one"
        back_pressure.resume(handler.client)
        await eventually(lambda: log.data == b"onetwo")
        assert not back_pressure.is_paused(handler.client)


async def test_idle_timeout_does_not_run_while_a_connection_is_paused() -> None:
    async with connected() as (handler, log, writer):
        log.pauses_after = b"one"
        writer.write(b"one")
        await eventually(lambda: not handler.timeout_watchdog.can_timeout.is_set())
        back_pressure.resume(handler.client)
        await eventually(handler.timeout_watchdog.can_timeout.is_set)


async def test_connection_that_is_paused_again_at_once_stays_paused() -> None:
    async with connected() as (handler, log, writer):
        log.pauses_after = b"one"
        writer.write(b"one")
        await eventually(lambda: not handler.timeout_watchdog.can_timeout.is_set())
        back_pressure.resume(handler.client)
        back_pressure.pause(handler.client)
        writer.write(b"two")
        await asyncio.sleep(0)
        assert back_pressure.is_paused(handler.client)
        assert log.data == b"one"


async def test_connection_that_is_closed_while_it_is_paused_ends() -> None:
    async with connected() as (handler, log, writer):
        log.pauses_after = b"one"
        writer.write(b"one")
        await eventually(lambda: not handler.timeout_watchdog.can_timeout.is_set())
        handler.close_connection(handler.client)
        await eventually(lambda: handler.transports == {})
        assert not back_pressure.is_paused(handler.client)


async def test_uninstalling_resumes_what_is_paused() -> None:
    async with connected() as (handler, log, writer):
        log.pauses_after = b"one"
        writer.write(b"one")
        await eventually(lambda: not handler.timeout_watchdog.can_timeout.is_set())
        installation.uninstall()
        writer.write(b"two")
        await eventually(lambda: log.data == b"onetwo")
