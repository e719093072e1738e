"""Tell each app something that its server never said, after the first frame that it receives.

mitmdump -s addon/wirewright/addon.py -s examples/inject.py

The message is "hello from the proxy", or the one in the environment variable MESSAGE.
"""

import os

from wirewright import WebSocket, proxy

MESSAGE = os.environ.get("MESSAGE", "hello from the proxy")


@proxy.on("websocket")
def say_hello_once(ws: WebSocket) -> None:
    @ws.once("framereceived")
    def say_hello(payload: str | bytes) -> None:
        ws.send_to_client(MESSAGE)
        print(f"{ws.url}: told the app {MESSAGE!r}")
