"""mitmproxy closes each connection that it stops to read."""

import asyncio
from collections.abc import Iterator

import pytest
from mitmproxy import options
from mitmproxy.proxy import commands, events, layer, mode_specs, server
from mitmproxy.proxy.context import Context

from support import mitmproxy_patches
from support.event_log import eventually
from wirewright.mitm.patches import connection_close

HAS_LOCK = "_server_event_lock" in server.ConnectionHandler.__init__.__code__.co_names


class EventLog(layer.Layer):
    """Notes what it is told."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.names: list[str] = []

    def _handle_event(self, event: events.Event) -> Iterator[commands.Command]:  # type: ignore[override]
        self.names.append(type(event).__name__)
        yield from ()


@pytest.fixture
def installed() -> Iterator[None]:
    with mitmproxy_patches.installed(connection_close):
        yield


@pytest.mark.skipif(not HAS_LOCK, reason="this mitmproxy handles events without a lock")
@pytest.mark.usefixtures("installed")
async def test_connection_that_is_closed_while_its_data_waits_for_the_lock() -> None:
    accepted: asyncio.Queue[server.ConnectionHandler] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mode = mode_specs.ProxyMode.parse("regular")
        handler = server.SimpleConnectionHandler(reader, writer, options.Options(), mode, {})
        handler.layer = EventLog(handler.layer.context)
        accepted.put_nowait(handler)
        await handler.handle_client()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listening:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        handler = await accepted.get()
        log = handler.layer
        assert isinstance(log, EventLog)
        await eventually(lambda: log.names == ["Start"])
        async with handler._server_event_lock:
            writer.write(b"data")
            await eventually(lambda: bool(handler._server_event_lock._waiters))
            handler.close_connection(handler.client)
        assert await reader.read() == b""
        assert log.names == ["Start", "ConnectionClosed"]
        assert handler.transports == {}
        writer.close()


class Waking(EventLog):
    """Asks for a timer when a connection ends."""

    def _handle_event(self, event: events.Event) -> Iterator[commands.Command]:  # type: ignore[override]
        yield from super()._handle_event(event)
        if isinstance(event, events.ConnectionClosed):
            yield commands.RequestWakeup(3_600)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("first", ["client", "connection"])
async def test_timers_end_with_a_program_that_cancels_all_tasks(first: str) -> None:
    accepted: asyncio.Queue[tuple[server.ConnectionHandler, asyncio.Task[None]]] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mode = mode_specs.ProxyMode.parse("regular")
        handler = server.SimpleConnectionHandler(reader, writer, options.Options(), mode, {})
        handler.layer = Waking(handler.layer.context)
        client = asyncio.ensure_future(handler.handle_client())
        accepted.put_nowait((handler, client))
        await asyncio.wait([client])
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(b"data")
        handler, client = await accepted.get()
        log = handler.layer
        assert isinstance(log, Waking)
        await eventually(lambda: "DataReceived" in log.names)
        connection = handler.transports[handler.client].handler
        assert connection is not None
        ended = [client, connection] if first == "client" else [connection, client]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() if "wakeup" in task.get_name()] == []
        writer.close()
