"""The proxy's end of the protocol: one session a client. `serving` brings it its connections."""

import asyncio
import re
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import msgspec

from wirewright.model.app_connections import AppsSeen
from wirewright.model.errors import Error
from wirewright.model.feed import Feed
from wirewright.model.history import payload_size
from wirewright.model.matching import Globs, LateMatch, compile_match
from wirewright.model.proxy import Control
from wirewright.model.route import WebSocketRoute
from wirewright.model.websocket import WebSocket
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.codec import InvalidMessage, MessageTooLarge, make_codec
from wirewright.remote.connection import Connection, Disconnected
from wirewright.remote.outbox import Outbox
from wirewright.remote.server_route import RemoteRoute
from wirewright.remote.snapshots import changed, smaller, snapshot, snapshots
from wirewright.state import app_connections, tls_failures
from wirewright.values import VERSION, Direction, FrameEvent, Payload

logger = get_logger(__name__)

MOST_CLIENTS = 256
MOST_RULES = 1_000
"""Of one client."""
LONGEST_REASON = 10_000
"""Characters of an error or a reason that a client gets."""
MOST_CONDITIONED = 100
"""Sockets of one client that are over and whose conditions can still be changed, the newest."""
PROBE_SECONDS = 1.0
"""How long a client that was late may take to show that it still answers."""
PROBE_RULE = -1
"""The number of a rule that no client has: its answer shows that it still answers."""
FIRST_SECONDS = 10.0
"""How long a client may take for its first message."""


def _counted() -> protocol.AppsCounted:
    seen = AppsSeen.now(app_connections, tls_failures)
    failures = [
        protocol.TlsFailed(each.at, each.side, _short(each.server_name), _short(each.reason))
        for each in seen.tls_failures
    ]
    return protocol.AppsCounted(seen.connections, seen.requests, seen.at, failures)


class RemoteServer:
    """What clients of a running proxy share."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._sessions: set[ClientSession] = set()
        control.watchers.append(self)

    async def serve(self, connection: Connection) -> None:
        """A client, until it is gone."""
        if len(self._sessions) >= MOST_CLIENTS:
            await connection.close(1013, f"there are {MOST_CLIENTS} clients already")
            return
        session = ClientSession(self, connection)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def opening(self, key: str, feed: Feed) -> None:
        """Tell of a new socket."""
        for session in list(self._sessions):
            session.opening(key, feed)

    def stop(self) -> None:
        """Tell of no more sockets. The connections are closed by whoever brought them."""
        self.control.watchers.remove(self)


class ClientSession:
    """One client."""

    def __init__(self, server: RemoteServer, connection: Connection) -> None:
        self.server = server
        self.connection = connection
        self.outbox = Outbox(self._overflow)
        self._is_over = False
        self._is_late = False
        """It has left a question unanswered, and has said nothing since."""
        self._is_probed = False
        """Whether a client that was late is asked for a sign of life."""
        self._codec = make_codec(connection.subprotocol, protocol.FromClient)
        self._control = server.control
        self._proxy = server.control.proxy
        self._is_meant: Callable[[str], bool] = lambda _: False
        self._events: Sequence[FrameEvent] = ()
        self._taps: dict[str, _Tap] = {}
        self._rules: dict[int, tuple[Any, Any]] = {}
        self._routes: dict[str, RemoteRoute] = {}
        self._conditioned: OrderedDict[str, RemoteRoute] = OrderedDict()
        """Those of sockets that are over, whose app may not know it yet."""
        self._questions: dict[int, asyncio.Future[bool | None]] = {}
        self._question = 0
        self._asking: Counter[int] = Counter()
        """Handshakes that wait for what each rule says."""
        self._used: dict[int, int] = {}
        """For how many sockets each rule was taken."""

    async def run(self) -> None:
        """Until the client is gone, or says what it must not."""
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
        """A new socket."""
        if self._is_meant(feed.socket.url):
            self._tap(key, feed, self._events)
            self.outbox.put(protocol.Opening(snapshot(key, feed.socket, with_history=False)))

    def _tap(self, key: str, feed: Feed, events: Sequence[FrameEvent]) -> None:
        tap = self._taps[key] = _Tap(key, self.outbox, events, lambda: self._taps.pop(key, None))
        feed.attach(tap)

    async def _send(self) -> None:
        try:
            while True:
                async for data in self._encode(await self.outbox.take()):
                    await self.connection.send(data)
        except Disconnected:
            pass  # whoever receives is told, too
        except MessageTooLarge:
            logger.error("a client of the proxy is sent away: a message to it would be too large")
            await self.connection.close(1009, "a message of the proxy is too large for this subprotocol")
        except Exception:
            logger.exception("a client of the proxy could not be told something")
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
            case protocol.Frames():
                return split_in_halves(message)
            case protocol.RouteMessage(key=key):
                if route := self._routes.get(key):  # None once the socket has ended
                    logger.error("message too large for a remote handler: the fallback of %s holds", route)
                    route.lose()
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
            self._is_meant = compile_match(rule_of(message.url))
        except ValueError as error:
            raise InvalidMessage(1007, str(error)[:100]) from None
        self._events = message.events
        host = self._proxy._running_host()
        feeds = self._control.feeds().items()
        meant = [(key, feed) for key, feed in feeds if self._is_meant(feed.socket.url)]
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
        self._is_late = False
        if isinstance(message, protocol.Command):
            self._carry_out(message)
        elif isinstance(message, protocol.Verdict):
            question = self._questions.pop(message.question, None)
            if question is not None and not question.done():
                question.set_result(message.is_meant)
        elif isinstance(message, protocol.Subscribe):
            raise InvalidMessage(1002, "subscribe comes once")
        elif route := self._routes.get(message.key) or self._conditioned.get(message.key):
            try:
                route.handle(message)
            except (ValueError, TypeError) as error:
                raise InvalidMessage(1007, str(error)[:100]) from None
            except Error as error:  # not in this lane
                logger.error("%s: what its route's handler wants cannot be: %s", message.key, error.message)
                route.fail()

    def _carry_out(self, command: Any) -> None:
        try:
            self._do(command)
        except (Error, OSError, ValueError, TypeError) as error:
            kind = "Error" if isinstance(error, (Error, OSError)) else type(error).__name__
            kind = kind if kind in ("Error", "TypeError") else "ValueError"
            said = _short(str(error))
            self.outbox.put(protocol.Refused(command.id, kind, said))  # type: ignore[arg-type]
        else:
            self.outbox.put(protocol.Succeeded(command.id))

    def _do(self, command: Any) -> None:
        proxy = self._proxy
        match command:
            case protocol.Send():
                socket = self._socket(command.key)
                if command.direction is Direction.RECEIVED:
                    socket.send_to_client(command.payload)
                else:
                    socket.send_to_server(command.payload)
            case protocol.Close():
                self._socket(command.key).close(command.code, command.reason)
            case protocol.Abort():
                self._socket(command.key).abort()
            case protocol.Route():
                self._add_rule(command)
            case protocol.Unroute():
                self._take_back(command.rule)
            case protocol.StartCapture():
                names = ("max_payload", "redact", "max_size", "rotate", "min_free")
                options = {name: getattr(command, name) for name in names}
                proxy.start_capture(command.path, url=rule_of(command.url), **options)
            case protocol.StopCapture():
                proxy.stop_capture()
            case protocol.Annotate():
                proxy.annotate(command.text)
            case protocol.CountApps():
                self.outbox.put(_counted())

    def _socket(self, key: str) -> WebSocket:
        feed = self._control.feed(key)
        if feed is None:
            raise Error("Socket closed")
        return feed.socket

    # Routes

    def _add_rule(self, command: protocol.Route) -> None:
        if len(self._rules) >= MOST_RULES:
            raise Error(f"a client may have {MOST_RULES:,} routes")
        if command.rule in self._rules:
            raise Error(f"there is a rule {command.rule} already")
        if isinstance(command.url, protocol.Function):
            url: Any = _AskedUrl(self, command)
        else:
            url = rule_of(command.url)

        async def handler(route: WebSocketRoute) -> None:
            await self._route(command, route)

        self._proxy.route_web_socket(url, handler, command.times)
        self._rules[command.rule] = url, handler

    async def _route(self, command: protocol.Route, route: WebSocketRoute) -> None:
        try:
            key = self._control.key_of(route.socket)
        except KeyError:
            return  # the app has left while it was asked
        self._used[command.rule] = self._used.get(command.rule, 0) + 1
        if self._used[command.rule] == command.times:
            self._rules.pop(command.rule, None)
        if key not in self._taps and (feed := self._control.feed(key)):
            self._tap(key, feed, ())  # one that was not subscribed to: its life, and none of its messages
        remote = self._routes[key] = RemoteRoute(key, command, route, self.outbox, self._probe_client)
        route.socket.once("close", lambda _: self._proxy._scope.start(self._end_route(key), None, self))
        if self._is_over or self._is_late:
            remote.lose()
            return
        self.outbox.put(protocol.Routed(command.rule, snapshot(key, route.socket, with_history=False)))
        await remote.decide()

    async def _end_route(self, key: str) -> None:
        if route := self._routes.get(key):
            await route.drained()
            del self._routes[key]
            if route.has_conditions:  # what is under way still arrives, or is stuck until they change
                self._conditioned[key] = route
                while len(self._conditioned) > MOST_CONDITIONED:
                    self._conditioned.popitem(last=False)
            self.outbox.put(protocol.RouteOver(key))

    async def ask(self, command: protocol.Route, url: str) -> bool:
        """Whether a rule that is a function of the client's means a URL.

        If the client does not answer, it does where the fallback is to drop the socket.
        """
        fallback = command.fallback == "drop"
        if self._is_over or self._is_late or self.outbox.is_crowded:
            return fallback
        self._asking[command.rule] += 1
        question, answer = self._ask_client(command.rule, url)
        try:
            is_meant = await asyncio.wait_for(answer, command.timeout / 1000 or None)
        except TimeoutError:
            self._is_late = True
            return fallback
        finally:
            self._questions.pop(question, None)
            self._asking[command.rule] -= 1
            if self._is_over and not self._asking[command.rule]:
                # Whoever has asked goes on first: where the rule is taken back, the answer is no.
                asyncio.get_running_loop().call_soon(self._take_back, command.rule)
        return fallback if is_meant is None else is_meant

    def _ask_client(self, rule: int, url: str) -> tuple[int, "asyncio.Future[bool | None]"]:
        """Put a question. Returns its number and the answer to come."""
        self._question += 1
        answer = self._questions[self._question] = asyncio.get_running_loop().create_future()
        self.outbox.put(protocol.Asked(self._question, rule, protocol.plain(url)))
        return self._question, answer

    def _probe_client(self) -> None:
        """Find out whether a client that was late still answers at all, or only one of its handlers hangs."""
        if not self._is_probed and not self._is_late and not self._is_over:
            self._is_probed = True
            self._proxy._scope.start(self._await_sign_of_life(), None, self)

    async def _await_sign_of_life(self) -> None:
        question, answer = self._ask_client(PROBE_RULE, "")
        try:
            await asyncio.wait_for(answer, PROBE_SECONDS)
        except TimeoutError:
            self._is_late = True
            for route in list(self._routes.values()):
                if route.is_waiting:
                    route.lose()
        finally:
            self._is_probed = False
            self._questions.pop(question, None)

    def _take_back(self, number: int) -> None:
        if rule := self._rules.pop(number, None):
            self._proxy.unroute_web_socket(*rule)

    def _end(self) -> None:
        self._is_over = True
        for key, tap in self._taps.items():
            if feed := self._control.feed(key):
                feed.detach(tap)
        for question in self._questions.values():
            if not question.done():
                question.set_result(None)
        for number in list(self._rules):
            if not self._asking[number]:
                self._take_back(number)
        for route in (*self._routes.values(), *self._conditioned.values()):
            with suppress(Error):  # the proxy may be ending itself
                route.lose()


class _Tap:
    """What a client is told of one socket."""

    def __init__(
        self, key: str, outbox: Outbox, events: Sequence[FrameEvent], over: Callable[[], object]
    ) -> None:
        self._over = over
        self._key = key
        self._outbox = outbox
        self.hears = frozenset(events)

    def changed(self, feed: Feed) -> None:
        self._outbox.put(changed(self._key, feed.socket))

    def frames(self, event: FrameEvent, payloads: Sequence[Payload]) -> None:
        self._outbox.frames(self._key, event, payloads, time.time())

    def failed(self, message: str) -> None:
        self._outbox.put(protocol.Failed(self._key, _short(message)))

    def closed(self, feed: Feed) -> None:
        socket = feed.socket
        reason = None if socket.close_reason is None else _short(socket.close_reason)
        self._outbox.closed(
            protocol.Closed(self._key, socket.close_code, reason, socket.closed_by, socket.closed_at)
        )
        self._over()


class _AskedUrl(LateMatch):
    """A rule that is a function of a client's."""

    def __init__(self, session: ClientSession, command: protocol.Route) -> None:
        self._session = session
        self._command = command

    def __call__(self, url: str) -> Awaitable[bool]:
        return self._session.ask(self._command, url)


def rule_of(url: protocol.UrlPattern) -> str | Globs | re.Pattern[str]:
    """As the model has it. Raises ValueError for a regex that is none, and for a glob of several."""
    if isinstance(url, protocol.Glob):
        return url.glob
    if isinstance(url, protocol.Globs):
        return Globs(tuple(url.globs))
    try:
        return re.compile(url.pattern, url.flags & ~re.DEBUG)  # which would print it
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"url must be a regex, and {url.pattern!r} is none: {error}") from None


def _short(text: str) -> str:
    return protocol.plain(text)[:LONGEST_REASON]


def split_in_halves(frames: protocol.Frames) -> tuple[protocol.Frames, protocol.Frames]:
    """The first and the second half of several frames."""
    middle = len(frames.payloads) // 2
    first, last = frames.payloads[:middle], frames.payloads[middle:]
    return (
        msgspec.structs.replace(frames, payloads=first),
        msgspec.structs.replace(frames, payloads=last, number=frames.number + middle),
    )
