"""A Wirewright script with one listener a direction, which counts; the sum is said at the end."""

from wirewright import WebSocket, proxy

counted = 0


@proxy.on("websocket")
def watch(ws: WebSocket) -> None:
    ws.on("framesent", count)
    ws.on("framereceived", count)


def count(payload: str | bytes) -> None:
    global counted
    counted += 1


def done() -> None:
    print("COUNTED", counted, flush=True)
