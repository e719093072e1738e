"""The service of the app: it acknowledges each order, and fills it.

python service.py 8765
"""

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, serve

PRICE = 1.5


async def trade(connection: ServerConnection) -> None:
    """The conversation with one app."""
    await connection.send(json.dumps({"type": "welcome"}))
    async for message in connection:
        order = json.loads(message)
        await connection.send(json.dumps({"type": "ack", "id": order["id"]}))
        filled = {"type": "filled", "id": order["id"], "amount": order["amount"], "price": PRICE}
        await connection.send(json.dumps(filled))


async def main(port: int) -> None:
    async with serve(trade, "127.0.0.1", port, subprotocols=["orders.v1"]) as server:  # type: ignore[list-item]
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
