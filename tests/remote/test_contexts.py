"""Contexts of remote clients: the proxy makes them, and closes them at the end of the client."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from support.event_log import eventually
from support.routes import app
from support.servers import serving
from wirewright import Error, Proxy, ProxyContext, TimeoutError  # noqa: A004  Playwright's name
from wirewright.async_api import connect
from wirewright.capture import open as open_capture
from wirewright.model.event_wait import TimedWait
from wirewright.remote import discovery, protocol, server
from wirewright.remote.client import Client
from wirewright.remote.transport import reach

HERE = "127.0.0.1"


async def test_end_of_a_client_closes_its_contexts(proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    async with connect() as remote, serving() as url, app(proxy, url) as client:
        context = remote.context(client=HERE)
        await context.context(port=proxy.port).route_web_socket("**", print)
        await context.start_capture(path)
        assert len(proxy._state.contexts) == 2
        assert [rule.depth for rule in proxy._state.routes.rules] == [2]
        await client.send("hello")
        assert await client.recv() == "hello"
    await eventually(lambda: not proxy._state.contexts)
    assert proxy._state.routes.rules == []
    with open_capture(path) as capture:
        assert capture.sessions()[0].ended_ns is not None
        assert [frame.payload for frame in capture.frames() if frame.is_message] == ["hello", "hello"]


async def test_context_that_a_client_closes_is_gone_when_that_is_awaited(proxy: Proxy) -> None:
    async with connect() as remote:
        outer = remote.context(client=HERE)
        inner = outer.context(port=1)
        await inner.route_web_socket("**", print)
        await outer.route_web_socket("**", print)
        await outer.close()
        assert proxy._state.contexts == []
        assert proxy._state.routes.rules == []
        async with remote.context(client=HERE) as context:
            assert [str(each._filter) for each in proxy._state.contexts] == [str(context._filter)]
        assert proxy._state.contexts == []
        assert remote._state.contexts == []


async def test_context_that_was_awaited_is_known_to_the_proxy(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONTEXTS", 1)
    async with connect() as remote:
        context = await remote.context(client=HERE)
        assert [str(each._filter) for each in proxy._state.contexts] == [str(context._filter)]
        with pytest.raises(Error, match=r"^a client may have 1 contexts$"):
            await remote.context(client=HERE)


async def test_context_that_outlives_its_client_says_so(proxy: Proxy) -> None:
    async with connect() as remote:
        context = remote.context(client=HERE)
    for call in (
        lambda: context.on("websocket", print),
        lambda: context.port,
        lambda: remote.context(port=1),
    ):
        with pytest.raises(Error, match=r"^Proxy closed$"):
            call()
    await context.close()


async def test_client_may_have_so_many_contexts(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONTEXTS", 1)
    async with connect() as remote:
        async with remote.context(client=HERE):
            with pytest.raises(Error, match=r"^a client may have 1 contexts$"):
                async with remote.context(client=HERE):
                    pass
        async with remote.context(client=HERE):
            pass


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (protocol.StopCapture, {"context": 7}, "there is no context 7"),
        (protocol.Annotate, {"text": "x", "context": 7}, "there is no context 7"),
        (protocol.OpenContext, {"context": 2, "parent": 7}, "there is no context 7"),
        (protocol.OpenContext, {}, "there is a context 1 already"),
        (
            protocol.OpenContext,
            {"context": 2, "device": protocol.Device("x")},
            "client must be the IP address of a device",
        ),
        (
            protocol.OpenContext,
            {"context": 2, "device": protocol.Device()},
            "a context needs a client, a port or a user",
        ),
    ],
)
async def test_wrong_context_is_refused(
    proxy: Proxy, kind: Any, values: dict[str, Any], message: str
) -> None:
    client = Client(await reach(discovery.find(None, None)), route_timeout=0, route_fallback="pass")
    await client.start(None, protocol.EVENTS)
    try:
        opening: dict[str, Any] = {"context": 1, "device": protocol.Device(HERE)}
        await client.sender.command(protocol.OpenContext, **opening)
        given = {**opening, **values} if kind is protocol.OpenContext else values
        with pytest.raises((Error, ValueError), match=message):
            await client.sender.command(kind, **given)
        await client.sender.command(protocol.CloseContext, context=9)  # nothing happens
    finally:
        await client.stop()


async def test_snapshot_has_the_port_of_the_app(proxy: Proxy) -> None:
    async with serving() as url, app(proxy, url), connect() as remote:
        (ws,) = remote.web_sockets
        assert (ws.proxy_port, ws.proxy_user) == (proxy.port, None)


async def test_connection_for_a_context_is_told_of_no_other_socket(proxy: Proxy, tmp_path: Path) -> None:
    path = tmp_path / "session.db"
    async with serving() as url, app(proxy, f"{url}/before") as client:
        async with connect().context(client="127.0.0.2") as other, connect().context(client=HERE) as own:
            assert isinstance(own, ProxyContext)
            assert len(own.web_sockets) == 1
            await own.start_capture(path)
            await own.route_web_socket("**/refused", lambda ws: ws.reject(403))
            async with own.expect_websocket("**/after"), app(proxy, f"{url}/after"):
                pass
            await client.send("hello")
            assert await client.recv() == "hello"
            assert other.web_sockets == other._state.sockets(None) == []
            with pytest.raises(InvalidStatus, match="403"):
                async with app(proxy, f"{url}/refused"):
                    pass
        await eventually(lambda: not proxy._state.contexts)
    with open_capture(path) as capture:
        assert [socket.url.rpartition("/")[2] for socket in capture.sockets()] == [
            "before",
            "after",
            "refused",
        ]


@pytest.mark.parametrize("is_own_connection", [True, False])
async def test_wait_of_a_context_says_which_sockets_came_by_outside_of_it(
    proxy: Proxy, *, is_own_connection: bool
) -> None:
    async with AsyncExitStack() as stack:
        if is_own_connection:
            context = await stack.enter_async_context(connect().context(client="127.0.0.2"))
        else:
            context = (await stack.enter_async_context(connect())).context(client="127.0.0.2")
            await context._opened
        url = await stack.enter_async_context(serving())
        wait = context.wait_for_websocket("**/live", timeout=0)
        await stack.enter_async_context(app(proxy, f"{url}/live"))
        await eventually(lambda: context._outside.count == 1)
        (waiting,) = context._scope._waits
        assert isinstance(waiting, TimedWait)
        waiting._time_out()
        with pytest.raises(TimeoutError) as caught:
            await wait
    assert caught.value.message.splitlines()[1] == (
        "no socket of client '127.0.0.2' matched '**/live'; "
        f"came by outside of this context: {url}/live (client '{HERE}')"
    )


async def test_connection_for_a_url_and_a_context_is_told_of_sockets_of_that_url_alone(proxy: Proxy) -> None:
    async with (
        connect(url="**/live").context(client="127.0.0.2") as context,
        connect(url="**/live") as other,
        serving() as url,
        app(proxy, f"{url}/news"),
        app(proxy, f"{url}/live"),
    ):
        await eventually(lambda: len(other.web_sockets) == context._outside.count == 1)
        assert context._outside.text(0, lambda _: False).endswith(f": {url}/live (client '{HERE}')")


def test_connection_for_a_wrong_context_is_refused_before_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^a context needs a client, a port or a user$"):
        connect().context()


async def test_subscription_to_a_wrong_device_is_refused(proxy: Proxy) -> None:
    client = Client(await reach(discovery.find(None, None)), route_timeout=0, route_fallback="pass")
    client.sender.put(protocol.Subscribe(protocol.Glob(""), protocol.EVENTS, protocol.Device("x")))
    with pytest.raises(Error, match="client must be the IP address of a device"):
        await client.start(None, protocol.EVENTS)
    await client.stop()
