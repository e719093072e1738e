"""The running program behind a `Proxy`, and a recorded server that it plays."""

from collections import deque
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

from wirewright.model.app_connections import AppsSeen
from wirewright.model.awaitables import Completion
from wirewright.model.context_filter import ContextFilter
from wirewright.model.history import HistoryLimit
from wirewright.model.ownership import Owner
from wirewright.model.route import WebSocketRoute


class Host(Protocol):
    """The running program behind a Proxy."""

    @property
    def port(self) -> int | None:
        """The port it listens on; None where its mode has none (local capture)."""

    @property
    def ca_certificate(self) -> Path:
        """The PEM file that apps must trust."""

    @property
    def history(self) -> HistoryLimit:
        """How much each socket remembers."""

    def start_capture(
        self, path: Path, context: ContextFilter | None, **options: Any
    ) -> Awaitable[None] | None:
        """Record the sockets of a context, or of the proxy, in a file."""

    def stop_capture(self, context: ContextFilter | None) -> Awaitable[None] | None:
        """End the recording of a context, or of the proxy."""

    def forget(self, owner: Owner) -> None:
        """End the captures that a script started, and its outage."""

    def begin_outage(self, holder: object, context: ContextFilter | None) -> Awaitable[None] | None:
        """Take the network away from the apps of a context, or from all, until it is given back."""

    def end_outage(
        self, *, holder: object = None, context: ContextFilter | None = None
    ) -> Awaitable[None] | None:
        """End the outages of a holder, those of a context, or (without either) all."""

    def annotate(self, text: str, context: ContextFilter | None) -> Awaitable[None] | None:
        """Write a remark into the running capture of a context, or of the proxy."""

    async def apps_seen(self) -> AppsSeen:
        """The counts of apps' connections and requests, and the TLS handshakes that failed."""

    def replay(self, path: Path, **options: Any) -> "ReplayHandler":
        """A route's handler that plays a capture."""


class ReplayHandler(Protocol):
    """A recorded server."""

    mismatches: deque[Any]
    """The newest messages of apps that were not the recorded ones; `str` of one says what differs."""
    finished: int
    """The number of sockets whose recording was played to its end."""
    started: Completion[None]
    """Awaiting it returns when the proxy has the route."""

    def unplayed(self) -> list[str]:
        """A sentence for each recorded socket that was not opened, or not played to its end."""

    def matches(self, url: str) -> bool:
        """True if a socket with this URL gets the recording."""

    def __call__(self, route: WebSocketRoute) -> object:
        """Play to a socket."""
