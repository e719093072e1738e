"""Waits for changes of a socket, for a limited time: its frames, its handshake, its end."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from wirewright.memory import ITEM_BYTES
from wirewright.model.change_watch import ChangeWatch
from wirewright.model.emitter import EmittedEvent
from wirewright.model.errors import Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_wait import Timeout
from wirewright.model.frame_match import FrameMatch
from wirewright.model.frame_run import FrameRun, total_size
from wirewright.model.socket_text import END_EVENTS, end_text
from wirewright.model.steps import Steps
from wirewright.values import DIRECTIONS, Direction, Payload

if TYPE_CHECKING:
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls


MOST_HEARD = 64 * 1024 * 1024
"""Bytes of memory of frames that a watch keeps. Beyond them the oldest are dropped."""
_MOST_UNREAD = 1024 * 1024
"""The same of frames that cannot match. Beyond them the waiting code reads them."""


class SocketWatch(ChangeWatch):
    """One watch of a socket. An `EventTap` of the socket.

    With a `match` it keeps the frames that come until they are read, however few the socket remembers.

    Its error may also be an error of the socket. Then it is final once the socket is closed.
    """

    def __init__(
        self, socket: "WebSocket", timeout: Timeout, awaited: str, match: FrameMatch | None = None
    ) -> None:
        """`awaited` is a noun, for the message of a TimeoutError. Without a `match` no frame is kept.

        As ChangeWatch.
        """
        self._socket, self._match = socket, match
        self.wants = END_EVENTS if match is None else ("framesent", "framereceived", *END_EVENTS)
        self._heard: deque[FrameRun] = deque()
        """The frames that have come since the last `read`, oldest first."""
        self._heard_size = 0
        self._hopeless: set[int] = set()
        self.hopeless: set[int] = set()
        """The numbers of runs that `runs` has returned last, and of which no frame can match."""
        super().__init__(socket, timeout, awaited)

    def runs(self, number: int) -> list[FrameRun]:
        """The frames with a higher number that have come or are remembered, oldest first."""
        heard, self._heard, self._heard_size = self._heard, deque(), 0
        self.hopeless, self._hopeless = self._hopeless, set()
        if not heard:
            return self._socket._history.runs_after(number)
        runs = [run.part(number + 1, run.last) for run in heard if run.last > number]
        if number + 1 < (first := heard[0].number):
            remembered = self._socket._history.runs_after(number)
            runs[:0] = [run.part(run.number, first - 1) for run in remembered if run.number < first]
        return runs

    async def read(self, number: int) -> tuple[list[FrameRun], int]:
        """The same, and the number of the newest frame of the socket, even if it is not among them."""
        return self.runs(number), self._socket._history.total

    def hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        """Keep frames, and wake the code that waits. It is not woken by frames that cannot match."""
        if event in END_EVENTS:
            self._fail_at_end(end_text(self._socket))
        elif event == "framesent" or event == "framereceived":
            if self._match is not None:
                self._keep(self._match, DIRECTIONS[event], values)
        else:
            self._wake()

    def _keep(self, match: FrameMatch, direction: Direction, payloads: Sequence[Payload]) -> None:
        history = self._socket._history
        run = FrameRun(history.total - len(payloads) + 1, direction, payloads, history.newest_at)
        self._heard.append(run)
        self._heard_size += history.newest_size + ITEM_BYTES * len(payloads)
        may_match = match.may_match(run)
        if not may_match:
            self._hopeless.add(run.number)
        if may_match or self._heard_size > _MOST_UNREAD:
            self._wake()
        while self._heard_size > MOST_HEARD and len(self._heard) > 1:  # of a thread that does not keep up
            dropped = self._heard.popleft().payloads
            self._heard_size -= total_size(dropped) + ITEM_BYTES * len(dropped)

    def _start(self) -> None:
        socket = self._socket
        socket._attach(self)
        if socket.is_closed():
            self._fail_at_end(end_text(socket))
        elif self._scope.ended_reason is not None:
            self._fail_at_end(self._scope.ended_reason)

    def _conclude(self, error: Error) -> None:
        # After `socketerror` a socket is still to be closed.
        self.is_final = self.is_final or self._socket.is_closed()
        super()._conclude(error)

    def _ignore(self) -> None:
        self._socket._detach(self)
        self._heard.clear()


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
