"""Counts of connections and requests of apps that open no socket: they explain why no socket came."""

import time
from dataclasses import dataclass

from wirewright.model.tls_failures import TlsFailure, TlsFailures


@dataclass
class AppConnections:
    """Counts since the start of the proxy."""

    connections: int = 0
    """TCP connections of apps to the proxy."""
    requests: int = 0
    """HTTP requests that are not WebSocket handshakes."""


@dataclass(frozen=True)
class AppsSeen:
    """The counts and TLS failures up to a moment, or between two moments."""

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
        """The difference to an earlier moment."""
        return AppsSeen(
            self.connections - before.connections,
            self.requests - before.requests,
            self.at,
            tuple(failure for failure in self.tls_failures if failure.at > before.at),
        )


NOTHING_SEEN = AppsSeen(0, 0, 0.0, ())
