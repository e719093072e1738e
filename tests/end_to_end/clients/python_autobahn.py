"""Usage: python python_autobahn.py URL PROXY CA."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol, connectWS
from twisted.internet import reactor
from twisted.internet.ssl import Certificate, optionsForClientTLS

url, proxy, ca = sys.argv[1:]
address = urlsplit(proxy)


class Protocol(WebSocketClientProtocol):
    def onOpen(self) -> None:  # noqa: N802
        self.sendMessage("buy é 🎉".encode())

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        if isBinary:
            print("binary", payload.hex())
            self.sendClose(4001, "bye")
        else:
            print("text", payload.decode())
            self.sendMessage(bytes([0, 1, 254, 255]), isBinary=True)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        print("closed", code, reason)
        reactor.stop()


factory = WebSocketClientFactory(url, proxy={"host": address.hostname, "port": address.port})
factory.protocol = Protocol
# No limits of 5 and 1 seconds, which a loaded machine uses up.
factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
trusted = Certificate.loadPEM(Path(ca).read_bytes())
tls = optionsForClientTLS(factory.host, trustRoot=trusted) if factory.isSecure else None
connectWS(factory, tls)
reactor.run()
