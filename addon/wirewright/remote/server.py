"""The proxy's end of the protocol: one session for each client. `transport` accepts the connections."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from msgspec.structs import replace

from wirewright.model.app_connections import AppsSeen
from wirewright.model.context_filter import ContextFilter
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.matching import compile_match
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_context import ProxyContext
from wirewright.model.proxy_control import Control
from wirewright.model.websocket import WebSocket
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.client_tap import ClientTap, shortened
from wirewright.remote.codec import InvalidMessage, MessageTooLarge, make_codec
from wirewright.remote.conditioned_sockets import ConditionedSockets
from wirewright.remote.connection import Connection, Disconnected
from wirewright.remote.outbox import Outbox
from wirewright.remote.server_rules import ClientRules, rule_of
from wirewright.remote.snapshots import outside, smaller, snapshot, snapshots
from wirewright.state import app_connections, tls_failures
from wirewright.values import VERSION, Direction, FrameEvent, payload_size

logger = get_logger(__name__)

MOST_CLIENTS = 256
MOST_CONTEXTS = 1_000
"""How many contexts one client may have at a time."""
FIRST_SECONDS = 10.0
"""How long a client may take for its first message."""


def _counted() -> protocol.AppsCounted:
    seen = AppsSeen.now(app_connections, tls_failures)
    failures = [
        protocol.TlsFailed(each.at, each.side, shortened(each.server_name), shortened(each.reason))
        for each in seen.tls_failures
    ]
    return protocol.AppsCounted(seen.connections, seen.requests, seen.at, failures)


class RemoteServer:
    """Serves the clients of a running proxy."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._sessions: set[ClientSession] = set()
        control.watchers.append(self)

    async def serve(self, connection: Connection) -> None:
        """Serve a client until it is gone."""
        if len(self._sessions) >= MOST_CLIENTS:
            await connection.close(1013, f"there are {MOST_CLIENTS} clients already")
            return
        session = ClientSession(self.control, connection)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def opening(self, key: str, feed: Feed) -> None:
        """Report a new socket to the clients."""
        for session in list(self._sessions):
            session.opening(key, feed)

    def stop(self) -> None:
        """Report no more sockets. The caller of `serve` closes the connections."""
        self.control.watchers.remove(self)


class ClientSession:
    """The session of one client."""

    def __init__(self, control: Control, connection: Connection) -> None:
        self.connection = connection
        self.outbox = Outbox(self._overflow)
        self._conditioned = ConditionedSockets(control)
        self.rules = ClientRules(control, self.outbox, self._conditioned, self._follow)
        self._codec = make_codec(connection.subprotocol, protocol.FromClient)
        self._control = control
        self._proxy = control.proxy
        self._subscription = _Subscription(lambda _: False)
        self._events: Sequence[FrameEvent] = ()
        self._taps: dict[str, ClientTap] = {}
        self._contexts: dict[int, ProxyContext] = {}
        """By the client's numbers."""

    async def run(self) -> None:
        """Serve the client until it is gone, or sends a message that it must not send."""
        sending = self._proxy._scope.start(self._send(), None, self)
        code, reason = 1000, ""
        try:
            first = await asyncio.wait_for(self._receive(), FIRST_SECONDS)
            if not isinstance(first, protocol.Subscribe):
                raise InvalidMessage(1002, "the first message must be subscribe")
            self._subscribe(first)
            while True:
                self._handle(await self._receive())
        except InvalidMessage as error:
            code, reason = error.code, error.reason
        except TimeoutError:
            code, reason = 1002, "the first message did not come"
        except Disconnected:
            pass
        finally:
            sending.cancel()
            self._end()  # before its connection, which may be slow to close
        await self.connection.close(code, reason)

    def opening(self, key: str, feed: Feed) -> None:
        """Report a new socket if the client is subscribed to it."""
        if self._subscription.has(feed.socket):
            self._tap(key, feed, self._events)
            self.outbox.put(protocol.Opening(snapshot(key, feed.socket, with_history=False)))
        elif self._subscription.has_url(feed.socket.url) and not self.outbox.is_crowded:
            self.outbox.put(outside(feed.socket))

    def _follow(self, key: str) -> None:
        """Report the life of a socket, and none of its messages, if the client is not subscribed to it."""
        if key not in self._taps and (feed := self._control.feed(key)):
            self._tap(key, feed, ())

    def _tap(self, key: str, feed: Feed, events: Sequence[FrameEvent]) -> None:
        tap = self._taps[key] = ClientTap(
            key, feed.socket, self.outbox, events, lambda: self._taps.pop(key, None)
        )
        feed.attach(tap)

    async def _send(self) -> None:
        try:
            while True:
                async for data in self._encode(await self.outbox.take()):
                    await self.connection.send(data)
        except Disconnected:
            pass  # `run` ends, too
        except MessageTooLarge:
            logger.error("a client of the proxy is sent away: a message to it would be too large")
            await self.connection.close(1009, "a message of the proxy is too large for this subprotocol")
        except Exception:
            logger.exception("a message to a remote client could not be sent")
            await self.connection.close(1011, "the proxy could not write a message")

    async def _encode(self, message: Any) -> AsyncIterator[Any]:
        """A message as it is sent, in parts if it is too large for a client.

        Raises MessageTooLarge for a message that has no part that could be left out.
        """
        try:
            encoded = await self._write(message)
        except MessageTooLarge:
            for part in self._parts(message):
                async for data in self._encode(part):
                    yield data
        else:
            for data in encoded:
                yield data

    async def _write(self, message: Any) -> list[Any]:
        steps = self._codec.encode_in_steps(message)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return cast(list[Any], end.value)
            await asyncio.sleep(0)

    def _parts(self, message: Any) -> Sequence[Any]:
        """Smaller messages in the place of one that is too large. Frames that are left out are counted."""
        match message:
            case protocol.Frames(payloads=[payload]):
                return [protocol.Missed(message.key, message.event, 1, payload_size(payload))]
            case protocol.Frames(payloads=payloads):
                middle = len(payloads) // 2
                return [
                    replace(message, payloads=payloads[:middle]),
                    replace(message, payloads=payloads[middle:], number=message.number + middle),
                ]
            case protocol.RouteMessage():
                self.rules.lose(message)
                return []
        if (part := smaller(message)) is not None:
            return [part]
        raise MessageTooLarge

    def _overflow(self) -> None:
        logger.error("a client of the proxy leaves too much waiting: it is sent away")
        closing = self.connection.close(1008, "this client leaves too much waiting")
        self._proxy._scope.start(closing, None, self)

    async def _receive(self) -> Any:
        while True:
            message = self._codec.decode(await self.connection.receive())
            if message is not None:
                return message

    def _subscribe(self, message: protocol.Subscribe) -> None:
        try:
            self._subscription = _Subscription.of(message)
        except ValueError as error:
            raise InvalidMessage(1007, str(error)[:100]) from None
        self._events = message.events
        host = self._proxy._running_host()
        feeds = self._control.feeds().items()
        meant = [(key, feed) for key, feed in feeds if self._subscription.has(feed.socket)]
        for key, feed in meant:
            self._tap(key, feed, self._events)
        self.outbox.put(
            protocol.Welcome(
                program=f"wirewright {VERSION}",
                port=host.port,
                ca_certificate=str(host.ca_certificate),
                history_messages=host.history.messages,
                history_bytes=host.history.size,
                sockets=snapshots(meant, with_history=bool(self._events)),
            )
        )

    def _handle(self, message: Any) -> None:
        self.rules.is_late = False
        if isinstance(message, protocol.Command):
            self._carry_out(message)
        elif isinstance(message, protocol.Subscribe):
            raise InvalidMessage(1002, "subscribe comes once")
        else:
            self.rules.handle(message)

    def _carry_out(self, command: Any) -> None:
        try:
            self._do(command)
        except (Error, OSError, ValueError, TypeError) as error:
            kind = "Error" if isinstance(error, (Error, OSError)) else type(error).__name__
            kind = kind if kind in ("Error", "TypeError") else "ValueError"
            said = shortened(str(error))
            if isinstance(command, protocol.Conditions) and isinstance(error, Error):
                self.rules.conditions_refused(command.key, error)
            self.outbox.put(protocol.Refused(command.id, kind, said))  # type: ignore[arg-type]
        else:
            self.outbox.put(protocol.Succeeded(command.id))

    def _do(self, command: Any) -> None:
        match command:
            case protocol.Send():
                socket = self._socket(command.key)
                if command.direction is Direction.RECEIVED:
                    socket.send_to_client(command.payload)
                else:
                    socket.send_to_server(command.payload)
            case protocol.Close():
                self._socket(command.key).close(command.code, command.reason, to=command.to)
            case protocol.Abort():
                self._socket(command.key).abort(command.how)
            case protocol.Conditions():
                self._conditioned.put_under(command)
            case protocol.Offline():
                self._context(command.context)._begin_outage(self)
            case protocol.Online():
                if command.own:
                    self._proxy._end_outage(self)
                else:
                    self._context(command.context).online()
            case protocol.OpenContext():
                self._open_context(command)
            case protocol.CloseContext():
                if context := self._contexts.pop(command.context, None):
                    context.close()
            case protocol.Route():
                self.rules.add(command, self._context(command.context)._filter)
            case protocol.Unroute():
                self.rules.remove(command.rule)
            case protocol.StartCapture():
                names = ("max_payload", "redact", "max_size", "rotate", "min_free")
                options = {name: getattr(command, name) for name in names}
                proxy = self._context(command.context)
                proxy.start_capture(command.path, url=rule_of(command.url), **options)
            case protocol.StopCapture():
                self._context(command.context).stop_capture()
            case protocol.Annotate():
                self._context(command.context).annotate(command.text)
            case protocol.CountApps():
                self.outbox.put(_counted())

    def _open_context(self, command: protocol.OpenContext) -> None:
        if len(self._contexts) >= MOST_CONTEXTS:
            raise Error(f"a client may have {MOST_CONTEXTS:,} contexts")
        if command.context in self._contexts:
            raise Error(f"there is a context {command.context} already")
        parent = self._context(command.parent)
        device = command.device
        context = parent.context(client=device.client, port=device.port, user=device.user)
        self._contexts[command.context] = context

    def _context(self, number: int | None) -> Proxy:
        """The context with a number of the client's; the proxy for None."""
        if number is None:
            return self._proxy
        if number not in self._contexts:
            raise Error(f"there is no context {number}")
        return self._contexts[number]

    def _socket(self, key: str) -> WebSocket:
        feed = self._control.feed(key)
        if feed is None:
            raise Error("Socket closed")
        return feed.socket

    def _end(self) -> None:
        for key, tap in self._taps.items():
            if feed := self._control.feed(key):
                feed.detach(tap)
        self.rules.end()
        self._conditioned.end()
        if (host := self._proxy._state.host) is not None:
            host.end_outage(holder=self)
        for context in self._contexts.values():
            context.close()


@dataclass(frozen=True)
class _Subscription:
    """The sockets that a client subscribes to."""

    has_url: Callable[[str], bool]
    """True if a URL matches."""
    device: ContextFilter | None = None
    """None for the sockets of all apps."""

    @staticmethod
    def of(message: protocol.Subscribe) -> "_Subscription":
        """Raises ValueError."""
        device = message.device
        filtering = None if device is None else ContextFilter(device.client, device.port, device.user)
        return _Subscription(compile_match(rule_of(message.url)), filtering)

    def has(self, socket: WebSocket) -> bool:
        """True if it is one of these sockets."""
        is_of_device = self.device is None or self.device.accepts(socket._origin)
        return is_of_device and self.has_url(socket.url)
