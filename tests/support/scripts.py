"""Users' scripts for the tests."""

import os
from pathlib import Path

PRINTING = """
from wirewright import proxy

@proxy.on("websocket")
def watch(ws):
    print("SOCKET", ws.url, flush=True)
    ws.on("framesent", lambda payload: print("SENT", repr(payload), flush=True))
    ws.on("framereceived", lambda payload: print("RECEIVED", repr(payload), flush=True))
    ws.on("close", lambda ws: print("CLOSED", ws.close_code, ws.closed_by, flush=True))
"""


def write_script(path: Path, text: str) -> Path:
    """Save a script; each time with a later date, as mitmproxy goes by that alone."""
    later = path.stat().st_mtime + 10 if path.exists() else None
    path.write_text(text)
    if later is not None:
        os.utime(path, (later, later))
    return path
