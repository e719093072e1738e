"""A client of a proxy with `ws_remote`, in a process of its own: python -m bench.subscriber
other|stalled|counting|counting-sync|latency|holding|waiting

It says READY once it is subscribed. `other` follows sockets of a URL that there is none of; `stalled` follows
all, and reads nothing; `counting` counts what it is told, and says at the end how much that was, and how much
it missed; `counting-sync` does so with the sync API. `latency` says of each message how many nanoseconds
after the app's server has sent it (it begins with the time) it was heard of. `holding` routes all sockets,
says HELD of each message and never lets it go; `waiting` has fifty waits, and says when the last one has
raised.
"""

import asyncio
import signal
import sys
import time

from wirewright import WebSocket, WebSocketRoute
from wirewright.async_api import connect
from wirewright.remote import discovery, protocol
from wirewright.remote.codec import make_codec
from wirewright.remote.transport import reach
from wirewright.sync_api import WebSocket as SyncWebSocket
from wirewright.sync_api import connect as connect_sync


async def stall() -> None:
    connection = await reach(discovery.find(None, None))
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


async def hold() -> None:
    async with connect(route_timeout=0) as proxy:

        async def forever(message: str | bytes) -> None:
            print("HELD", flush=True)
            await asyncio.Event().wait()

        def handler(ws: WebSocketRoute) -> None:
            if "mocked" not in ws.url:
                ws.connect_to_server()
            ws.on_message(forever)

        await proxy.route_web_socket("**", handler)
        print("READY 1", flush=True)
        await asyncio.Event().wait()


async def wait() -> None:
    async with connect() as proxy:
        waits = [asyncio.ensure_future(proxy.wait_for_websocket(timeout=0)) for _ in range(50)]
        print("READY 1", flush=True)
        await asyncio.wait(waits)
        print("RAISED", time.monotonic_ns(), flush=True)


def follow_sync() -> None:
    counts: list[int] = []
    missed: list[int] = []

    def watch(ws: SyncWebSocket) -> None:
        ws.on("framereceived", lambda _: counts.append(1))
        ws.on("missed", missed.append)

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # for sigwait, in all threads
    with connect_sync(events=["framereceived"]) as proxy:
        proxy.on("websocket", watch)
        print("READY 1", flush=True)
        signal.sigwait([signal.SIGTERM])
    print("COUNTED", len(counts), sum(missed), flush=True)


if __name__ == "__main__":
    others = {"stalled": stall, "holding": hold, "waiting": wait}
    if sys.argv[1] == "counting-sync":
        follow_sync()
    elif sys.argv[1] in others:
        asyncio.run(others[sys.argv[1]]())
    else:
        asyncio.run(follow(sys.argv[1]))
