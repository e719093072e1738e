"""Requests whose first bytes mitmproxy takes for another protocol than HTTP.

In a tunnel mitmproxy looks at the first read alone. It forwards everything as TCP, unseen, if a request line
comes in several reads, or after an empty line that servers ignore (RFC 9112, 2.2).
"""

from mitmproxy.exceptions import AddonHalt
from mitmproxy.proxy import events, layer

METHODS = (b"GET ", b"POST ")
"""The methods of requests that servers answer with a WebSocket. RFC 6455, 4.1, allows GET alone."""
LONGEST_LINE = 16 * 1024
"""Bytes of a request line that is waited for. Servers refuse longer ones."""


def recognize(undecided: layer.NextLayer) -> None:
    """Have mitmproxy decide when the request line is complete, and without empty lines before it.

    Raises AddonHalt while the line is incomplete: mitmproxy then asks again with more data.
    """
    data = undecided.data_client()
    line, newline, _ = data.lstrip(b"\r\n").partition(b"\n")
    if undecided.layer is not None or undecided.data_server() or not data:
        return
    if newline:
        if line.startswith(METHODS):
            _drop_empty_lines(undecided)
    elif len(data) <= LONGEST_LINE and any(
        line.startswith(method) or method.startswith(line) for method in METHODS
    ):
        raise AddonHalt


def _drop_empty_lines(undecided: layer.NextLayer) -> None:
    for event in undecided.events:
        if isinstance(event, events.DataReceived) and event.connection is undecided.context.client:
            event.data = event.data.lstrip(b"\r\n")
            if event.data:
                return
