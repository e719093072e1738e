"""An app without its server: a recorded one answers, and what the app says differently is shown.

wirewright run --capture session.db              # once, with the real server
wirewright run -s examples/recorded_server.py

The capture is session.db, or the one in the environment variable CAPTURE; an exported HAR will do once it is
imported: wirewright import chrome.har session.db
"""

import os

from wirewright import WebSocket, proxy
from wirewright.capture import ignoring_keys

replay = proxy.route_from_capture(
    os.environ.get("CAPTURE", "session.db"),
    speed=10,
    on_mismatch="wait",
    compare=ignoring_keys("id", "timestamp"),
)


@proxy.on("websocket")
def watch(ws: WebSocket) -> None:
    ws.once("close", lambda _: print(f"{len(replay.mismatches)} messages were not as recorded"))
