"""A Wirewright script that notes how late each message is, which begins with the time when it was sent."""

import time

from wirewright import WebSocket, proxy

delays: list[int] = []


@proxy.on("websocket")
def watch(ws: WebSocket) -> None:
    ws.on("framereceived", note)


def note(payload: str | bytes) -> None:
    delays.append(time.monotonic_ns() - int(payload[:20]))


def done() -> None:
    print("DELAYS", *delays, flush=True)
