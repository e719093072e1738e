"""Print every frame of every app that uses the proxy.

mitmdump -s addon/wirewright/addon.py -s examples/watch.py
"""

from wirewright import WebSocket, proxy


@proxy.on("websocket")
def watch(ws: WebSocket) -> None:
    print("open ", ws.url)
    ws.on("framesent", lambda payload: print(">", payload))
    ws.on("framereceived", lambda payload: print("<", payload))
    ws.on("socketerror", lambda message: print("error", message))
    ws.on("close", lambda ws: print("close", ws.url, ws.close_code, ws.close_reason))
