"""TLS handshakes that failed, with an app or with a server."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

MOST = 100
"""How many failures are remembered, the newest."""

_REFUSED = re.compile(r"The client does not trust the proxy's certificate for .* \((?P<alert>.*)\)$", re.S)
"""mitmproxy's words where the client has sent an alert such as `unknown ca` (RFC 8446, 6.2)."""
_HUNG_UP = "The client disconnected during the handshake"
_NO_COMMON_VERSION = "Client and mitmproxy cannot agree on a TLS version"
_NO_TLS = "Cannot parse ClientHello"
_VERIFY = "Certificate verify failed: "
_TRUST_ANY = "to trust any server: --set ssl_insecure=true"


@dataclass(frozen=True, slots=True)
class TlsFailure:
    """A TLS handshake that failed."""

    at: float
    """Seconds since the epoch."""
    side: Literal["client", "server"]
    """The end of the connection that the proxy could not come to terms with."""
    server_name: str
    """The server that was meant: the name that the client asked for (RFC 6066, 3), or an address."""
    reason: str
    """In mitmproxy's or OpenSSL's words."""
    client_address: tuple[str, int] | None = None
    """The address of the app's connection."""

    @property
    def is_certificate_refused(self) -> bool:
        """True if an end did not accept a certificate: the app the proxy's, or the proxy the server's.

        An app that hangs up without a TLS alert counts: most apps that pin a certificate do.
        """
        if self.side == "server":
            return self.reason.startswith(_VERIFY)
        return self.reason.startswith(_HUNG_UP) or _REFUSED.match(self.reason) is not None

    @property
    def sentence(self) -> str:
        """A sentence that describes the failure, without a full stop."""
        if self.side == "server":
            reason = self.reason.removeprefix(_VERIFY)
            if self.is_certificate_refused:
                return f"the proxy does not trust the certificate of {self.server_name}: {reason}"
            return f"the TLS handshake with {self.server_name} failed: {reason}"
        distrust = "the app does not trust this CA, or pins its certificate"
        if refused := _REFUSED.match(self.reason):
            return f"{distrust} ({refused['alert']})"
        if self.reason.startswith(_HUNG_UP):
            return f"{distrust}: it hung up during the TLS handshake"
        if self.reason.startswith(_NO_COMMON_VERSION):
            return "the app and the proxy have no TLS version in common"
        if self.reason.startswith(_NO_TLS):
            return "the app sent something that is not TLS"
        return f"the TLS handshake with the app failed: {self.reason}"

    def remedy(self, ca_certificate: Path) -> str | None:
        """Advice for the user; None if there is none. `ca_certificate` is the proxy's own."""
        if self.side == "client":
            if self.is_certificate_refused:
                return f"install {ca_certificate} where the app looks for CAs, or use a build without pinning"
            if self.reason.startswith(_NO_COMMON_VERSION):
                return "allow older versions: --set tls_version_client_min=TLS1"
            return None
        if not self.is_certificate_refused:
            return None
        if any(word in self.reason for word in ("issuer", "self-signed", "self signed")):
            return f"to trust it: --set ssl_verify_upstream_trusted_ca=FILE (its CA, as PEM); {_TRUST_ANY}"
        return _TRUST_ANY


class TlsFailures:
    """The newest failures of the proxies in this process. Connections are not always for a WebSocket."""

    def __init__(self) -> None:
        self.watchers: list[Callable[[TlsFailure], None]] = []
        """Each is called with each new failure."""
        self._newest: deque[TlsFailure] = deque(maxlen=MOST)

    def add(self, failure: TlsFailure) -> None:
        """Remember a failure and tell the watchers."""
        self._newest.append(failure)
        for watcher in list(self.watchers):
            watcher(failure)

    def newest(self, *, since: float = 0.0) -> list[TlsFailure]:
        """The failures since a time, in seconds since the epoch; oldest first."""
        return [failure for failure in self._newest if failure.at >= since]

    def of_server(self, client_address: tuple[str, int] | None) -> TlsFailure | None:
        """The last one with a server to which the connection of an app was to lead."""
        for failure in reversed(self._newest):
            if failure.side == "server" and failure.client_address == client_address:
                return failure
        return None
