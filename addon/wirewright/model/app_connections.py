"""What apps do at the proxy besides opening sockets. It tells why no socket came."""

import time
from dataclasses import dataclass

from wirewright.model.tls import TlsFailure, TlsFailures


@dataclass
class AppConnections:
    """Counts since the proxy runs."""

    connections: int = 0
    """TCP connections of apps to the proxy."""
    requests: int = 0
    """HTTP requests that were no WebSocket handshakes."""


@dataclass(frozen=True)
class AppsSeen:
    """What apps have done up to some moment, or between two."""

    connections: int
    requests: int
    at: float
    """Seconds since the epoch, by the proxy's clock."""
    tls_failures: tuple[TlsFailure, ...]
    """The newest TLS handshakes that failed, oldest first."""

    @classmethod
    def now(cls, apps: AppConnections, failures: TlsFailures) -> "AppsSeen":
        return cls(apps.connections, apps.requests, time.time(), tuple(failures.newest()))

    def since(self, before: "AppsSeen") -> "AppsSeen":
        """What was done after an earlier moment."""
        return AppsSeen(
            self.connections - before.connections,
            self.requests - before.requests,
            self.at,
            tuple(failure for failure in self.tls_failures if failure.at > before.at),
        )


NOTHING_SEEN = AppsSeen(0, 0, 0.0, ())
