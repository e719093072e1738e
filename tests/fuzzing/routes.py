"""A user's script for the proxy: a route of each kind."""

import asyncio

from wirewright import WebSocketRoute, proxy


def held(ws: WebSocketRoute) -> None:
    server = ws.connect_to_server()
    ws.on_message(server.send)
    server.on_message(ws.send)


def held_async(ws: WebSocketRoute) -> None:
    server = ws.connect_to_server()

    async def to_server(message: str | bytes) -> None:
        await asyncio.sleep(0)
        server.send(message)

    async def to_client(message: str | bytes) -> None:
        await asyncio.sleep(0)
        ws.send(message)

    ws.on_message(to_server)
    server.on_message(to_client)


def slow_network(ws: WebSocketRoute) -> None:
    ws.connect_to_server()
    ws.conditions(latency=20, jitter=10, drop=0.01, duplicate=0.01, reorder=0.01, seed=1)


def mocked(ws: WebSocketRoute) -> None:
    ws.on_message(lambda message: ws.send("answer"))


def endless(ws: WebSocketRoute) -> None:
    ws.connect_to_server()

    async def never(message: str | bytes) -> None:
        await asyncio.Event().wait()

    ws.on_message(never)


for path, handler in {
    "held": held,
    "held-async": held_async,
    "slow": slow_network,
    "mocked": mocked,
    "endless": endless,
}.items():
    proxy.route_web_socket(f"**/{path}", handler)
