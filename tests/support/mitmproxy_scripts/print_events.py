"""A mitmproxy script for tests: prints what becomes of sockets, mocks some, and obeys HTTP requests.

It is loaded into mitmproxy with and without Wirewright, so it knows neither that nor the tests.
"""

from mitmproxy import ctx, http

SCRIPT_HOST = "script.test"
MOCKED_HOST = "mocked.test"
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What answers the key of RFC 6455, 1.3, which is the one that the tests' apps send."""

_sockets: list[http.HTTPFlow] = []


def request(flow: http.HTTPFlow) -> None:
    if flow.request.host == SCRIPT_HOST:
        flow.response = http.Response.make(200, _do(flow.request.path))
    elif flow.request.host == MOCKED_HOST:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
        flow.response = http.Response.make(101, b"", headers)


def websocket_start(flow: http.HTTPFlow) -> None:
    _sockets.append(flow)
    print("STARTED", flush=True)


def websocket_end(flow: http.HTTPFlow) -> None:
    assert flow.websocket is not None
    print("ENDED", flow.websocket.close_code, flush=True)


def _do(path: str) -> str:
    """Do something with the newest socket."""
    newest = _sockets[-1]
    assert newest.websocket is not None
    if path == "/inject":
        ctx.master.commands.call("inject.websocket", newest, True, b"ours", True)
    return str(len(newest.websocket.messages))
