"""Usage: python python_picows.py URL PROXY CA."""

import asyncio
import ssl
import sys
from functools import partial

import picows

url, proxy, ca = sys.argv[1:]


class Listener(picows.WSListener):
    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        transport.send(picows.WSMsgType.TEXT, "buy é 🎉".encode())

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            print("text", frame.get_payload_as_utf8_text())
            transport.send(picows.WSMsgType.BINARY, bytes([0, 1, 254, 255]))
        elif frame.msg_type == picows.WSMsgType.BINARY:
            print("binary", frame.get_payload_as_bytes().hex())
            transport.send_close(4001, b"bye")
        elif frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()


# A loaded machine uses up the 5 seconds of the default.
picows.ws_connect = partial(picows.ws_connect, websocket_handshake_timeout=60)


async def main() -> None:
    tls = ssl.create_default_context(cafile=ca) if url.startswith("wss:") else None
    transport, _ = await picows.ws_connect(Listener, url, proxy=proxy, ssl_context=tls)
    await transport.wait_disconnected()


asyncio.run(main())
