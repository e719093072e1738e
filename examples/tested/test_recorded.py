"""The service as it was recorded in cassettes/orders.jsonl. Without that file, the real one is recorded."""

import pytest
from trader_process import Trader

from wirewright.sync_api import Proxy, expect


@pytest.mark.ws_cassette("orders", url="**/orders")
def test_recorded_order_is_filled(ws_proxy: Proxy, trader: Trader) -> None:
    with ws_proxy.expect_websocket("**/orders", opened=True) as opened:
        trader.open()
    assert trader.says() == "online"
    trader.buy(3)
    expect(opened.value).to_have_received(json={"type": "filled", "amount": 3})
    assert trader.says() == "filled 3 at 1.5"
    trader.quit()
