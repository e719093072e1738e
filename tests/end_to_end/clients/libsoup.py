"""Usage: python3 libsoup.py URL PROXY CA, with PyGObject and libsoup 3."""

import sys

import gi

gi.require_version("Soup", "3.0")
from gi.repository import Gio, GLib, Soup  # noqa: E402

url, proxy, ca = sys.argv[1:]
loop = GLib.MainLoop()
session = Soup.Session()

session.set_proxy_resolver(Gio.SimpleProxyResolver.new(proxy, None))
session.set_tls_database(Gio.TlsFileDatabase.new(ca))


def on_open(session: Soup.Session, result: Gio.AsyncResult) -> None:
    global ws  # else it is collected, and the connection with it
    ws = session.websocket_connect_finish(result)
    ws.connect("message", on_message)
    ws.connect("closed", lambda _: loop.quit())
    ws.send_text("buy é 🎉")


def on_message(ws: Soup.WebsocketConnection, kind: Soup.WebsocketDataType, message: GLib.Bytes) -> None:
    if kind == Soup.WebsocketDataType.TEXT:
        print("text", message.get_data().decode())
        ws.send_message(Soup.WebsocketDataType.BINARY, GLib.Bytes.new(bytes([0, 1, 254, 255])))
    else:
        print("binary", message.get_data().hex())
        ws.close(4001, "bye")


session.websocket_connect_async(Soup.Message.new("GET", url), None, None, 0, None, on_open)
loop.run()
