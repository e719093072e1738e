"""Usage: python python_aiohttp.py URL PROXY CA."""

import asyncio
import ssl
import sys

import aiohttp

url, proxy, ca = sys.argv[1:]


async def main() -> None:
    tls = ssl.create_default_context(cafile=ca)
    async with aiohttp.ClientSession() as session, session.ws_connect(url, proxy=proxy, ssl=tls) as ws:
        await ws.send_str("buy é 🎉")
        print("text", await ws.receive_str())
        await ws.send_bytes(bytes([0, 1, 254, 255]))
        print("binary", (await ws.receive_bytes()).hex())
        await ws.close(code=4001, message=b"bye")


asyncio.run(main())
