"""The demo's app: follows a ticker and chats, both through a proxy whose CA it trusts.

python -m wirewright.cli.demo.app --service wss://localhost:8765 --proxy http://127.0.0.1:8080 --ca ca.pem
"""

import argparse
import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

LINES = ("hello", "how is the market?", "good bye")
LINE_SECONDS = 1.2


class App:
    """The app, which reaches the service through the proxy."""

    def __init__(self, service: str, proxy: str, ca: Path, heartbeat: Path | None = None) -> None:
        self.service = service
        self.proxy = proxy
        self.tls = ssl.create_default_context(cafile=str(ca))
        self.heartbeat = heartbeat

    async def follow_ticker(self, quotes: int = 0) -> None:
        """Read this many quotes, or (0) until the service has no more."""
        async with connect(f"{self.service}/ticker", proxy=self.proxy, ssl=self.tls) as ticker:
            count = 0
            async for quote in ticker:
                json.loads(quote)
                if self.heartbeat:
                    self.heartbeat.touch()
                count += 1
                if count == quotes:
                    break

    async def chat(self) -> None:
        """Send a few lines, and close with a reason."""
        async with connect(f"{self.service}/chat", proxy=self.proxy, ssl=self.tls) as room:
            await room.recv()
            for line in LINES:
                await room.send(line)
                await room.recv()
                await asyncio.sleep(LINE_SECONDS)
            await room.close(1000, "bye")

    async def run(self, quotes: int) -> None:
        """Use the service for this many quotes; 0 means for ever, whatever happens to the connections."""
        if quotes:
            await asyncio.gather(self.follow_ticker(quotes), self.chat())
        else:
            await asyncio.gather(_again_and_again(self.follow_ticker), _again_and_again(self.chat))


async def _again_and_again(use: Callable[[], Awaitable[None]]) -> None:
    while True:
        with suppress(OSError, ConnectionClosed, TimeoutError):
            await use()
        await asyncio.sleep(LINE_SECONDS)


async def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="The demo's app.")
    parser.add_argument("--service", required=True, help="the service's URL, wss://host:port")
    parser.add_argument("--proxy", required=True, help="the proxy's URL, http://host:port")
    parser.add_argument("--ca", type=Path, required=True, help="the PEM file of the proxy's CA")
    parser.add_argument("--quotes", type=int, default=0, help="how many quotes to read; 0 means for ever")
    parser.add_argument("--heartbeat", type=Path, help="a file to touch whenever a quote came")
    options = parser.parse_args(arguments)
    await App(options.service, options.proxy, options.ca, options.heartbeat).run(options.quotes)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
