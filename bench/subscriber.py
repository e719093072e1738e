"""A client of a proxy with `ws_remote`, in a process of its own: python -m bench.subscriber
other|stalled|counting

It says READY once it is subscribed. `other` follows sockets of a URL that there is none of; `stalled` follows
all, and reads nothing; `counting` counts what it is told, and says at the end how much that was, and how much
it missed. `latency` says of each message how many nanoseconds after the app's server has sent it (it begins
with the time) it was heard of.
"""

import asyncio
import signal
import sys
import time

from wirewright import WebSocket
from wirewright.async_api import connect
from wirewright.remote import endpoints, protocol
from wirewright.remote.codec import make_codec
from wirewright.remote.serving import reach


async def stall() -> None:
    connection = await reach(endpoints.find(None, None))
    codec = make_codec(connection.subprotocol, protocol.FromProxy)
    for data in codec.encode(protocol.Subscribe(protocol.Glob(""))):
        await connection.send(data)
    await connection.receive()
    print("READY 1", flush=True)
    await asyncio.Event().wait()


async def follow(what: str) -> None:
    counted = missed = 0
    delays: list[int] = []

    def count(payload: str | bytes) -> None:
        nonlocal counted
        counted += 1

    def delay(payload: str | bytes) -> None:
        delays.append(time.monotonic_ns() - int(payload[:20]))

    def miss(frames: int) -> None:
        nonlocal missed
        missed += frames

    def watch(ws: WebSocket) -> None:
        ws.on("framereceived", delay if what == "latency" else count)
        ws.on("missed", miss)

    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    url = "**/never-asked-for" if what == "other" else None
    async with connect(url=url, events=["framereceived"]) as proxy:
        proxy.on("websocket", watch)
        print("READY 1", flush=True)
        await ended.wait()
    print("COUNTED", counted, missed, flush=True)
    print("DELAYS", *delays, flush=True)


if __name__ == "__main__":
    asyncio.run(stall() if sys.argv[1] == "stalled" else follow(sys.argv[1]))
