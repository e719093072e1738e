"""Usage: python qt.py URL PROXY CA, with PyQt6."""

import sys
from pathlib import Path

from PyQt6.QtCore import QCoreApplication, QUrl
from PyQt6.QtNetwork import QNetworkProxy, QSslCertificate, QSslConfiguration
from PyQt6.QtWebSockets import QWebSocket, QWebSocketProtocol

url, proxy, ca = sys.argv[1:]
app = QCoreApplication(sys.argv)
ws = QWebSocket()

address = QUrl(proxy)
ws.setProxy(QNetworkProxy(QNetworkProxy.ProxyType.HttpProxy, address.host(), address.port()))
tls = QSslConfiguration.defaultConfiguration()
tls.setCaCertificates(QSslCertificate.fromData(Path(ca).read_bytes()))
ws.setSslConfiguration(tls)


def on_text(text: str) -> None:
    print("text", text)
    ws.sendBinaryMessage(bytes([0, 1, 254, 255]))


def on_binary(message: object) -> None:
    print("binary", bytes(message).hex())  # type: ignore[call-overload]
    ws.close(QWebSocketProtocol.CloseCode(4001), "bye")


ws.connected.connect(lambda: ws.sendTextMessage("buy é 🎉"))
ws.textMessageReceived.connect(on_text)
ws.binaryMessageReceived.connect(on_binary)
ws.disconnected.connect(app.quit)  # without a connection, too
ws.open(QUrl(url))
app.exec()
