"""The back side of a WebSocket: the carrier of its bytes reports here, and recorders and taps listen here."""

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from wirewright.model.carrier import Carrier
from wirewright.model.emitter import EventTap
from wirewright.model.frame_run import UnreadBatch, total_size
from wirewright.model.handshake import Headers
from wirewright.model.history import History
from wirewright.model.tape import Tape, TapeGroup
from wirewright.model.websocket import WebSocket
from wirewright.printable import get_logger, shown_url
from wirewright.values import DIRECTIONS, ClosedBy, Direction, FrameEvent, Payload

logger = get_logger(__name__)

HANDLER_GRACE_SECONDS = 30.0
"""How long a handler may run after the end of its socket: as long as a wait takes without a timeout."""
LATE_HANDLER_LOG = "%s: a handler was still running %g s after its socket ended, and is cancelled"
"""The log line about such a handler: the URL of its socket, and the seconds."""


NO_TAPES: Mapping[object, Tape] = MappingProxyType({})


class Feed:
    """The back side of a WebSocket: the carrier of its bytes reports here, in the order of the wire.

    Reports after the end of the socket are dropped.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self._failed = False
        self._tapes: Mapping[object, Tape] = NO_TAPES
        self._tape: Tape | None = None
        """Records for all of `_tapes`."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._grace_timer: asyncio.TimerHandle | None = None
        """Runs from the end of the socket on, while there are tasks."""

    def attach(self, tap: EventTap) -> None:
        """Give a tap all events that follow."""
        self.socket._attach(tap)

    def detach(self, tap: EventTap) -> None:
        """Remove a tap."""
        self.socket._detach(tap)

    def _changed(self) -> None:
        for tap in self.socket._taps:
            tap.hear("changed", (self.socket,))

    @property
    def tape(self) -> Tape | None:
        """The recorder of the socket; None if it is not recorded."""
        return self._tape

    def set_tape(self, capture: object, tape: Tape | None) -> None:
        """Have a capture record the socket with a tape; None ends that. `capture` is any key."""
        tapes = {key: each for key, each in self._tapes.items() if key is not capture}
        if tape is not None:
            tapes[capture] = tape
        elif capture in self._tapes:
            for direction in Direction:  # a message that is held is not forwarded in this capture
                self._tapes[capture].settled(None, direction=direction)
        self._tapes = tapes or NO_TAPES
        self._tape = TapeGroup(list(tapes.values())) if len(tapes) > 1 else next(iter(tapes.values()), None)
        self.socket._version += 1  # its messages are wanted, or no longer

    @property
    def is_recorded(self) -> bool:
        """True if the socket is recorded."""
        return self._tape is not None

    @property
    def carrier(self) -> Carrier:
        """The carrier of the socket's bytes."""
        return self.socket._carrier

    def requested(self, headers: Mapping[str, str]) -> None:
        """The handshake goes to the server with these headers."""
        socket, fields = self.socket, Headers(headers)
        if not socket.is_closed() and fields != socket._state.request_headers:  # thousands may keep them
            socket._state.request_headers = fields
            if self._tape:
                self._tape.requested(fields)
            self._changed()

    def answered(self, status: int, headers: Mapping[str, str], body: bytes | None = None) -> None:
        """The handshake was answered. `body` is that of a refusal, decompressed; None if it is not known.

        A status that is not one of three digits (RFC 9112, 4) is 0.
        """
        if not self.socket.is_closed():
            status = status if status in range(1000) else 0
            self.socket._state.status = status
            self.socket._state.response_headers = fields = Headers(headers)
            if self._tape:
                self._tape.answered(status, fields, body)
            self._changed()

    def opened(self, server_address: tuple[str, int] | None = None, at: float | None = None) -> None:
        """The handshake succeeded: messages may follow. `at` is seconds since the epoch; None for now."""
        socket = self.socket
        if socket._state.opened_at is None and not socket.is_closed():
            socket._state.opened_at, socket._state.server_address = at or time.time(), server_address
            for opening in socket._awaiting_opening:
                if not opening.done():
                    opening.set_result(None)
            if self._tape:
                self._tape.opened(socket._state.opened_at, server_address)
            self._changed()

    @property
    def history(self) -> History:
        """The remembered frames."""
        return self.socket._history

    @property
    def listeners_version(self) -> object:
        """A value that changes with the listeners, waits, taps, recorders and handlers of the socket."""
        return self.socket._version, self.socket._history.limit

    def handlers_changed(self) -> None:
        """A handler of the route was set or replaced."""
        self.socket._version += 1

    def is_heard(self, event: str) -> bool:
        """True if there is a listener, a wait or a tap for an event."""
        return self.socket._is_heard(event)

    def frames(self, event: FrameEvent, payloads: Sequence[Payload], at: float | None = None) -> None:
        """Whole messages of one direction that came at the same time, in seconds since the epoch; None for
        now."""
        socket = self.socket
        if socket.is_closed():
            return
        socket._history.extend(DIRECTIONS[event], payloads, at or time.time())
        socket._emit_each(event, payloads)

    def passed(self, payloads: Sequence[Payload], *, direction: Direction, injected: bool = False) -> None:
        """Messages that came at the same time have passed; `injected` ones are the proxy's own."""
        if self._tape:
            self._tape.messages(payloads, total_size(payloads), direction=direction, injected=injected)
        self.frames(direction.event, payloads)

    def passed_unread(self, messages: UnreadBatch, *, direction: Direction) -> None:
        """Messages have passed that nobody listens to. They are read when somebody looks back."""
        if self._tape:
            # One that came in parts is put together here, and not in the recorder's thread.
            payloads = list(messages) if len(messages) == 1 else messages
            self._tape.messages(payloads, messages.size, direction=direction)
        if not self.socket.is_closed():
            self.socket._history.extend_unread(direction, messages, time.time())

    def offered(self, payload: Payload, *, direction: Direction) -> None:
        """A message is held. Only a tape hears of it: `settled` or `ordered` follows."""
        if self._tape:
            self._tape.offered(payload, direction=direction)

    def settled(self, payload: Payload | None, *, direction: Direction, injected: bool = False) -> None:
        """The message that was offered last is sent on as this, or (None) dropped if not settled yet."""
        if self._tape:
            self._tape.settled(payload, direction=direction, injected=injected)

    def ordered(self, payload: Payload, *, direction: Direction) -> None:
        """A route has sent something: what it made of the message that was offered last, or its own."""
        if self._tape:
            self._tape.ordered(payload, direction=direction)

    def too_large(self) -> None:
        """A message has passed that was too large to be read."""
        if self._tape:
            self._tape.too_large()

    def controls(
        self, frames: Sequence[tuple[int, bytes]], *, direction: Direction, injected: bool = False
    ) -> None:
        """Control frames have passed, at the same time: the opcode and the payload of each."""
        if self._tape:
            self._tape.controls(frames, direction=direction, injected=injected)

    def missed(self, frames: int) -> None:
        """Messages were left out. This happens only in a client of a proxy in another process."""
        self.history.total += frames
        self.history.note("missed", frames)
        self.socket._emit_each("missed", (frames,))

    def failed(self, message: str) -> None:
        """The socket failed; `closed` follows."""
        if not self.socket.is_closed() and not self._failed:
            self._failed = True
            self.socket._state.error = message
            if self._tape:
                self._tape.failed(message)
            self.history.note("socketerror", message)
            self.socket._emit_each("socketerror", (message,))

    def run(self, awaitable: Awaitable[object]) -> "asyncio.Task[Any]":
        """Start a task for the socket. It is cancelled HANDLER_GRACE_SECONDS after the end of the socket."""
        task = self.socket._scope.start(awaitable, None, self.socket)
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._forget_task)
            self._begin_grace()
        return task

    def _forget_task(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if self._grace_timer is not None and not self._tasks:
            self._grace_timer.cancel()
            self._grace_timer = None

    def _begin_grace(self) -> None:
        if self._tasks and self._grace_timer is None and self.socket.is_closed():
            self._grace_timer = asyncio.get_running_loop().call_later(
                HANDLER_GRACE_SECONDS, self._cancel_tasks
            )

    def _cancel_tasks(self) -> None:
        self._grace_timer = None
        logger.warning(LATE_HANDLER_LOG, shown_url(self.socket.url), HANDLER_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()

    def closed(
        self,
        code: int | None = None,
        reason: str | None = None,
        by: ClosedBy | None = None,
        at: float | None = None,
    ) -> None:
        """The socket is over. `code` and `reason` are None if it was never open; `at` is seconds since the
        epoch, None for now."""
        socket = self.socket
        if socket.is_closed():
            return
        socket._state.closed_at = at or time.time()
        socket._state.close_code, socket._state.close_reason, socket._state.closed_by = code, reason, by
        if self._tape:
            self._tape.closed(socket._state.closed_at, code, reason, by)
        self._begin_grace()
        self.history.note("close", socket)
        socket._emit_each("close", (socket,))
