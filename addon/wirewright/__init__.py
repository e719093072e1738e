"""Playwright's WebSocket API for any app behind mitmproxy.

Importing this package imports no mitmproxy: only `launch` and the addon itself need it.
"""

from wirewright.requirements import INSIDE_MITMPROXY, require

require(["pyee"], with_them=INSIDE_MITMPROXY)  # before the modules that import it

from wirewright.launch import launch
from wirewright.model.errors import EndedError, EndpointError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.proxy import Proxy
from wirewright.model.route import WebSocketRoute
from wirewright.model.websocket import WebSocket
from wirewright.state import proxy
from wirewright.values import VERSION, Conditions

__all__ = [
    "Conditions",
    "EndedError",
    "EndpointError",
    "Error",
    "Proxy",
    "TimeoutError",
    "WebSocket",
    "WebSocketRoute",
    "launch",
    "proxy",
]

__version__ = VERSION
