"""The sockets of a context: those of one device, listening port or proxy user."""

import ipaddress
from dataclasses import dataclass

from wirewright.model.origin import Origin

__tracebackhide__ = True  # pytest shows the line that calls

Condition = tuple[str, str | int | None]
"""`client`, `port` or `user`, and its value. None stands for an unknown address or port, or no user."""


@dataclass(frozen=True, eq=False, slots=True)
class ContextFilter:
    """Accepts the sockets of one context. Routes and captures of the context are known by this object."""

    client: str | None = None
    """The IP address of the device, in its shortest form."""
    port: int | None = None
    """The port of the proxy that the app connects to."""
    user: str | None = None
    """The name with which the app logs in at the proxy."""
    parent: "ContextFilter | None" = None
    """The filter of the context that this one was made from: it must accept the socket, too."""

    def __post_init__(self) -> None:
        """Raises ValueError and TypeError for values that no socket has."""
        if self.client is None and self.port is None and self.user is None:
            raise ValueError("a context needs a client, a port or a user")
        if self.client is not None:
            object.__setattr__(self, "client", _checked_address(self.client))
        if self.port is not None:
            _check_port(self.port)
        if self.user is not None and not isinstance(self.user, str):
            raise TypeError(f"user must be a str, not {type(self.user).__name__}")
        if self.user == "":
            raise ValueError('user must be a name, such as "phone-2"')

    def __str__(self) -> str:
        return " ".join(f"{name}={value!r}" for name, value in self.conditions)

    @property
    def conditions(self) -> list[Condition]:
        """The conditions of the contexts around this one, and its own."""
        around = [] if self.parent is None else self.parent.conditions
        own = (("client", self.client), ("port", self.port), ("user", self.user))
        return [*around, *((name, value) for name, value in own if value is not None)]

    @property
    def depth(self) -> int:
        """The number of contexts around this one, and itself."""
        return 1 if self.parent is None else 1 + self.parent.depth

    @property
    def only_port(self) -> int | None:
        """The port of all sockets that are accepted; None if they may have several."""
        return self.port if self.port is not None or self.parent is None else self.parent.only_port

    def accepts(self, origin: Origin) -> bool:
        """True if a socket or a connection of this origin belongs to the context."""
        return not self.misfits(origin)

    def misfits(self, origin: Origin) -> list[Condition]:
        """The client, port and user of an origin that do not meet the conditions."""
        address = None if origin.client_address is None else shortest_address(origin.client_address[0])
        actual: dict[str, str | int | None] = {
            "client": address,
            "port": origin.proxy_port,
            "user": origin.proxy_user,
        }
        return [(name, actual[name]) for name, wanted in self.conditions if actual[name] != wanted]


def shortest_address(text: str) -> str | None:
    """An IP address in its shortest form, without a zone; an IPv4 one if it stands for that. None for others.

    An app that connects by IPv4 to a port of both versions has an address such as `::ffff:192.168.1.7`.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _checked_address(client: object) -> str:
    if not isinstance(client, str):
        raise TypeError(f"client must be an IP address as a str, not {type(client).__name__}")
    address = shortest_address(client)
    if address is None:
        raise ValueError(f'client must be the IP address of a device, such as "192.168.1.7", not {client!r}')
    return address


def _check_port(port: object) -> None:
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    if not 0 < port < 65_536:
        raise ValueError(f"port must be 1 to 65535, not {port!r}")
