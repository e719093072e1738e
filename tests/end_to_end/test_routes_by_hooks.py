"""Routes on the hooks lane: what works there is in the tests of routes; here is what is other, or refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from support.clients import Message
from support.raw import raw_socket
from support.recording import Recordings
from support.routes import NOWHERE, app
from wirewright import Error, Proxy, WebSocketRoute, launch


@pytest.fixture
async def hooks_proxy(confdir: Path) -> AsyncIterator[Proxy]:
    async with launch(port=0, confdir=confdir, options={"ws_lane": "hooks"}) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda ws: ws.on_close(print), "on_close()"),
        (lambda ws: ws.connect_to_server().on_close(print), "on_close()"),
        (lambda ws: ws.conditions(latency=1), "conditions()"),
        (lambda ws: None, "a mocked server"),
    ],
)
async def test_what_cannot_work_is_refused_with_the_reason(
    hooks_proxy: Proxy, ask: Callable[[Any], None], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[Error] = []

    def handler(ws: WebSocketRoute) -> None:
        try:
            ask(ws)
        except Error as error:
            raised.append(error)
            raise

    recordings = Recordings(hooks_proxy)
    hooks_proxy.route_web_socket("**", handler)
    with pytest.raises(InvalidStatus) as refused:
        await app(hooks_proxy, f"ws://{NOWHERE}/").__aenter__()
    assert refused.value.response.status_code == 502
    reason = f"{what} needs Wirewright's own layer, and ws_lane is hooks, and must be auto"
    assert [error.message for error in raised] == ([] if "mock" in what else [reason])
    assert reason in caplog.text
    assert recordings.only.ws.route_errors == 1


async def test_both_sides_are_closed_at_once(hooks_proxy: Proxy) -> None:
    hooks_proxy.route_web_socket("**", lambda ws: ws.connect_to_server().close(3000, "from the route"))
    async with raw_socket(hooks_proxy.port) as socket:
        for end in (socket.app, socket.server):
            assert await end.ending() == (3000, "from the route")


@pytest.mark.parametrize("late", [True, False])
async def test_text_becomes_binary_and_one_message_several(hooks_proxy: Proxy, late: bool) -> None:
    def handler(ws: WebSocketRoute) -> None:
        def change(message: Message) -> None:
            assert isinstance(message, str)
            for each in (message.encode(), f"{message}!", ""):
                server.send(each)
            ws.send(f"about {message}")

        async def change_later(message: Message) -> None:
            await asyncio.sleep(0)
            change(message)

        server = ws.connect_to_server()
        ws.on_message(change_later if late else change)

    recordings = Recordings(hooks_proxy)
    hooks_proxy.route_web_socket("**", handler)
    async with raw_socket(hooks_proxy.port) as socket:
        await socket.app.send("one")
        await socket.app.send("two")
        expected = [b"one", "one!", "", b"two", "two!", ""]
        assert [await socket.server.message() for _ in expected] == expected
        assert [await socket.app.message() for _ in range(2)] == ["about one", "about two"]
    assert {event for event, _ in recordings.only.frames} == {"framesent"}
