"""The same API in async tests, in the loop of the test."""

import asyncio

import pytest
from trader_process import Trader

from wirewright.async_api import Proxy, WebSocket, WebSocketRoute, expect


async def opened(proxy: Proxy, trader: Trader) -> WebSocket:
    """The socket of the app, once the app knows that it is open."""
    async with proxy.expect_websocket("**/orders", opened=True) as info:
        trader.open()
    assert await asyncio.to_thread(trader.says) == "online"
    return await info.value


async def test_order_is_filled(async_ws_proxy: Proxy, trader: Trader) -> None:
    live = await opened(async_ws_proxy, trader)
    trader.buy(3)
    order = await live.next_frame(json={"type": "order"})
    filled = await live.next_frame(json={"type": "filled", "id": order.json()["id"]})
    assert filled.json()["amount"] == 3
    await expect(live).not_to_have_sent(json={"type": "cancel"})


async def test_answers_of_the_server_may_be_late(async_ws_proxy: Proxy, trader: Trader) -> None:
    released = asyncio.Event()

    def hold(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        async def later(message: str | bytes) -> None:
            await released.wait()
            route.send(message)

        server.on_message(later)

    await async_ws_proxy.route_web_socket("**/orders", hold)
    live = await opened(async_ws_proxy, trader)
    trader.buy(3)
    await live.next_frame(json={"type": "filled"})  # from the server
    released.set()
    assert await asyncio.to_thread(trader.says) == "filled 3 at 1.5"


@pytest.mark.parametrize("amount", [1, 2, 3])
async def test_orders_of_any_amount_are_filled(async_ws_proxy: Proxy, trader: Trader, amount: int) -> None:
    live = await opened(async_ws_proxy, trader)
    trader.buy(amount)
    await expect(live).to_have_received(json={"type": "filled", "amount": amount}, count=1)
