"""The app under test: a trader in a terminal. It connects again when its connection is lost.

HTTP_PROXY=http://127.0.0.1:8080 python trader.py ws://service/orders

It reads `open`, `buy AMOUNT` and `quit`, and prints `online`, `offline CODE`, and `filled AMOUNT at PRICE`.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress
from itertools import count

import websockets
from websockets.asyncio.client import ClientConnection, connect

RETRY_SECONDS = 0.05


class Trader:
    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: ClientConnection | None = None
        self._ids = count(1)

    async def run(self) -> None:
        """Stay connected, until the task is cancelled."""
        while True:
            code = 1006
            with suppress(OSError, EOFError, TimeoutError, websockets.InvalidHandshake):
                async with connect(
                    self._url,
                    proxy=os.environ["HTTP_PROXY"],
                    subprotocols=["orders.v1"],  # type: ignore[list-item]
                    ping_interval=None,
                ) as self._connection:
                    say("online")
                    try:
                        await self._read(self._connection)
                    except asyncio.CancelledError:
                        await self._connection.close(1001, "bye")
                        raise
                code = self._connection.close_code or code
            self._connection = None
            say(f"offline {code}")
            await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, connection: ClientConnection) -> None:
        with suppress(websockets.ConnectionClosed):
            async for message in connection:
                event = json.loads(message)
                if event["type"] == "filled":
                    say(f"filled {event['amount']} at {event['price']}")

    async def buy(self, amount: int) -> None:
        if self._connection is None:
            say("cannot buy: offline")
            return
        order = {"type": "order", "id": next(self._ids), "amount": amount}
        with suppress(websockets.ConnectionClosed):
            await self._connection.send(json.dumps(order))


def say(line: str) -> None:
    print(line, flush=True)


async def main(url: str) -> None:
    trader, running = Trader(url), None
    async with asyncio.TaskGroup() as tasks:
        while line := await asyncio.to_thread(sys.stdin.readline):
            match line.split():
                case ["open"]:
                    running = tasks.create_task(trader.run())
                case ["buy", amount]:
                    await trader.buy(int(amount))
                case ["quit"] if running:
                    running.cancel()
                case _:
                    say("what?")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
