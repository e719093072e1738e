"""What the app says to the service, and what it makes of the answers."""

import re

import pytest
from trader_process import Trader

from wirewright.sync_api import ANY, WebSocket, expect


def test_order_is_acknowledged_and_then_filled(live: WebSocket, trader: Trader) -> None:
    trader.buy(3)
    order = live.next_frame(json={"type": "order", "amount": 3}, direction="sent").json()
    live.next_frame(json={"type": "ack", "id": order["id"]})
    live.next_frame(json={"type": "filled", "id": order["id"], "price": lambda price: price > 1})
    assert trader.says() == "filled 3 at 1.5"


def test_each_order_has_an_id_of_its_own(live: WebSocket, trader: Trader) -> None:
    for amount in (1, 2, 3):
        trader.buy(amount)
    orders = [live.next_frame(json={"type": "order"}).json() for _ in range(3)]
    assert [order["amount"] for order in orders] == [1, 2, 3]
    assert len({order["id"] for order in orders}) == 3


def test_one_order_is_filled_once(live: WebSocket, trader: Trader) -> None:
    trader.buy(3)
    live.next_frame(json={"type": "filled"})
    with pytest.raises(TimeoutError, match="no frame passed"):
        live.cursor("now").next_frame(json={"type": "filled"}, timeout=200)
    expect(live).to_have_received(json={"type": "filled"}, count=1)


def test_app_sends_nothing_but_the_order(live: WebSocket, trader: Trader) -> None:
    trader.buy(3)
    expect(live).to_have_received(json={"type": "filled", "price": ANY})
    expect(live).to_have_sent(json={"type": "order"}, count=1)
    expect(live).not_to_have_sent(json={"type": "cancel"}, within=200)
    assert live.frames.sent.count() == 1
    assert live.frames.received.last == live.frames.matching(re.compile("filled")).last


def test_app_asks_for_the_protocol_and_leaves_politely(live: WebSocket, trader: Trader) -> None:
    expect(live).to_have_subprotocol("orders.v1")
    expect(live).to_be_open()
    trader.quit()
    expect(live).to_be_closed(code=1001, reason="bye")
    assert live.closed_by == "client"


def test_step_that_causes_a_frame_may_be_a_block(live: WebSocket, trader: Trader) -> None:
    with live.expect_event("framereceived", lambda payload: "filled" in str(payload)) as filled:
        trader.buy(3)
    assert '"amount": 3' in str(filled.value)
