"""Tell only what goes wrong: failed handshakes, protocol violations, sockets that do not close cleanly.

mitmdump -s addon/wirewright/addon.py -s examples/failures.py
"""

from wirewright import WebSocket, proxy

CLEAN = {1000, 1001, 1005}
"""Done, going away, and a close frame without a code (RFC 6455, 7.4.1)."""


@proxy.on("websocket")
def look_for_failures(ws: WebSocket) -> None:
    ws.on("socketerror", lambda message: print(f"FAILED {ws.url}: {message}"))
    ws.on("close", report)


def report(ws: WebSocket) -> None:
    if ws.close_code is not None and ws.close_code not in CLEAN:
        print(f"BROKEN {ws.url}: closed with {ws.close_code} {ws.close_reason!r} by {ws.closed_by}")
