"""A routed socket whose handler lives in a client: the proxy's side of it."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from wirewright.model.route import WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.outbox import Outbox
from wirewright.values import Direction, Payload

logger = get_logger(__name__)


class RemoteRoute:
    """Asks the client, carries out what it orders, and falls back where it takes too long or is gone."""

    def __init__(
        self,
        key: str,
        command: protocol.Route,
        route: WebSocketRoute,
        outbox: Outbox,
        on_timeout: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        """`on_timeout` is called when the client has left a question unanswered for too long. `release` ends
        the conditions under which the client has put the socket."""
        self._key = key
        self._route = route
        self._control = RouteControl(route)
        self._outbox = outbox
        self._on_timeout, self._release = on_timeout, release
        self._seconds = command.timeout / 1000 or None
        self._passes_on = command.fallback == "pass"
        self._is_lost = False
        self._decision: asyncio.Future[protocol.Decided] = asyncio.get_running_loop().create_future()
        self._pending: dict[tuple[Direction, int], asyncio.Future[None]] = {}
        self._numbers = dict.fromkeys(Direction, 0)
        self._has_sent_on = dict.fromkeys(Direction, False)
        """By direction, True if the client has sent a message since it was given the last one."""

    def __repr__(self) -> str:
        return repr(self._route)

    async def decide(self) -> None:
        """Carry out the client's decision on the handshake."""
        try:
            decided = await asyncio.wait_for(asyncio.shield(self._decision), self._seconds)
        except TimeoutError:
            self._on_timeout()
            self._fall_back()
            return
        if not self._is_lost:
            self._answer(decided.answer)

    def handle(self, message: Any) -> None:
        """Handle an order or an answer of the client. Raises ValueError and TypeError."""
        if self._is_lost:
            return
        match message:
            case protocol.Decided():
                if not self._decision.done():
                    self._decision.set_result(message)
            case protocol.Handled():
                pending = self._pending.pop((message.direction, message.number), None)
                if pending is not None and not pending.done():
                    pending.set_result(None)
            case protocol.RouteSend():
                self._has_sent_on[message.direction] = True
                self._destination(message.direction).send(message.payload)
            case protocol.RouteClose():
                side = self._destination(message.direction)
                side.close() if message.code == 1005 else side.close(message.code, message.reason)
            case protocol.RouteAbort():
                self._route.abort(message.how)
            case protocol.Handlers():
                self._set_handlers(message)

    async def drained(self) -> None:
        """Wait until the client has answered all messages and ends that were sent to it."""
        await asyncio.sleep(0)  # an end that is reported now is sent to the client in the next turns
        await asyncio.sleep(0)
        while self._pending:
            await asyncio.wait(self._pending.values())

    def fail(self) -> None:
        """The handler's order is not possible: treat the handler as if it had raised."""
        if self._decision.done():
            self.lose()
        else:
            self._decision.set_result(protocol.Decided(self._key, protocol.Fail()))

    def lose(self) -> None:
        """The client is gone, or too slow."""
        if not self._is_lost:
            self._fall_back()

    @property
    def is_decided(self) -> bool:
        """True if the client has decided on the handshake."""
        return self._decision.done()

    @property
    def is_waiting(self) -> bool:
        """True if the client owes an answer."""
        return not self._decision.done() or bool(self._pending)

    def _destination(self, direction: Direction) -> WebSocketRoute:
        """The side to which messages of a direction go."""
        return self._source(direction.opposite)

    def _source(self, direction: Direction) -> WebSocketRoute:
        """The side from which messages of a direction come."""
        return self._route if direction is Direction.SENT else self._control.server.side

    def _set_handlers(self, message: protocol.Handlers) -> None:
        for direction, handles, ends in (
            (Direction.SENT, message.app_messages, message.app_end),
            (Direction.RECEIVED, message.server_messages, message.server_end),
        ):
            if handles:
                self._source(direction).on_message(partial(self._ask, direction))
            if ends:
                self._source(direction).on_close(partial(self._tell_end, direction))

    def _answer(self, answer: Any) -> None:
        route = self._route
        match answer:
            case protocol.Connect():
                changes = protocol.changes_of(answer.headers)
                if answer.is_stand_in:
                    self._control.stand_in_for_server()
                elif answer.url is None:
                    route.connect_to_server(changes)
                else:
                    route.redirect(answer.url, changes)
            case protocol.Reject():
                route.reject(answer.status, protocol.headers_of(answer.headers).pairs, answer.body)
            case protocol.Cut():
                route.abort(answer.how)
            case protocol.Mock():
                route.accept(answer.protocol, protocol.headers_of(answer.headers).pairs)
            case protocol.Fail():
                socket = self._control.socket
                logger.error("%s: its route's handler has raised in the client", socket)
                socket._state.route_errors += 1
                route.reject(502, {}, b"The handler of this WebSocket's route failed.\n")

    async def _ask(self, direction: Direction, payload: Payload) -> None:
        number = self._next(direction)
        message = protocol.RouteMessage(payload, self._key, number, direction)
        self._has_sent_on[direction] = False
        is_answered = await self._answered(message, direction, number) or self._has_sent_on[direction]
        if not is_answered and self._passes_on and self._control.is_connected:
            self._destination(direction).send(payload)

    async def _tell_end(self, direction: Direction, code: int, reason: str) -> None:
        number = self._next(direction)
        message = protocol.RouteEnd(self._key, number, direction, code, reason)
        if await self._answered(message, direction, number):
            return
        if code == 1006:
            self._route.abort()
        else:  # as it came: a handler may not send every code, such as 1001
            self._route._carrier.order_close(code, reason, direction=direction)

    def _next(self, direction: Direction) -> int:
        self._numbers[direction] += 1
        return self._numbers[direction]

    async def _answered(self, message: Any, direction: Direction, number: int) -> bool:
        """True if the client has handled a message. False if it does not answer in time."""
        if self._is_lost:
            return False
        handled = self._pending[direction, number] = asyncio.get_running_loop().create_future()
        self._outbox.put(message)
        try:
            await asyncio.wait_for(asyncio.shield(handled), self._seconds)
        except TimeoutError:
            self._on_timeout()
            self.lose()
        finally:  # also if it is cancelled, as the socket is over
            self._pending.pop((direction, number), None)
            handled.cancel()
        return not self._is_lost

    def _fall_back(self) -> None:
        self._is_lost = True
        self._outbox.put(protocol.RouteLost(self._key))
        if not self._decision.done():
            self._decision.set_result(protocol.Decided(self._key, protocol.Cut()))
        for pending in self._pending.values():
            if not pending.done():
                pending.set_result(None)
        self._pending.clear()
        if self._passes_on:
            self._release()
        if self._passes_on and not self._control.is_decided:
            self._route.connect_to_server()
        elif not (self._control.is_decided and self._control.is_connected):
            self._route.abort()  # nobody would answer the app
