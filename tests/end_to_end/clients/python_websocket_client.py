"""Usage: python python_websocket_client.py URL PROXY CA."""

import sys
from urllib.parse import urlsplit

import websocket

url, proxy, ca = sys.argv[1:]
address = urlsplit(proxy)

ws = websocket.create_connection(
    url,
    http_proxy_host=address.hostname,
    http_proxy_port=address.port,
    proxy_type="http",
    sslopt={"ca_certs": ca},
)

ws.send("buy é 🎉")
print("text", ws.recv())
ws.send_binary(bytes([0, 1, 254, 255]))
print("binary", ws.recv().hex())
ws.close(4001, b"bye")
