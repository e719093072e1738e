"""Drop every third message that a server sends: does the app notice the gap?

mitmdump -s addon/wirewright/addon.py -s examples/drop_every_third.py
"""

from itertools import count

from wirewright import WebSocketRoute, proxy


def drop_every_third(ws: WebSocketRoute) -> None:
    numbers = count(1)
    server = ws.connect_to_server()

    def forward(message: str | bytes) -> None:
        if next(numbers) % 3:
            ws.send(message)
        else:
            print(f"{ws.url}: dropped {message!r}")

    server.on_message(forward)


proxy.route_web_socket("**", drop_every_third)
