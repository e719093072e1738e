"""The app with a server that exists in the test only."""

from collections.abc import Callable

import pytest
from trader_process import Trader

from wirewright.sync_api import Frame, Proxy, WebSocketMock, WebSocketRoute, expect


@pytest.fixture
def mock(ws_proxy: Proxy) -> WebSocketMock:
    """The server: it acknowledges orders."""
    mock = ws_proxy.mock_web_socket("**/orders", strict=True)
    mock.greet({"type": "welcome"})
    mock.on(json={"type": "order"}).reply(lambda frame: {"type": "ack", "id": frame.json()["id"]})
    return mock


def filled(price: float) -> Callable[[Frame], object]:
    return lambda frame: {**frame.json(), "type": "filled", "price": price}


def test_app_says_at_which_price_it_bought(mock: WebSocketMock, trader: Trader) -> None:
    mock.on(json={"type": "order", "amount": 3}).reply(filled(0.25))
    trader.open()
    assert trader.says() == "online"
    trader.buy(3)
    assert trader.says() == "filled 3 at 0.25"
    assert [frame.json()["amount"] for frame in mock.calls] == [3]


def test_app_waits_for_an_order_that_is_filled_late(mock: WebSocketMock, trader: Trader) -> None:
    unknown = mock.on(json={"amount": 7})
    mock.every(0.1, {"type": "filled", "id": 1, "amount": 7, "price": 2})
    trader.open()
    assert trader.says() == "online"
    trader.buy(7)
    assert trader.says() == "filled 7 at 2"
    assert len(unknown.calls) <= 1


def test_app_connects_again_after_a_restart_of_the_server(
    ws_proxy: Proxy, mock: WebSocketMock, trader: Trader
) -> None:
    mock.on(json={"type": "order"}).close(1012, "restart")
    trader.open()
    assert trader.says() == "online"
    trader.buy(3)
    assert [trader.says(), trader.says()] == ["offline 1012", "online"]
    expect(ws_proxy.web_sockets[-1]).to_be_open()


def test_orders_may_be_changed_on_their_way(ws_proxy: Proxy, trader: Trader) -> None:
    def buy_less(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        route.on_message(lambda message: server.send(str(message).replace('"amount": 3', '"amount": 2')))

    ws_proxy.route_web_socket("**/orders", buy_less)
    trader.open()
    assert trader.says() == "online"
    trader.buy(3)
    assert trader.says() == "filled 2 at 1.5"
