"""One row of the parity table, and how its events are written."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Event = tuple[str, str | bytes]
"""The event's name, and the payload or the error's text; "" for `websocket` and `close`."""
End = tuple[int | None, str | None, str | None]
"""`close_code`, `close_reason` and `closed_by` of Wirewright's socket."""

Server = Literal["plain", "tls", "untrusted", "refusing", "closing", "resetting", "speaking"]
"""The last three get a TLS handshake, and close, reset, or answer in plain text."""

Part = Literal["wirewright", "end", "browser", "page"]
"""What is compared: Wirewright's events, how its socket ended, Playwright's events behind the proxy, and the
page's own close code there."""

OPENED: Event = ("websocket", "")
CLOSED: Event = ("close", "")
LARGEST_SHOWN = 1000


def shown(payload: str | bytes) -> str | bytes:
    """A payload as the rows have it: a large one would fill a screen, and is told by its checksum."""
    if len(payload) <= LARGEST_SHOWN:
        return payload
    content = payload.encode() if isinstance(payload, str) else payload
    return f"{type(payload).__name__}({len(payload)}) with CRC {zlib.crc32(content):08x}"


def sent(payload: str | bytes) -> Event:
    return "framesent", shown(payload)


def received(payload: str | bytes) -> Event:
    return "framereceived", shown(payload)


def error(text: str) -> Event:
    return "socketerror", text


@dataclass(frozen=True)
class Row:
    """One thing that can happen to a socket."""

    name: str
    path: str
    """What the server does: see `raw_server`."""
    events: tuple[Event, ...]
    """What Playwright shows without a proxy."""
    end: End
    page: int | None
    """The code of the page's own `close` event without a proxy; None where the page is gone."""
    script: str = ""
    """What the page does with its socket `ws`."""
    protocols: tuple[str, ...] = ()
    server: Server = "plain"
    app_trusts: bool = True
    """Whether the browser accepts the proxy's certificate."""
    wirewright: tuple[Event, ...] | None = None
    """Where it is not `events`."""
    proxied: tuple[Event, ...] | None = None
    """What Playwright shows behind any proxy, where it cannot be `events`."""
    hooked_end: End | None = None
    """Where it is not `end` on the hooks lane."""
    fails: Mapping[Part, str] = field(default_factory=dict)
    """Which tests of the row cannot hold on the hooks lane, and why."""

    def trusting(self, *, proxied: bool) -> bool:
        """Whether the browser takes the certificate that it is shown: the server's, or the proxy's."""
        return self.app_trusts if proxied else self.server == "tls" and self.app_trusts

    @property
    def scheme(self) -> str:
        return "ws" if self.server in {"plain", "refusing"} else "wss"


BAD_GATEWAY: tuple[Event, ...] = (
    OPENED,
    error("Error during WebSocket handshake: Unexpected response code: 502"),
    CLOSED,
)
"""What a browser shows where the proxy has to answer in the stead of a server that gave no answer."""
