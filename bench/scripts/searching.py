"""A Wirewright script that waits for a frame of each socket, which does not come."""

from contextlib import suppress

from wirewright import Error, WebSocket, proxy


@proxy.on("websocket")
async def search(ws: WebSocket) -> None:
    with suppress(Error):
        await ws.next_frame("a text that no message has", timeout=0)
        print("FOUND", flush=True)
