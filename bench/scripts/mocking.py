"""A Wirewright script that is the server: it carries out orders of `bench.endpoints`, echoes and floods."""

import json

from wirewright import WebSocketRoute, proxy


def mock(ws: WebSocketRoute) -> None:
    echoes = 0

    def answer(message: str | bytes) -> None:
        nonlocal echoes
        if echoes:
            echoes -= 1
            ws.send(message)
            return
        order = json.loads(message)
        if order["do"] == "echo":
            echoes = order["count"]
        for _ in range(order["count"] if order["do"] == "flood" else 0):
            ws.send("a" * order["size"])

    ws.on_message(answer)


proxy.route_web_socket("**", mock)
