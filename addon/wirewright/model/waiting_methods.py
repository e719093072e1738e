"""The methods that wait for events of a WebSocket and of a Proxy, written once for both APIs.

https://playwright.dev/python/docs/api/class-websocket#web-socket-wait-for-event
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from wirewright.model.event_wait import Predicate, Timeout
from wirewright.model.matching import UrlPattern
from wirewright.model.socket_match import socket_match

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls

SocketT = TypeVar("SocketT")
"""The class of sockets of an API."""
BlockT = TypeVar("BlockT")
"""The context manager that its `expect_event` returns."""
WaitT = TypeVar("WaitT")
"""The result of its `wait_for_event`: a socket, or a coroutine with one."""


class SocketWaits(ABC):
    """The waits for events of a WebSocket. Each API declares the types of their values."""

    def expect_event(
        self,
        event: str,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> Any:
        """Wait for an event that the block causes: the listener is there before the block runs.

        `history=True` first tries the frames that the socket still remembers. Right after the code has got
        the socket from `expect_websocket`, a wait begins at the socket's opening (docs/frames.md).

        Raises Error (`Socket closed: 1011 'restart'`, `Socket error: net::ERR_CONNECTION_REFUSED`) or
        TimeoutError at the end of the block.
        """
        return self._expect(event, predicate, timeout, history=history)

    def wait_for_event(
        self,
        event: str,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> Any:
        """The event's next value for which the predicate holds. The listener is there from the call on.

        `history` and the errors are those of `expect_event`. On a socket that is closed already a wait for
        `close` returns at once, and any other one fails.
        """
        return self._wait_for(event, predicate, timeout, history=history)

    @abstractmethod
    def _expect(self, event: str, predicate: Predicate | None, timeout: Timeout, *, history: bool) -> Any:
        """The context manager of a wait."""

    @abstractmethod
    def _wait_for(self, event: str, predicate: Predicate | None, timeout: Timeout, *, history: bool) -> Any:
        """The result of a wait."""


class ProxyWaits(Generic[SocketT, BlockT, WaitT], ABC):
    """The waits for sockets of a Proxy."""

    def expect_event(
        self,
        event: Literal["websocket"],
        predicate: Callable[[SocketT], object] | Callable[[], object] | None = None,
        timeout: Timeout = None,
    ) -> BlockT:
        """Wait for an event that the block causes: the listener is there before the block runs."""
        return self._expect(event, predicate, timeout, "proxy.expect_event(...)")

    def wait_for_event(
        self,
        event: Literal["websocket"],
        predicate: Callable[[SocketT], object] | Callable[[], object] | None = None,
        timeout: Timeout = None,
    ) -> WaitT:
        """The event's next value for which the predicate holds. The listener is there from the call on."""
        return self._wait_for(event, predicate, timeout, "proxy.wait_for_event(...)")

    def expect_websocket(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        *,
        opened: bool = False,
    ) -> BlockT:
        """Wait for a socket that the block causes, of a matching URL and for which the predicate holds.

        As in Playwright, the first argument may be the predicate: a callable is given the WebSocket. With
        `opened` the block also waits until the socket is open. It raises Error if the handshake fails.
        """
        match = socket_match(url, predicate, opened=opened, unwrap=self._model_socket)
        return self._expect("websocket", match, timeout, "proxy.expect_websocket(...)")

    def wait_for_websocket(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        *,
        opened: bool = False,
    ) -> WaitT:
        """The next socket of a matching URL for which the predicate holds, as `expect_websocket`."""
        match = socket_match(url, predicate, opened=opened, unwrap=self._model_socket)
        return self._wait_for("websocket", match, timeout, "proxy.wait_for_websocket(...)")

    @abstractmethod
    def _expect(self, event: str, predicate: Predicate | None, timeout: Timeout, call: str) -> BlockT:
        """The context manager of a wait. `call` is the call that makes it, for errors."""

    @abstractmethod
    def _wait_for(self, event: str, predicate: Predicate | None, timeout: Timeout, call: str) -> WaitT:
        """The result of a wait. `call` is the call that makes it, for errors."""

    @abstractmethod
    def _model_socket(self, socket: SocketT) -> "WebSocket":
        """The socket of the model behind one of this API."""
