"""Routes that meddle with compressed messages, whose windows hold what came before (RFC 7692, 7.1.1)."""

import asyncio

import pytest
import websockets
from hypothesis import HealthCheck, example, given, settings
from websockets.asyncio.server import ServerConnection

from support.clients import Message
from support.plans import Plan, expected, plans, received, size
from support.recording import Recording
from support.routes import app
from support.servers import serving
from wirewright import Proxy

pytestmark = pytest.mark.wire("mitmproxy's layer cuts large messages up, and takes several seconds for these")

Connection = websockets.ClientConnection | ServerConnection


async def say(connection: Connection, messages: list[Message]) -> None:
    for number, message in enumerate(messages):
        if number % 7 == 3:  # in fragments
            half = len(message) // 2
            await connection.send([message[:half], message[half:]])
        else:
            await connection.send(message)


async def hear(connection: Connection, count: int, enough: asyncio.Event) -> list[Message]:
    """All that comes until the socket is closed; `enough` is set after so many."""
    messages: list[Message] = []
    if not count:
        enough.set()
    async for message in connection:
        messages.append(message)
        if len(messages) >= count:
            enough.set()
    return messages


@given(plans)
@example(Plan(0, 10_000, handles_app=True, handles_server=True))
@example(Plan(1, 3_000, handles_app=True, handles_server=False))
@example(Plan(2, 3_000, handles_app=False, handles_server=True))
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_both_ends_get_just_what_the_route_meant(proxy: Proxy, plan: Plan) -> None:
    seen: list[Recording] = []
    proxy.once("websocket", lambda ws: seen.append(Recording(ws)))
    for_app, for_server = expected(plan.app, plan.server), expected(plan.server, plan.app)
    heard: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
    app_has, server_has = asyncio.Event(), asyncio.Event()

    async def serve(connection: ServerConnection) -> None:
        saying = asyncio.ensure_future(say(connection, [step.message for step in plan.server]))
        heard.set_result(await hear(connection, size(for_server), server_has))
        await saying

    proxy.unroute_web_socket("**")
    proxy.route_web_socket("**", plan.handle)
    async with serving(serve) as url, app(proxy, url, max_size=None) as connection:
        assert connection.response is not None
        agreed = connection.response.headers["Sec-WebSocket-Extensions"]
        assert "permessage-deflate" in agreed
        assert "no_context_takeover" not in agreed
        hearing = asyncio.ensure_future(hear(connection, size(for_app), app_has))
        await say(connection, [step.message for step in plan.app])
        await app_has.wait()
        await server_has.wait()
        await connection.close()
        assert received(await hearing) == for_app
        assert received(await heard) == for_server
    await seen[0].closed.wait()
    assert [payload for event, payload in seen[0].frames if event == "framesent"] == heard.result()
