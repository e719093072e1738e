"""What the app does when the network or the service fails."""

import itertools

from trader_process import Trader

from wirewright.sync_api import Proxy, WebSocket, WebSocketRoute, expect


def test_app_connects_again_when_the_server_fails(ws_proxy: Proxy, live: WebSocket, trader: Trader) -> None:
    live.close(1011, "internal error", to="client")
    assert [trader.says(), trader.says()] == ["offline 1011", "online"]
    expect(live).to_be_closed(code=1011)
    expect(ws_proxy).to_reconnect("**/orders", within=3000)


def test_app_connects_again_when_the_connection_is_reset(
    ws_proxy: Proxy, live: WebSocket, trader: Trader
) -> None:
    live.abort(how="rst")
    again = expect(ws_proxy).to_reconnect("**/orders", within=3000)
    again.next_frame(json={"type": "welcome"})
    assert [trader.says(), trader.says()] == ["offline 1006", "online"]


def test_app_is_offline_as_long_as_the_network_is_away(
    ws_proxy: Proxy, live: WebSocket, trader: Trader
) -> None:
    ws_proxy.offline()
    assert trader.says() == "offline 1006"
    assert trader.says() == "offline 1006"  # it has tried again
    trader.buy(3)
    ws_proxy.online()
    again = expect(ws_proxy).to_reconnect("**/orders", within=3000)
    expect(again).not_to_have_sent(json={"type": "order"}, within=200)


def test_order_in_a_lift_arrives_once(live: WebSocket, trader: Trader) -> None:
    live.conditions(plan=[(0, "offline"), (0.5, "3g")])
    trader.buy(3)
    live.next_frame(json={"type": "filled"})
    assert trader.says() == "filled 3 at 1.5"
    expect(live).to_have_sent(json={"type": "order"}, count=1)


def test_app_goes_on_where_every_third_message_is_lost(ws_proxy: Proxy, trader: Trader) -> None:
    def drop_every_third(route: WebSocketRoute) -> None:
        numbers = itertools.count(1)
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(message) if next(numbers) % 3 else None)

    ws_proxy.route_web_socket("**/orders", drop_every_third)
    trader.open()
    assert trader.says() == "online"
    trader.buy(3)  # `welcome` and `ack` arrive, and `filled` does not
    trader.buy(4)
    assert trader.says() == "filled 4 at 1.5"


def test_app_tries_again_when_the_service_is_in_maintenance(ws_proxy: Proxy, trader: Trader) -> None:
    ws_proxy.route_web_socket("**/orders", lambda route: route.reject(503, body="maintenance"), times=1)
    trader.open()
    assert [trader.says(), trader.says()] == ["offline 1006", "online"]
