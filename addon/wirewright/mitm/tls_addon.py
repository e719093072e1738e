"""Notes TLS handshakes that fail, which leave no trace but a line in mitmproxy's log."""

import time
from typing import Literal

from mitmproxy import connection, tls
from mitmproxy.utils import human

from wirewright.model.tls_failures import TlsFailure
from wirewright.state import tls_failures


class TlsFailureAddon:
    """Fills `wirewright.state.tls_failures`."""

    name = "wirewright-tls"

    def tls_failed_client(self, data: tls.TlsData) -> None:
        if data.ssl_conn is not None:  # else the app has hung up before it was shown a certificate
            _note(data, "client")

    def tls_failed_server(self, data: tls.TlsData) -> None:
        _note(data, "server")


def _note(data: tls.TlsData, side: Literal["client", "server"]) -> None:
    client, server = data.context.client, data.conn if side == "server" else data.context.server
    assert isinstance(server, connection.Server)
    name = (server if side == "server" else client).sni
    if not name and server.address:
        name = human.format_address(server.address)
    peer = client.peername[:2] if client.peername else None
    tls_failures.add(TlsFailure(time.time(), side, name or "", data.conn.error or "", peer))
