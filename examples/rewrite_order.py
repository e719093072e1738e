"""Change what an app orders, and what its server answers.

mitmdump -s addon/wirewright/addon.py -s examples/rewrite_order.py

Each "buy" becomes a "sell" on its way to the server, and back again on its way to the app.
"""

from wirewright import WebSocketRoute, proxy


def swap(message: str | bytes, old: str, new: str) -> str | bytes:
    if isinstance(message, bytes):
        return message.replace(old.encode(), new.encode())
    return message.replace(old, new)


def rewrite(ws: WebSocketRoute) -> None:
    server = ws.connect_to_server()
    ws.on_message(lambda message: server.send(swap(message, "buy", "sell")))
    server.on_message(lambda message: ws.send(swap(message, "sell", "buy")))


proxy.route_web_socket("**", rewrite)
