"""Record what passes while an app is used, with a remark at each socket: look at it with `wirewright show`.

mitmdump -s addon/wirewright/addon.py -s examples/record.py

The file is session.db, or the one in the environment variable CAPTURE. Of a long session the newest four
gigabytes are kept.
"""

import os

from wirewright import WebSocket, proxy


@proxy.on("websocket")
def note(ws: WebSocket) -> None:
    proxy.annotate(f"the app asks for {ws.url}")  # secrets in it are redacted, too


proxy.start_capture(
    os.environ.get("CAPTURE", "session.db"),
    max_payload=100_000,
    redact=["authorization", "cookie", "token", "password", "phone"],
    max_size=1_000_000_000,
    rotate=4,
)
"""It ends with this script, or with the proxy."""
