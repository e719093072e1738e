"""`expect` of the sync API.

https://playwright.dev/python/docs/test-assertions
"""

from typing import Any, Generic, TypeVar, cast

from wirewright.model.assertions import SocketChecks
from wirewright.model.event_wait import Timeout
from wirewright.model.frame_match import Match
from wirewright.model.matching import UrlMatch
from wirewright.model.proxy import Proxy
from wirewright.model.reconnection import RECONNECT_TIMEOUT, ProxyChecks
from wirewright.model.websocket import WebSocket
from wirewright.sync.wrappers import Wrapper

__tracebackhide__ = True  # pytest shows the line that calls

SocketT = TypeVar("SocketT")
"""The class of sockets of the sync API."""


class SocketAssertions:
    """Assertions on a socket. Each method raises AssertionError if it does not hold."""

    def __init__(self, socket: Wrapper[WebSocket]) -> None:
        self._run = socket._run
        self._checks = SocketChecks(socket._own)

    def to_have_received(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        count: int | None = None,
        timeout: Timeout = None,
    ) -> None:
        """The server has sent a matching frame since the socket's opening, or exactly `count` of them.

        `match` and `json` are those of `ws.next_frame`. Frames that passed before the call count. It waits
        for further ones for `timeout` milliseconds, 5,000 by default; 0 is no limit. Raises TypeError and
        ValueError for arguments that make no sense.
        """
        self._run(self._checks.has_frame("received", match, json, count, timeout))

    def to_have_sent(
        self,
        match: Match | None = None,
        *,
        json: Any = None,
        count: int | None = None,
        timeout: Timeout = None,
    ) -> None:
        """The app has sent a frame that matches; as `to_have_received`."""
        self._run(self._checks.has_frame("sent", match, json, count, timeout))

    def not_to_have_received(
        self, match: Match | None = None, *, json: Any = None, within: Timeout = 0
    ) -> None:
        """The server has sent no frame that matches since the socket's opening, and sends none in the next
        `within` milliseconds. Without `within` it looks at once."""
        self._run(self._checks.has_no_frame("received", match, json, within))

    def not_to_have_sent(self, match: Match | None = None, *, json: Any = None, within: Timeout = 0) -> None:
        """The app has sent no frame that matches; as `not_to_have_received`."""
        self._run(self._checks.has_no_frame("sent", match, json, within))

    def to_be_open(self, *, timeout: Timeout = None) -> None:
        """The handshake succeeded, and the socket is not closed. Waits for the handshake."""
        self._run(self._checks.is_open(timeout))

    def to_be_closed(
        self, *, code: int | None = None, reason: str | None = None, timeout: Timeout = None
    ) -> None:
        """The socket is closed, with this code and reason if they are given. Waits for the end."""
        self._run(self._checks.is_closed(code, reason, timeout))

    def to_have_subprotocol(self, subprotocol: str | None, *, timeout: Timeout = None) -> None:
        """The server chose this subprotocol, or (None) none. Waits for the handshake."""
        self._run(self._checks.has_subprotocol(subprotocol, timeout))


class ProxyAssertions(Generic[SocketT]):
    """Assertions on a proxy. Each method raises AssertionError if it does not hold."""

    def __init__(self, proxy: Wrapper[Proxy]) -> None:
        self._run = proxy._run
        self._wrappers = proxy._wrappers
        self._checks = ProxyChecks(proxy._own, proxy._wrappers.since)

    def to_reconnect(self, url: UrlMatch | None = None, *, within: Timeout = RECONNECT_TIMEOUT) -> SocketT:
        """An app has opened a new socket of a matching URL after the last one ended. Returns the new one.

        The end and the new socket may both have come before the call. If no matching socket has ended yet,
        it waits for that, too. Only the end of a socket that was open counts: a handshake that failed is no
        end. `within` is in milliseconds, for both together; 0 is no limit. With the fixture of a test, only
        sockets that end during the test count.

        The failure says how the last socket ended, and how the handshakes since then failed. The proxy
        remembers the newest 1,000 ends, a remote client those since it has connected. Raises
        ValueError and TypeError for arguments that make no sense.
        """
        return cast("SocketT", self._wrappers.of(self._run(self._checks.reconnects(url, within))))
