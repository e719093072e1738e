"""Watches a socket for a limited time: whatever happens to it wakes the code that waits."""

import asyncio
import builtins
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from wirewright.model.emitter import EmittedEvent
from wirewright.model.errors import EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_wait import TimedWait, Timeout
from wirewright.model.frame import Frame
from wirewright.model.history import total_size
from wirewright.model.socket_text import ENDS, end_text
from wirewright.model.steps import Steps
from wirewright.values import DIRECTIONS, Direction, Payload

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls


MOST_HEARD = 64 * 1024 * 1024
"""Bytes of frames that a watch keeps. Beyond them the oldest are dropped."""


class _HeardFrames(NamedTuple):
    """Frames of one direction that came at the same time."""

    number: int
    """The number of the first one."""
    direction: Direction
    payloads: Sequence[Payload]
    at: float
    """Seconds since the epoch."""

    def frames(self) -> list[Frame]:
        return [
            Frame(number, self.direction, payload, self.at)
            for number, payload in enumerate(self.payloads, self.number)
        ]


class SocketWatch(TimedWait):
    """One watch of a socket, in the proxy's event loop. An `EventTap` of the socket.

    It keeps the frames that come until they are read, however few the socket remembers.
    """

    wants = ("framesent", "framereceived", *ENDS)

    def __init__(self, socket: "WebSocket", timeout: Timeout, awaited: str) -> None:
        """`awaited` is a noun, for the message of a TimeoutError. Raises the errors of TimedWait."""
        self._socket, self._name = socket, awaited
        self.error: Error | None = None
        """The first of: an error or the end of the socket, the end of the proxy, a TimeoutError."""
        self.is_final = False
        """True if the time is up, the socket is closed, or the proxy has ended; not after `socketerror`."""
        self.is_undecided = False
        """True if an async function of the user's has not answered in time."""
        self._heard: deque[_HeardFrames] = deque()
        """The frames that have come since the last `read`, oldest first."""
        self._heard_size = 0
        self._is_over = self._has_changed = False
        self._changed: asyncio.Future[None] | None = None
        """Done at the next change. None while nobody waits for one."""
        self._loop = asyncio.get_running_loop()
        super().__init__(socket._scope, timeout)
        self._deadline = self._loop.time() + self.milliseconds / 1000 if self.milliseconds else None

    @property
    def is_over(self) -> bool:
        return self.error is not None or self._is_over

    @property
    def is_timed_out(self) -> bool:
        """True if the time is up."""
        return isinstance(self.error, TimeoutError)

    def frames(self, number: int) -> list[Frame]:
        """The frames with a higher number that have come or are remembered, oldest first."""
        heard, self._heard, self._heard_size = self._heard, deque(), 0
        remembered = self._socket._history.after(number) if not heard or number + 1 < heard[0].number else []
        if heard:
            remembered = [frame for frame in remembered if frame.number < heard[0].number]
        return remembered + [frame for each in heard for frame in each.frames() if frame.number > number]

    async def read(self, number: int) -> tuple[list[Frame], int]:
        """The same, and the number of the newest frame of the socket, even if it is not among them."""
        return self.frames(number), self._socket._history.total

    async def change(self) -> None:
        """Return when something has happened since the last call, or since the watch began."""
        if self._is_over:  # its script was unloaded
            raise asyncio.CancelledError
        if not self._has_changed:
            self._changed = self._loop.create_future()
            try:
                await self._changed
            finally:
                self._changed = None
        self._has_changed = False

    async def verdict(self, held: Awaitable[object]) -> object:
        """The answer of an async function of the user's; False if the time of the watch is up first."""
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                return await held
        except builtins.TimeoutError:
            if limit.expired():
                self.is_undecided = True
                return False
            raise

    def why_over(self) -> str:
        """Why the watch is over, as the end of a sentence."""
        if self.is_timed_out:
            return f" within {self.milliseconds:.15g}ms"
        return "" if self.error is None else f" ({self.error.message})"

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        """Keep frames, and wake the code that waits."""
        if event in ENDS:
            self._fail_at_end(end_text(self._socket))
            return
        if event == "framesent" or event == "framereceived":
            self._keep(DIRECTIONS[event], values)
        self._wake()

    def _keep(self, direction: Direction, payloads: Sequence[Payload]) -> None:
        history = self._socket._history
        first = history.total - len(payloads) + 1
        self._heard.append(_HeardFrames(first, direction, payloads, history.newest_at))
        self._heard_size += total_size(payloads)
        while self._heard_size > MOST_HEARD and len(self._heard) > 1:  # of a thread that does not keep up
            self._heard_size -= total_size(self._heard.popleft().payloads)

    def end(self) -> None:
        """End the watch. From any thread."""
        try:
            is_inside = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_inside = False
        if is_inside:
            self.cancel()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.cancel)

    def cancel(self) -> None:
        self._dispose()
        if self._changed is not None:
            self._changed.cancel()

    def fail(self, message: str) -> None:
        self._conclude(EndedError(message))

    def _start(self) -> None:
        socket = self._socket
        socket._attach(self)
        if socket.is_closed():
            self._fail_at_end(end_text(socket))
        elif self._scope.ended_reason is not None:
            self._fail_at_end(self._scope.ended_reason)

    def _awaited(self) -> str:
        return self._name

    def _conclude(self, error: Error) -> None:
        self.error = self.error or error
        is_end = self._socket.is_closed() or isinstance(error, TimeoutError | EndedError)
        self.is_final = self.is_final or is_end  # after `socketerror` a socket is still to be closed
        self._wake()

    def _wake(self) -> None:
        self._has_changed = True
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _dispose(self, _: object = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._socket._detach(self)
            self._heard.clear()
        super()._dispose()


def until(
    socket: "WebSocket", holds: Callable[[], bool], timeout: Timeout, awaited: str
) -> Steps[SocketWatch]:
    """Steps that end once a condition holds, or the time is up, or the socket or the proxy has ended."""

    async def begin() -> SocketWatch:
        return SocketWatch(socket, timeout, awaited)

    watch: SocketWatch = yield begin
    try:
        while not holds() and not watch.is_final:
            yield watch.change
    finally:
        watch.end()
    return watch


def failure_text(error: Error, awaited: str) -> str:
    """The sentence of an error that ended a watch, with what was awaited."""
    return (
        error.message if isinstance(error, TimeoutError) else f"{error.message} while waiting for {awaited}"
    )
