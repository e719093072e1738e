"""`expect` of the sync API.

https://playwright.dev/python/docs/test-assertions
"""

from typing import Generic, TypeVar, cast

from wirewright.model import assertions as own_assertions
from wirewright.model import reconnection
from wirewright.model.event_wait import Timeout
from wirewright.model.matching import UrlMatch
from wirewright.model.proxy import Proxy
from wirewright.model.reconnection import RECONNECT_TIMEOUT
from wirewright.model.steps import steps_of
from wirewright.model.websocket import WebSocket
from wirewright.sync.wrappers import Wrapper, stepped_method

__tracebackhide__ = True  # pytest shows the line that calls

SocketT = TypeVar("SocketT")
"""The class of sockets of the sync API."""


class SocketAssertions(Wrapper[own_assertions.SocketAssertions]):
    """Assertions on a socket. Each method raises AssertionError if it does not hold."""

    def __init__(self, socket: Wrapper[WebSocket]) -> None:
        super().__init__(own_assertions.SocketAssertions(socket._own), socket._wrappers)

    to_have_received = stepped_method(own_assertions.SocketAssertions.to_have_received)
    to_have_sent = stepped_method(own_assertions.SocketAssertions.to_have_sent)
    not_to_have_received = stepped_method(own_assertions.SocketAssertions.not_to_have_received)
    not_to_have_sent = stepped_method(own_assertions.SocketAssertions.not_to_have_sent)
    to_be_open = stepped_method(own_assertions.SocketAssertions.to_be_open)
    to_be_closed = stepped_method(own_assertions.SocketAssertions.to_be_closed)
    to_have_subprotocol = stepped_method(own_assertions.SocketAssertions.to_have_subprotocol)


class ProxyAssertions(Wrapper[reconnection.ProxyAssertions], Generic[SocketT]):
    """Assertions on a proxy. Each method raises AssertionError if it does not hold."""

    def __init__(self, proxy: Wrapper[Proxy]) -> None:
        own = reconnection.ProxyAssertions(proxy._own, proxy._wrappers.since)
        super().__init__(own, proxy._wrappers)

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
        steps = steps_of(reconnection.ProxyAssertions.to_reconnect)
        return cast("SocketT", self._wrappers.of(self._run(steps(self._own, url, within=within))))
