"""A mitmproxy script that may change every message, so that Wirewright holds it, and changes none."""

from mitmproxy import http


def websocket_message(flow: http.HTTPFlow) -> None:
    pass
