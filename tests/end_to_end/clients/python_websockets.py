"""Usage: python python_websockets.py URL PROXY CA."""

import asyncio
import ssl
import sys
from functools import partial

from websockets.asyncio.client import connect

url, proxy, ca = sys.argv[1:]


# A loaded machine uses up the 10 seconds of the defaults.
connect = partial(connect, open_timeout=60, close_timeout=60)  # type: ignore[misc, assignment]


async def main() -> None:
    tls = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    async with connect(url, proxy=proxy, ssl=tls) as ws:
        await ws.send("buy é 🎉")
        print("text", await ws.recv())
        await ws.send(bytes([0, 1, 254, 255]))
        print("binary", bytes(await ws.recv(decode=False)).hex())
        await ws.close(4001, "bye")


asyncio.run(main())
