"""Frames one after the other, in the proxy's process and in a client of it."""

import json

import pytest
from websockets.asyncio.server import ServerConnection

from support.routes import app
from support.servers import serving
from wirewright import ANY, Error, Proxy

pytestmark = pytest.mark.remote

ROUNDS = 500


async def fill_orders(connection: ServerConnection) -> None:
    """Acknowledge each order, and say at once that it is filled."""
    async for message in connection:
        number = json.loads(message)["order"]
        await connection.send(json.dumps({"type": "ack", "order": number}))
        await connection.send(b"\xff no JSON")
        await connection.send(json.dumps({"type": "filled", "order": number, "price": 1.5}))


@pytest.mark.once("many rounds try our own cursor")
async def test_no_frame_of_many_rounds_is_lost(proxy: Proxy) -> None:
    async with serving(fill_orders) as url:
        async with proxy.expect_websocket() as opened, app(proxy, url) as client:
            ws = await opened.value
            for number in range(ROUNDS):
                await client.send(json.dumps({"order": number}))
                asked = await ws.next_frame(json={"order": number}, direction="sent")
                acknowledged = await ws.next_frame(json={"type": "ack"})
                filled = await ws.next_frame(json={"type": "filled", "price": ANY})
                assert {each.json()["order"] for each in (asked, acknowledged, filled)} == {number}
                assert [asked.number, acknowledged.number, filled.number] == [
                    *(4 * number + 1, 4 * number + 2, 4 * number + 4)
                ]
        with pytest.raises(Error, match=r"^Socket closed: 1000 while waiting for a frame"):
            await ws.next_frame()


async def test_frames_before_the_first_call_are_there(proxy: Proxy) -> None:
    async with serving(fill_orders) as url, app(proxy, url) as client:
        for number in range(3):
            await client.send(json.dumps({"order": number}))
            for _ in range(3):
                await client.recv()
        async with proxy.expect_websocket() as opened, app(proxy, url):
            pass
        await opened.value
        (ws,) = [each for each in proxy.web_sockets if each.frames.sent]
        filled = [await ws.next_frame(json={"type": "filled"}) for _ in range(3)]
        assert [frame.json()["order"] for frame in filled] == [0, 1, 2]
        assert [frame.number for frame in ws.frames] == list(range(1, 13))
        assert ws.frames.count(json={"type": "ack"}) == 3
        assert [frame.payload for frame in ws.frames.received.matching(b"\xff")] == [b"\xff no JSON"] * 3
