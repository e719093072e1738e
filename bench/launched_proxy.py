"""A proxy of `launch` in a process of its own: python -m bench.launched_proxy async|sync [listener]

It says PORT, and ends with SIGTERM. With a listener it counts messages, and says at the end how many came and
how many it has missed.
"""

import asyncio
import signal
import sys
import threading
from typing import Any

from wirewright import async_api, sync_api


class Counting:
    """Listeners of all sockets of a proxy."""

    def __init__(self, proxy: Any) -> None:
        self.counted = self.missed = 0
        proxy.on("websocket", self._watch)

    def _watch(self, ws: Any) -> None:
        ws.on("framesent", self._count)
        ws.on("framereceived", self._count)
        ws.on("missed", self._miss)

    def _count(self, payload: str | bytes) -> None:
        self.counted += 1

    def _miss(self, frames: int) -> None:
        self.missed += frames

    def say(self) -> None:
        print("COUNTED", self.counted, self.missed, flush=True)


async def run_async(options: dict[str, Any], *, listens: bool) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with async_api.launch(port=0, **options) as proxy:
        counting = Counting(proxy) if listens else None
        print("PORT", proxy.port, flush=True)
        await ended.wait()
    if counting is not None:
        counting.say()


def run_sync(options: dict[str, Any], *, listens: bool) -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with sync_api.launch(port=0, **options) as proxy:
        counting = Counting(proxy) if listens else None
        print("PORT", proxy.port, flush=True)
        ended.wait()
    if counting is not None:
        counting.say()


def main() -> None:
    face, confdir, server_ca, *rest = sys.argv[1:]
    options = {"confdir": confdir, "options": {"ssl_verify_upstream_trusted_ca": server_ca}}
    listens = rest == ["listener"]
    if face == "async":
        asyncio.run(run_async(options, listens=listens))
    else:
        run_sync(options, listens=listens)


if __name__ == "__main__":
    main()
