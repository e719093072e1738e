"""What the wire needs of mitmproxy's insides. They are nobody's promise, so they are looked at first."""

from collections.abc import Callable
from importlib import import_module

_NEEDED: dict[str, Callable[[], object]] = {
    "mitmproxy.proxy.layers.websocket.WebsocketLayer(context, flow)": lambda: _takes(
        "mitmproxy.proxy.layers.websocket", "WebsocketLayer.__init__", "self", "context", "flow"
    ),
    "mitmproxy.proxy.layers.http's use of that class": lambda: _is_same_module(
        "mitmproxy.proxy.layers.http", "websocket", "mitmproxy.proxy.layers.websocket"
    ),
    "mitmproxy.proxy.layers.http.HttpLayer.connections": lambda: _annotated(
        "mitmproxy.proxy.layers.http", "HttpLayer", "connections"
    ),
    "mitmproxy.proxy.layers.http._http1.Http1Connection.make_pipe()": lambda: _takes(
        "mitmproxy.proxy.layers.http._http1", "Http1Connection.make_pipe", "self"
    ),
    "mitmproxy.proxy.server.ConnectionHandler.handle_connection(connection)": lambda: _takes(
        "mitmproxy.proxy.server", "ConnectionHandler.handle_connection", "self", "connection"
    ),
    "mitmproxy.proxy.server.ConnectionHandler.handle_client()": lambda: _takes(
        "mitmproxy.proxy.server", "ConnectionHandler.handle_client", "self"
    ),
    "mitmproxy.proxy.server.ConnectionHandler.wakeup_timer": lambda: _annotated(
        "mitmproxy.proxy.server", "ConnectionHandler", "wakeup_timer"
    ),
    "mitmproxy.proxy.server.ConnectionHandler.drain_writers()": lambda: _takes(
        "mitmproxy.proxy.server", "ConnectionHandler.drain_writers", "self"
    ),
    "mitmproxy.addons.proxyserver.Proxyserver.inject_event(event)": lambda: _takes(
        "mitmproxy.addons.proxyserver", "Proxyserver.inject_event", "self", "event"
    ),
    "mitmproxy.addonmanager.AddonManager.trigger_event(event)": lambda: _takes(
        "mitmproxy.addonmanager", "AddonManager.trigger_event", "self", "event"
    ),
    "mitmproxy.proxy.server.TimeoutWatchdog(timeout, callback)": lambda: _takes(
        "mitmproxy.proxy.server", "TimeoutWatchdog.__init__", "self", "timeout", "callback"
    ),
    "mitmproxy.proxy.server.ConnectionHandler.on_timeout()": lambda: _takes(
        "mitmproxy.proxy.server", "ConnectionHandler.on_timeout", "self"
    ),
    "mitmproxy.addonmanager.AddonManager.invoke_addon(addon, event)": lambda: _takes(
        "mitmproxy.addonmanager", "AddonManager.invoke_addon", "self", "addon", "event"
    ),
    "mitmproxy.addonmanager.AddonManager._iter_hooks(addon, event)": lambda: _takes(
        "mitmproxy.addonmanager", "AddonManager._iter_hooks", "self", "addon", "event"
    ),
    "mitmproxy.net.http.http1.read._read_request_line(line)": lambda: _takes(
        "mitmproxy.net.http.http1.read", "_read_request_line", "line"
    ),
}


def missing_internal() -> str | None:
    """The first thing that this mitmproxy lacks, or None if the wire can stand on it."""
    for name, is_there in _NEEDED.items():
        try:
            if not is_there():
                return name
        except (ImportError, AttributeError):
            return name
    return None


def _takes(module: str, path: str, *parameters: str) -> bool:
    found = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    code = found.__code__
    names: tuple[str, ...] = code.co_varnames[: code.co_argcount]
    return names == parameters


def _is_same_module(user: str, attribute: str, module: str) -> bool:
    return getattr(import_module(user), attribute) is import_module(module)


def _annotated(module: str, kind: str, attribute: str) -> bool:
    return attribute in getattr(import_module(module), kind).__annotations__
