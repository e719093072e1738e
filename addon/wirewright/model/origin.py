"""Where a socket or a connection of an app comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The device, port and user of a socket or a connection."""

    client_address: tuple[str, int] | None = None
    """The host and port of the device, as the proxy sees them."""
    proxy_port: int | None = None
    """The port of the proxy that the app has connected to; None where its mode has none (local capture)."""
    proxy_user: str | None = None
    """The name with which the app has logged in at the proxy."""
