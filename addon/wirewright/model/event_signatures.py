"""The static types of methods that take the name of an event.

Type checkers know by them which values an event has, and refuse the name of an event that there is not. The
sync and the async API share them: they differ in the class of the socket, and in what a wait returns.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeVar, overload

from wirewright.model.event_wait import Timeout
from wirewright.values import FrameEvent, Payload

SocketT_co = TypeVar("SocketT_co", covariant=True)
OfFrameT_co = TypeVar("OfFrameT_co", covariant=True)
OfSocketT_co = TypeVar("OfSocketT_co", covariant=True)
OfTextT_co = TypeVar("OfTextT_co", covariant=True)
OfNumberT_co = TypeVar("OfNumberT_co", covariant=True)
F = TypeVar("F", bound=Callable[..., object])
FrameF = TypeVar("FrameF", bound="Callable[[Payload], object] | Callable[[], object]")
TextF = TypeVar("TextF", bound="Callable[[str], object] | Callable[[], object]")
NumberF = TypeVar("NumberF", bound="Callable[[int], object] | Callable[[], object]")

SocketEvent = Literal["framesent", "framereceived", "close", "socketerror", "missed"]


class SocketListening(Protocol[SocketT_co]):
    """`on` and `once` of a WebSocket. They return the function, and without a function a decorator."""

    @overload
    def __call__(self, event: FrameEvent, f: Callable[[Payload], object]) -> Callable[..., object]: ...
    @overload
    def __call__(
        self, event: Literal["close"], f: Callable[[SocketT_co], object]
    ) -> Callable[..., object]: ...
    @overload
    def __call__(
        self, event: Literal["socketerror"], f: Callable[[str], object]
    ) -> Callable[..., object]: ...
    @overload
    def __call__(self, event: Literal["missed"], f: Callable[[int], object]) -> Callable[..., object]: ...
    @overload
    def __call__(self, event: SocketEvent, f: Callable[[], object]) -> Callable[..., object]: ...
    @overload
    def __call__(self, event: FrameEvent) -> Callable[[FrameF], FrameF]: ...
    @overload
    def __call__(self, event: Literal["socketerror"]) -> Callable[[TextF], TextF]: ...
    @overload
    def __call__(self, event: Literal["missed"]) -> Callable[[NumberF], NumberF]: ...
    @overload
    def __call__(self, event: Literal["close"]) -> Callable[[F], F]: ...


class ProxyListening(Protocol[SocketT_co]):
    """`on` and `once` of a Proxy."""

    @overload
    def __call__(
        self, event: Literal["websocket"], f: Callable[[SocketT_co], object]
    ) -> Callable[..., object]: ...
    @overload
    def __call__(self, event: Literal["websocket"], f: Callable[[], object]) -> Callable[..., object]: ...
    @overload
    def __call__(self, event: Literal["websocket"]) -> Callable[[F], F]: ...


class SocketRemoval(Protocol):
    """`remove_listener` of a WebSocket."""

    def __call__(self, event: SocketEvent, f: Callable[..., Any]) -> None: ...


class ProxyRemoval(Protocol):
    """`remove_listener` of a Proxy."""

    def __call__(self, event: Literal["websocket"], f: Callable[..., Any]) -> None: ...


class SocketWaiting(Protocol[SocketT_co, OfFrameT_co, OfSocketT_co, OfTextT_co, OfNumberT_co]):
    """`expect_event` and `wait_for_event` of a WebSocket."""

    @overload
    def __call__(
        self,
        event: FrameEvent,
        predicate: Callable[[Payload], object] | Callable[[], object] | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> OfFrameT_co: ...
    @overload
    def __call__(
        self,
        event: Literal["close"],
        predicate: Callable[[SocketT_co], object] | Callable[[], object] | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> OfSocketT_co: ...
    @overload
    def __call__(
        self,
        event: Literal["socketerror"],
        predicate: Callable[[str], object] | Callable[[], object] | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> OfTextT_co: ...
    @overload
    def __call__(
        self,
        event: Literal["missed"],
        predicate: Callable[[int], object] | Callable[[], object] | None = None,
        timeout: Timeout = None,
        *,
        history: bool = False,
    ) -> OfNumberT_co: ...
