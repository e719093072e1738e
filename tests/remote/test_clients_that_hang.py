"""A client that hangs is asked once; a client of which only one handler is slow is asked again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import InvalidHandshake

from support.event_log import eventually
from support.routes import NOWHERE, app
from support.servers import serving
from support.time_limits import STEP_SECONDS
from wirewright import Proxy, WebSocketRoute
from wirewright.remote import discovery, protocol, server, server_rules
from wirewright.remote.client import Client
from wirewright.remote.outbox import Outbox
from wirewright.remote.transport import reach

SLOW = 50
"""Milliseconds that a client may take for an answer that it does not give."""
ANY_TIME = 0
"""Milliseconds: no limit."""


@asynccontextmanager
async def client(monkeypatch: pytest.MonkeyPatch, fallback: str = "pass") -> AsyncIterator[Client]:
    monkeypatch.setattr(server_rules, "PROBE_SECONDS", 0.01)
    connection = await reach(discovery.find(None, None))
    remote = Client(connection, route_timeout=SLOW, route_fallback=fallback)  # type: ignore[arg-type]
    await remote.start(None, protocol.EVENTS)
    try:
        yield remote
    finally:
        await remote.stop()


async def route(remote: Client, url: str, handler: Any, timeout: float) -> None:
    """A route of a client whose answers may take so many milliseconds."""
    remote._route_timeout = timeout
    await remote.add_rule(remote.proxy._state.routes.add(url, handler))


class Sessions:
    """The clients of a proxy as it sees them, and what they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        """The URLs of the handshakes."""
        self._all: list[server.ClientSession] = []
        stock_init, stock_put = server.ClientSession.__init__, Outbox.put

        def init(session: server.ClientSession, *given: Any) -> None:
            stock_init(session, *given)
            self._all.append(session)

        def put(outbox: Outbox, message: Any) -> None:
            if isinstance(message, protocol.Routed):
                self.asked.append(message.socket.url)
            stock_put(outbox, message)

        monkeypatch.setattr(server.ClientSession, "__init__", init)
        monkeypatch.setattr(Outbox, "put", put)

    async def are_late(self) -> None:
        """Return once the only client is known to hang."""
        (session,) = self._all
        await eventually(lambda: session.rules.is_late)

    async def are_checked(self) -> bool:
        """Whether the only client turned out to hang."""
        (session,) = self._all
        await eventually(lambda: not session.rules._is_probed)
        return session.rules.is_late


def connect(ws: WebSocketRoute) -> None:
    ws.connect_to_server()


async def never(ws: WebSocketRoute) -> None:
    await asyncio.Event().wait()


async def test_client_that_hangs_is_asked_once(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(monkeypatch)
    async with serving() as url, client(monkeypatch) as remote:
        await route(remote, "**", connect, SLOW)
        with monkeypatch.context() as hanging:
            hanging.setattr(remote.sender, "put", lambda message: None)
            async with app(proxy, url):
                await sessions.are_late()
            for _ in range(5):
                async with app(proxy, url) as connection:
                    await connection.send("passes")
                    assert await connection.recv() == "passes"
            assert len(sessions.asked) == 1
        await remote.sender.command(protocol.CountApps)  # it lives again
        async with app(proxy, url):
            assert len(sessions.asked) == 2


async def test_sockets_that_wait_for_a_client_that_hangs_go_on_once_that_is_known(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(monkeypatch)
    async with serving() as url, client(monkeypatch, "drop") as remote:
        await route(remote, "**/patient", connect, ANY_TIME)
        await route(remote, "**/live", connect, SLOW)
        monkeypatch.setattr(remote.sender, "put", lambda message: None)
        waiting = asyncio.ensure_future(app(proxy, f"{url}/patient").__aenter__())
        await eventually(lambda: len(sessions.asked) == 1)
        for each in (app(proxy, f"{url}/live").__aenter__(), waiting):
            with pytest.raises((InvalidHandshake, OSError, EOFError)):
                await each


async def test_client_with_a_slow_handler_is_asked_for_other_sockets(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(monkeypatch)
    async with serving() as url, client(monkeypatch) as remote:
        monkeypatch.setattr(server_rules, "PROBE_SECONDS", STEP_SECONDS)
        await route(remote, "**/slow", never, SLOW)
        await route(remote, "**/mocked", lambda ws: ws.send("mocked"), ANY_TIME)
        async with app(proxy, f"{url}/slow"):
            assert not await sessions.are_checked()
        async with app(proxy, f"ws://{NOWHERE}/mocked") as connection:
            assert await connection.recv() == "mocked"
