"""Calls of a remote client's user, as messages to the proxy."""

import asyncio
import inspect
import re
from collections.abc import Awaitable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from wirewright.capture.redaction import redacted_names
from wirewright.capture.replay.as_server import Replay
from wirewright.model import route as model_route
from wirewright.model.app_connections import AppsSeen
from wirewright.model.close_codes import CloseTarget
from wirewright.model.context_filter import ContextFilter
from wirewright.model.history import HistoryLimit
from wirewright.model.matching import Globs, LateMatch, UrlMatch
from wirewright.model.ownership import Owner
from wirewright.model.route import WebSocketRoute
from wirewright.model.route_control import RouteControl
from wirewright.model.route_table import Rule
from wirewright.model.websocket import WebSocket
from wirewright.printable import get_logger
from wirewright.remote import protocol
from wirewright.remote.client_sender import ClientSender
from wirewright.values import Conditions, Direction, Payload

__tracebackhide__ = True  # pytest shows the line that calls

logger = get_logger(__name__)


class RemoteContexts:
    """The contexts of a remote client, by the numbers under which the proxy knows them."""

    def __init__(self, sender: ClientSender) -> None:
        self._sender = sender
        self._numbers: dict[ContextFilter, int] = {}
        self._last = 0

    def number(self, context: ContextFilter | None) -> int | None:
        """The number of a context; None for the proxy itself."""
        return None if context is None else self._numbers[context]

    def open(self, context: ContextFilter) -> Awaitable[None]:
        """Have the proxy make a context."""
        self._last += 1
        self._numbers[context] = self._last
        return self._sender.command(
            protocol.OpenContext,
            context=self._last,
            device=device_of(context),
            parent=self.number(context.parent),
        )

    def close(self, context: ContextFilter) -> Awaitable[None]:
        """Have the proxy close a context."""
        return self._sender.command(protocol.CloseContext, context=self._numbers.pop(context))


class RemoteHost:
    """The host of a remote client's Proxy: the proxy that it is connected to."""

    def __init__(self, sender: ClientSender, welcome: protocol.Welcome, contexts: RemoteContexts) -> None:
        self._sender, self._contexts = sender, contexts
        self.port = welcome.port
        self.ca_certificate = Path(welcome.ca_certificate)
        self.history = HistoryLimit(welcome.history_messages, welcome.history_bytes)
        self.captures: set[ContextFilter | None] = set()
        """The contexts whose captures this client has started, and not ended; None is the proxy."""

    def forget(self, owner: Owner) -> None:
        """A client is no script of the proxy's."""

    def start_capture(self, path: Path, context: ContextFilter | None, **options: Any) -> Awaitable[None]:
        del options["owner"]
        url = describe(options.pop("url"))
        if isinstance(url, protocol.Function):
            raise TypeError("url must be a glob or a regex: the proxy cannot ask a function for a capture")
        redact = options.pop("redact")
        started = self._sender.command(
            protocol.StartCapture,
            path=str(path.absolute()),  # of this program's folder
            url=url,
            redact=None if redact is None else redacted_names(redact),
            context=self._contexts.number(context),
            **options,
        )
        started.add_done_callback(partial(self._note_capture, context))
        return started

    def _note_capture(self, context: ContextFilter | None, started: "asyncio.Future[None]") -> None:
        # Another program's capture may run where this one was refused.
        if not started.cancelled() and started.exception() is None:
            self.captures.add(context)

    def stop_capture(self, context: ContextFilter | None) -> Awaitable[None]:
        self.captures.discard(context)
        return self._sender.command(protocol.StopCapture, context=self._contexts.number(context))

    def annotate(self, text: str, context: ContextFilter | None) -> Awaitable[None]:
        if not isinstance(text, str):
            raise TypeError(f"a remark must be a str, not {type(text).__name__}")
        return self._sender.command(protocol.Annotate, text=text, context=self._contexts.number(context))

    def begin_outage(self, holder: object, context: ContextFilter | None) -> Awaitable[None]:
        return self._sender.command(protocol.Offline, context=self._contexts.number(context))

    def end_outage(self, *, holder: object = None, context: ContextFilter | None = None) -> Awaitable[None]:
        number = self._contexts.number(context)
        return self._sender.command(protocol.Online, context=number, own=holder is not None)

    async def apps_seen(self) -> AppsSeen:
        await self._sender.command(protocol.CountApps)
        return self._sender.apps_seen

    def replay(self, path: Path, **options: Any) -> Replay:
        return Replay(path, **options)


class RemoteSocketCarrier:
    """The carrier of a remote client's socket."""

    def __init__(self, sender: ClientSender, key: str) -> None:
        self._sender = sender
        self._key = key

    def send(self, payload: Payload, *, direction: Direction) -> Awaitable[None]:
        return self._sender.command(protocol.Send, key=self._key, payload=payload, direction=direction)

    def close(self, code: int, reason: str, *, to: CloseTarget) -> Awaitable[None]:
        return self._sender.command(protocol.Close, key=self._key, code=code, reason=reason, to=to)

    def abort(self, how: protocol.CutBy) -> Awaitable[None]:
        return self._sender.command(protocol.Abort, key=self._key, how=how)

    def order_conditions(self, conditions: Conditions, *, direction: Direction) -> Awaitable[None] | None:
        order, values = self._sender.command_of_any_thread, asdict(conditions)
        return order(protocol.Conditions, key=self._key, direction=direction, values=values)


class RemoteRouteCarrier:
    """The carrier of a remote client's route."""

    def __init__(self, sender: ClientSender, key: str, socket: WebSocket) -> None:
        self._sender = sender
        self._key = key
        self.route = RouteControl(WebSocketRoute(socket, self))

    async def decide(self, rule: Rule) -> Any:
        """Call a rule's handler, and describe what it has decided."""
        try:
            result = rule.call(self.route.side)
            if inspect.isawaitable(result):
                await result
        finally:
            answer = self.route.decide()
        match answer:
            case model_route.Connect():
                return protocol.Connect(
                    protocol.fields_of_changes(answer.headers), answer.url, answer.is_stand_in
                )
            case model_route.Reject():
                reject = protocol.Reject(answer.status, answer.headers.octets(), answer.body)
                return protocol.checked(reject)
            case model_route.Abort():
                return protocol.Cut(answer.how)
            case model_route.Mock():
                return protocol.Mock(answer.protocol, answer.headers.octets())

    async def handle(self, message: protocol.RouteMessage | protocol.RouteEnd) -> None:
        """Give a message or an end to its handler, and say when that is done."""
        side = self.route if message.direction is Direction.SENT else self.route.server
        if isinstance(message, protocol.RouteMessage):
            working = side.receive(message.payload)
        else:
            working = side.closed(message.code, message.reason)
        if working is not None:
            await working
        self._sender.put(protocol.Handled(self._key, message.number, message.direction))

    def lost(self) -> None:
        logger.error("%s: its handler took too long: the proxy goes on without it", self.route)

    def check_can(self, what: str) -> None:
        """The proxy checks it."""

    def order(self, message: Payload, *, direction: Direction) -> None:
        self._sender.put(protocol.RouteSend(message, self._key, direction))

    def order_close(self, code: int, reason: str, *, direction: Direction) -> None:
        self._sender.put(protocol.RouteClose(self._key, direction, code, reason))

    def abort(self, how: protocol.CutBy) -> None:
        self._sender.put(protocol.RouteAbort(self._key, how))

    def handlers_changed(self) -> None:
        app, server = self.route, self.route.server
        self._sender.put(
            protocol.Handlers(
                self._key,
                app_messages=app.handles_messages,
                app_end=app.handles_close,
                server_messages=server.handles_messages,
                server_end=server.handles_close,
            )
        )


def device_of(context: ContextFilter) -> protocol.Device:
    """The apps of a context, without the contexts around it, as a message."""
    return protocol.Device(context.client, context.port, context.user)


def describe(url: UrlMatch | LateMatch | None) -> protocol.UrlRule:
    """The description of a rule for the proxy."""
    if url is None or isinstance(url, str):
        return protocol.Glob(url or "")
    if isinstance(url, Globs):
        return protocol.Globs(url.globs)
    if isinstance(url, re.Pattern):
        return protocol.Regex(url.pattern, url.flags)
    return protocol.Function()
