"""A mitmproxy script that changes every message from the server, as an addon does it."""

from mitmproxy import http


def websocket_message(flow: http.HTTPFlow) -> None:
    assert flow.websocket is not None
    message = flow.websocket.messages[-1]
    if not message.from_client:
        message.content = message.content.replace(b"buy", b"sell")
