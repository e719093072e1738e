"""Wait on each socket for a frame that says it is ready, and tell how long it took.

mitmdump -s addon/wirewright/addon.py -s examples/wait_for_frame.py

The word to look for is "ready", or the one in the environment variable WORD.
"""

import os
import time

from wirewright import Error, WebSocket, proxy

WORD = os.environ.get("WORD", "ready")


@proxy.on("websocket")
async def wait_until_ready(ws: WebSocket) -> None:
    began = time.monotonic()
    try:
        frame = await ws.wait_for_event(
            "framereceived", lambda payload: isinstance(payload, str) and WORD in payload, timeout=60_000
        )
    except Error as error:  # the socket closed or failed, or a minute passed
        print(f"{ws.url}: not ready: {error.message}")
    else:
        print(f"{ws.url}: ready after {time.monotonic() - began:.3f} s: {frame!s}")
