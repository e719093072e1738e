"""Mock a market's ticker: no server is contacted, and the host need not exist.

mitmdump -s addon/wirewright/addon.py -s examples/mock_ticker.py --set connection_strategy=lazy

An app that opens any `.../ticker` and sends {"subscribe": "WIRE"} gets three quotes, and then an orderly end.
"""

import json

from wirewright import WebSocketRoute, proxy

PRICES = (100.5, 101.25, 99.75)


def ticker(ws: WebSocketRoute) -> None:
    def quote(message: str | bytes) -> None:
        symbol = json.loads(message)["subscribe"]
        for price in PRICES:
            ws.send(json.dumps({"symbol": symbol, "price": price}))
        ws.close(1000, "market closed")

    ws.on_message(quote)


proxy.route_web_socket("**/ticker", ticker)
