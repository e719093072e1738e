"""A Wirewright script with a route that changes every message from the server, as `changing.py` does."""

from wirewright import WebSocketRoute, proxy


def change(ws: WebSocketRoute) -> None:
    server = ws.connect_to_server()

    def forward(message: str | bytes) -> None:
        ws.send(message.replace("buy", "sell") if isinstance(message, str) else message)

    server.on_message(forward)


proxy.route_web_socket("**", change)
