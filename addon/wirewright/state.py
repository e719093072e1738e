"""The objects that exist once in a process.

They are not in the addon: mitmproxy loads a script under a name of its own, and again each time the file is
saved.
"""

from wirewright.model.app_connections import AppConnections
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.tls_failures import TlsFailures

proxy = Proxy()
"""All sockets that pass through this process."""

app_connections = AppConnections()
"""Counts of apps' connections and requests that open no socket."""

control = Control(proxy)
"""The proxy's back side, for the addon and for `launch`."""

tls_failures = TlsFailures()
"""TLS handshakes that failed with apps or servers."""
