"""Two devices at once, each at a port of its own: a context sees the sockets of one of them."""

from collections.abc import Callable

from trader_process import Trader

from wirewright.sync_api import Proxy, expect


def test_each_device_has_its_own_service(
    ws_proxy: Proxy, trader: Trader, start_trader: Callable[[int], Trader], tablet_port: int
) -> None:
    with ws_proxy.context(port=ws_proxy.port) as phone, ws_proxy.context(port=tablet_port) as tablet:
        tablet.mock_web_socket("**/orders").greet({"type": "filled", "amount": 9, "price": 2})
        on_tablet = start_trader(tablet_port)
        with phone.expect_websocket(opened=True) as opened, tablet.expect_websocket(opened=True) as mocked:
            trader.open()
            on_tablet.open()
        assert [on_tablet.says(), on_tablet.says()] == ["online", "filled 9 at 2"]
        assert (phone.web_sockets, tablet.web_sockets) == ([opened.value], [mocked.value])
        expect(opened.value).to_have_received(json={"type": "welcome"}, count=1)
        expect(mocked.value).not_to_have_received(json={"type": "welcome"})
