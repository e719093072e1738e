"""A mitmproxy script for tests: makes ten thousand bytes of each message to and from `/edited`."""

from mitmproxy import http


def websocket_message(flow: http.HTTPFlow) -> None:
    assert flow.websocket is not None
    if flow.request.path == "/edited":
        flow.websocket.messages[-1].content = b"x" * 10_000
