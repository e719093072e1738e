"""Refuse an app's sockets with 403 until it comes with a token.

mitmdump -s addon/wirewright/addon.py -s examples/refuse_without_token.py

The token is "secret", or the one in the environment variable TOKEN.
"""

import os

from wirewright import WebSocketRoute, proxy

TOKEN = os.environ.get("TOKEN", "secret")


def check(ws: WebSocketRoute) -> None:
    if ws.request_headers.get("authorization") == f"Bearer {TOKEN}":
        ws.connect_to_server()
    else:
        print(f"{ws.url}: refused")
        ws.reject(403, body="no token\n")


proxy.route_web_socket("**", check)
