"""All that Wirewright changes in mitmproxy, and the internals that it uses. mitmproxy promises none of them.

`installation` walks this table: it checks the signatures, makes the changes, and takes them back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wirewright.mitm.patches import (
    back_pressure,
    bytes_after_101,
    connection_close,
    error_page,
    hook_dispatch,
    request_target,
    websocket_layer,
)


@dataclass(frozen=True)
class Internal:
    """A row of the table: a class, a function or an attribute inside mitmproxy."""

    target: str
    """The module and the name inside it, such as `mitmproxy.proxy.server:ConnectionHandler.wakeup_timer`."""
    takes: tuple[str, ...] | None
    """The parameters that are expected. More of them may follow if they have defaults. None for an attribute
    that is not called."""
    why: str
    """The reason for the change. For a row without one, what the internal is used for."""
    replace: Callable[[Any], object] | None = None
    """Makes the replacement of mitmproxy's own object; None if Wirewright only uses it."""
    upstream: str | None = None
    """The issue or the pull request of mitmproxy that concerns the change."""
    on_uninstall: Callable[[], None] | None = None
    """Is called when the change is taken back."""

    def __str__(self) -> str:
        takes = "" if self.takes is None else f"({', '.join(name for name in self.takes if name != 'self')})"
        return self.target.replace(":", ".") + takes


TABLE = (
    # Changes
    Internal(
        "mitmproxy.proxy.layers.websocket:WebsocketLayer",
        ("context", "flow"),
        "Wirewright's layers carry WebSockets. mitmproxy's holds each message whole, masks and compresses it "
        "anew, and makes a close 1000 of a lost connection.",
        websocket_layer.layer_class,
    ),
    Internal(
        "mitmproxy.proxy.layers.websocket:Fragmentizer.FRAGMENT_SIZE",
        None,
        "mitmproxy splits a changed message into frames, and characters with it. Now it is one frame.",
        websocket_layer.fragment_size,
        upstream="https://github.com/mitmproxy/mitmproxy/issues/4701",
    ),
    Internal(
        "mitmproxy.proxy.layers.http._http1:Http1Connection.make_pipe",
        ("self",),
        "mitmproxy drops line feeds after a head, for clients that send them after CONNECT. After a 101 they "
        "are the first bytes of a frame.",
        bytes_after_101.make_pipe,
        upstream="https://github.com/mitmproxy/mitmproxy/pull/4871",
    ),
    Internal(
        "mitmproxy.net.http.http1.read:_read_request_line",
        ("line",),
        "mitmproxy answers 400 to `GET ws://host/path`, the absolute form of a WebSocket's target.",
        request_target.read_request_line,
        upstream="https://github.com/mitmproxy/mitmproxy/issues/7717",
    ),
    Internal(
        "mitmproxy.proxy.layers.http._http1:make_error_response",
        ("status_code", "message"),
        "mitmproxy shows all of a server's answer that is no HTTP on its error page. To format 4 MiB stops "
        "the proxy for 350 ms.",
        error_page.make_error_response,
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.handle_connection",
        ("self", "connection"),
        "mitmproxy 12 neither closes a connection nor reports its end if the reading task is cancelled while "
        "it waits for another event.",
        connection_close.handle_connection,
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.handle_client",
        ("self",),
        "Timers that layers request while a program ends are never cancelled.",
        connection_close.handle_client,
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.drain_writers",
        ("self",),
        "mitmproxy has no command that pauses reading from a connection.",
        back_pressure.drain_writers,
        on_uninstall=back_pressure.resume_all,
    ),
    Internal(
        "mitmproxy.addonmanager:AddonManager.trigger_event",
        ("self", "event"),
        "For each hook mitmproxy sets up a call of each of its fifty addons. Most have no such hook.",
        hook_dispatch.trigger_event,
    ),
    # Internals that are used as they are
    Internal(
        "mitmproxy.addonmanager:AddonManager.invoke_addon",
        ("self", "addon", "event"),
        "hook_dispatch calls the addons that have a hook.",
    ),
    Internal(
        "mitmproxy.addonmanager:AddonManager._iter_hooks",
        ("self", "addon", "event"),
        "hook_dispatch finds the addon that answered or killed a flow.",
    ),
    Internal(
        "mitmproxy.proxy.layers.http:websocket.WebsocketLayer",
        ("context", "flow"),
        "The HTTP layer looks up the replaced class in its module each time.",
    ),
    Internal(
        "mitmproxy.proxy.layers.http:HttpLayer.connections",
        None,
        "Tells whether a socket has a server or is mocked.",
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.wakeup_timer", None, "connection_close cancels timers."
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.transports",
        None,
        "connection_close and back_pressure find the task that reads a connection.",
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.timeout_watchdog",
        None,
        "A socket is not idle while a message of it is held.",
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.server_event",
        ("self", "event"),
        "connection_close reports the end of a connection.",
    ),
    Internal(
        "mitmproxy.proxy.server:ConnectionHandler.on_timeout",
        ("self",),
        "The end of a socket by `tcp_timeout` is reported with its reason.",
    ),
    Internal(
        "mitmproxy.proxy.server:TimeoutWatchdog",
        ("timeout", "callback"),
        "Open sockets may be idle for longer than other connections.",
    ),
    Internal(
        "mitmproxy.addons.proxyserver:Proxyserver.inject_event",
        ("self", "event"),
        "Messages, closes and decisions reach the layer of a socket.",
    ),
)

SPLICE_TABLE = (
    Internal("mitmproxy.proxy.layer:Layer._paused", None, "No event of a layer waits when it is spliced."),
    Internal("mitmproxy.proxy.layer:Layer._paused_event_queue", None, "The same."),
    Internal("mitmproxy.proxy.tunnel:TunnelLayer.tunnel_state", None, "TLS is spliced after its handshake."),
    Internal("mitmproxy.proxy.tunnel:TunnelLayer.conn", None, "Finds the TLS of a connection."),
    Internal("mitmproxy.proxy.tunnel:TunnelLayer.tunnel_connection", None, "The same."),
    Internal("mitmproxy.proxy.layers.tls:TLSLayer.tls", None, "Decrypts and encrypts."),
    Internal(
        "mitmproxy.proxy.server:TimeoutWatchdog.register_activity",
        ("self",),
        "A spliced connection is not idle while something comes.",
    ),
    Internal(
        "OpenSSL.SSL:Connection._raise_ssl_error", ("self", "ssl", "result"), "Tells the errors of TLS apart."
    ),
)
"""Internals that only `mitm/splice/` uses. Without one of them, open sockets stay with mitmproxy's layers."""
