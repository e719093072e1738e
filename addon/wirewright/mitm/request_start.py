"""Requests whose first bytes mitmproxy takes for another protocol than HTTP.

In a tunnel mitmproxy looks at the first read alone. It forwards everything as TCP, unseen, if a request line
comes in several reads, after an empty line that servers ignore (RFC 9112, 2.2), or after bytes of the server.
If the server's bytes come before all of the app's, mitmproxy decides at once: see `tcp_requests`.
"""

from mitmproxy.exceptions import AddonHalt
from mitmproxy.proxy import events, layer

METHODS = (b"GET ", b"POST ")
"""The methods of requests that servers answer with a WebSocket. RFC 6455, 4.1, allows GET alone."""
LONGEST_LINE = 16 * 1024
"""Bytes of a request line that is waited for. Servers refuse longer ones."""


def wait_for_request_line(next_layer: layer.NextLayer) -> None:
    """Have mitmproxy decide when the request line is complete, and without empty lines before it.

    Raises AddonHalt while the line is incomplete: mitmproxy then asks again with more data.
    """
    data = next_layer.data_client()
    line, newline, _ = data.lstrip(b"\r\n").partition(b"\n")
    if next_layer.layer is not None or not data:
        return
    if newline:
        if line.startswith(METHODS):
            _drop_empty_lines(next_layer)
            _drop_server_data(next_layer)
    elif len(data) <= LONGEST_LINE and (
        line.startswith(METHODS) or (may_be_request(line) and not next_layer.data_server())
    ):
        raise AddonHalt


def may_be_request(start: bytes) -> bool:
    """True if the first bytes of an app, without empty lines, are of a request, or may become one."""
    return any(start.startswith(method) or method.startswith(start) for method in METHODS)


def _drop_server_data(next_layer: layer.NextLayer) -> None:
    """Drop bytes that a server has sent before a request: mitmproxy would take the connection for TCP."""
    next_layer.events = [
        event
        for event in next_layer.events
        if not (isinstance(event, events.DataReceived) and event.connection is not next_layer.context.client)
    ]


def _drop_empty_lines(next_layer: layer.NextLayer) -> None:
    for event in next_layer.events:
        if isinstance(event, events.DataReceived) and event.connection is next_layer.context.client:
            event.data = event.data.lstrip(b"\r\n")
            if event.data:
                return
