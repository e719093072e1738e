"""The demo's script, as a tester would write it: it waits until an app receives a certain price."""

import json

from wirewright.model.proxy import Proxy


async def wait_for_price(proxy: Proxy, price: float, timeout: float) -> str:
    def is_high(payload: str | bytes) -> bool:
        return float(json.loads(payload)["price"]) >= price

    ws = await proxy.wait_for_websocket("**/ticker", timeout=timeout)
    return str(await ws.wait_for_event("framereceived", is_high, timeout))
