"""The base of the carriers of a flow's socket: sends, closes and cuts by events for its layer."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any, Literal

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.events import MessageInjected
from mitmproxy.proxy.layers.websocket import WebSocketMessageInjected
from mitmproxy.websocket import WebSocketMessage

from wirewright.mitm import end_reasons
from wirewright.mitm.connection_resets import reset_when_closed
from wirewright.mitm.layers.events import Aborted, CloseInjected
from wirewright.mitm.patches import installation
from wirewright.model.close_codes import CloseTarget
from wirewright.model.errors import Error
from wirewright.model.event_loops import call_in_loop, running_loop
from wirewright.model.feed import Feed
from wirewright.model.history import Window
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.state import control
from wirewright.values import Conditions, Direction, Payload
from wirewright.wire.observer import Order
from wirewright.wire.stream import Close, content_of

ABORTED = "abort() was called"
"""The `close_reason` of a socket that `abort()` ended."""


class FlowSocket(ABC):
    """Sends by events for the layer of a socket, in the order of the calls. Any thread may call it."""

    _feed: Feed
    """Set once the socket is open, or has a route."""

    def __init__(self, flow: http.HTTPFlow) -> None:
        self.flow = flow
        self.route: RouteControl | None = None
        """The route that decides on its messages and its end; None without one."""
        self.routes_asked = False
        """True once the routes were asked about the handshake, or another addon answered it first."""
        self._is_open = False
        self._collected: list[Order] | None = []
        """The orders that are given to the layer together: those before the socket is open, and those during
        a call of the layer. None while each order is carried out when it comes."""

    def opened(self) -> list[Order]:
        """The socket is open, and its layer there. Returns the orders until now."""
        self._is_open = True
        orders, self._collected = self._collected or [], None
        return orders

    @abstractmethod
    def end(self, feed: Feed) -> None:
        """The socket has ended."""

    def send(self, payload: Payload, *, direction: Direction) -> None:
        message = new_message(payload, direction=direction)
        self.inject(WebSocketMessageInjected(self.flow, message))

    def close(self, code: int, reason: str, *, to: CloseTarget) -> None:
        if to == "both":
            check_our_layer("close")
            self.inject(CloseInjected(self.flow, Close(code, reason)))
            return
        self.check_can(f"close(to={to!r})")
        if to == "server" and self.route is not None and not self.route.is_connected:
            raise Error("close(to='server') needs a server, and this socket has none: it is mocked")
        direction = Direction.RECEIVED if to == "client" else Direction.SENT
        self.order_close(code, reason, direction=direction)

    def cut_event(self, reason: str) -> Aborted | None:
        """The event for which the layer cuts both connections; None if no layer of Wirewright runs."""
        return Aborted(self.flow, reason) if self._is_open and installation.is_installed() else None

    def abort(self, how: Literal["fin", "rst"] = "fin") -> None:
        if self._is_open:
            check_our_layer("cut")
        if how == "rst":
            call_in_loop(ctx.master.event_loop, self._reset)
        else:
            call_in_loop(ctx.master.event_loop, self.cut, ABORTED)

    def cut(self, reason: str) -> None:
        """End both connections, for this reason. In the proxy's event loop."""
        if (event := self.cut_event(reason)) is not None:
            self.tell(event)
        elif connection := proxyserver().connections.get(self.flow.client_conn.id):
            end_reasons.note(self.flow, reason)
            connection.close_connection(connection.client)

    def _reset(self) -> None:
        handler, feed = proxyserver().connections.get(self.flow.client_conn.id), control.feed(self.flow.id)
        if handler is None:
            return  # the connections have ended
        transports, event = reset_when_closed(handler, self.flow), self.cut_event(ABORTED)
        if event is None or feed is None:
            self.cut(ABORTED)
            return

        async def reset() -> None:
            await handler.server_event(event)  # the end is reported first
            for transport in transports:
                transport.abort()  # which drops what is unsent

        feed.run(reset())

    def tell(self, event: MessageInjected[Any]) -> None:
        """Have the layer handle an event, if it still does."""
        with suppress(Error):
            self.inject(event)

    def inject(self, event: MessageInjected[Any]) -> None:
        """Have the layer handle an event. Raises Error if its connection is gone."""
        loop = ctx.master.event_loop
        if running_loop() is not loop:
            call_in_loop(loop, self.inject, event)
            return
        try:
            proxyserver().inject_event(event)
        except ValueError:
            raise Error("Socket closed") from None

    # For a route, as its carrier

    def begin_route(self, feed: Feed) -> RouteControl:
        """A route is to decide on the socket, beginning with its handshake."""
        self._feed, self.route = feed, RouteControl(WebSocketRoute(feed.socket, self))
        return self.route

    @abstractmethod
    def check_can(self, what: str) -> None:
        """Raise Error if this lane has no such thing."""

    def order(self, message: Payload, *, direction: Direction) -> None:
        self._order(Order(direction, message))

    def order_close(self, code: int, reason: str, *, direction: Direction) -> None:
        self._order(Order(direction, Close(code, reason)))

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> None:
        self._order(Order(direction, conditions))

    def handlers_changed(self) -> None:
        self._feed.handlers_changed()

    def _order(self, order: Order) -> None:
        call_in_loop(ctx.master.event_loop, self._take_order, order)

    def _take_order(self, order: Order) -> None:
        if self._collected is None:
            self._carry_out(order)
        else:
            self._collected.append(order)

    @abstractmethod
    def _carry_out(self, order: Order) -> None:
        """Have an order carried out: the socket is open."""

    def _side(self, direction: Direction) -> RouteControl | None:
        """The side of the route that a direction comes from."""
        if self.route is None:
            return None
        return self.route if direction is Direction.SENT else self.route.server


def check_our_layer(verb: str) -> None:
    """Raise Error if only mitmproxy's own layers carry sockets: they take no orders."""
    if not installation.is_installed():
        raise Error(f"this mitmproxy cannot {verb} a socket from outside: see its warning at the start")


def proxyserver() -> Proxyserver:
    """mitmproxy's addon that owns the ports and the connections."""
    server = ctx.master.addons.get("proxyserver")
    assert isinstance(server, Proxyserver)
    return server


def trim(messages: list[WebSocketMessage], kept: Window) -> None:
    """Drop the oldest messages beyond what is to be kept; the newest stays, as others find it with `[-1]`."""
    surplus = list.__len__(messages) - max(1, len(kept))
    if surplus > 0:  # somebody else may have taken some out
        del messages[:surplus]


def server_address(flow: http.HTTPFlow) -> tuple[str, int] | None:
    """The host and the port that a flow's server was reached at; None if there was no server."""
    peer = flow.server_conn.peername
    return peer[:2] if peer else None


def new_message(payload: Payload, *, direction: Direction, injected: bool = False) -> WebSocketMessage:
    """A message as mitmproxy has it."""
    opcode, content = content_of(payload)
    return WebSocketMessage(opcode, direction is Direction.SENT, content, injected=injected)


def payload_of(message: WebSocketMessage) -> Payload:
    """The payload of a message. Bytes of text that are not UTF-8 are replaced, as mitmproxy does it."""
    return message.content.decode(errors="replace") if message.is_text else message.content


def direction_of(message: WebSocketMessage) -> Direction:
    """The direction of a message of mitmproxy's."""
    return Direction.SENT if message.from_client else Direction.RECEIVED
