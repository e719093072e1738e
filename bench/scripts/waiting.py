"""A script whose handler of the server's messages does not return before HOLD_SECONDS have passed.

With Wirewright it is a route of sockets with the path `/held`, and without it a hook of mitmproxy.
"""

import asyncio
import os
import sys

HOLD_SECONDS = float(os.environ["HOLD_SECONDS"])
PATH = "/held"

if "wirewright" in sys.modules:
    from wirewright import WebSocketRoute, proxy

    def hold(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        going_on = asyncio.Event()

        async def forward(message: str | bytes) -> None:
            await going_on.wait()
            ws.send(message)

        server.on_message(forward)
        asyncio.get_running_loop().call_later(HOLD_SECONDS, going_on.set)

    proxy.route_web_socket(f"**{PATH}", hold)
else:
    from mitmproxy import http

    _going_on: dict[str, asyncio.Event] = {}

    async def websocket_message(flow: http.HTTPFlow) -> None:
        if flow.request.path == PATH:
            if flow.id not in _going_on:
                event = _going_on[flow.id] = asyncio.Event()
                asyncio.get_running_loop().call_later(HOLD_SECONDS, event.set)
            await _going_on[flow.id].wait()
