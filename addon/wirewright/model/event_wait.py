"""A wait for an event of an emitter, as both APIs need it.

https://playwright.dev/python/docs/api/class-websocket#web-socket-wait-for-event
"""

import asyncio
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from wirewright.model.arguments import fit
from wirewright.model.catch_up import Backlog, CatchUp
from wirewright.model.emitter import Emitter
from wirewright.model.errors import EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.history import History, PastEvent
from wirewright.model.ownership import current_owner
from wirewright.model.predicate_trials import Trials
from wirewright.values import DIRECTIONS

__tracebackhide__ = True  # pytest shows the line that calls

Predicate = Callable[[Any], object] | Callable[[], object]
"""A function of the event's value that returns True if the wait is over. It may be async."""
Timeout = float | timedelta | None
"""Milliseconds or a timedelta; 0 disables it, None stands for the default."""


def to_milliseconds(timeout: float | timedelta) -> float:
    """A timeout in milliseconds. Raises ValueError below 0, and TypeError for another type."""
    if isinstance(timeout, timedelta):
        milliseconds = timeout / timedelta(milliseconds=1)
    elif isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        milliseconds = float(timeout)
    else:
        raise TypeError(f"timeout must be milliseconds or a timedelta, not {type(timeout).__name__}")
    if not math.isfinite(milliseconds) or milliseconds < 0:
        raise ValueError(f"timeout must be 0 (no limit) or more milliseconds, not {timeout!r}")
    return milliseconds


def fitted(predicate: Predicate | None, event: str = "") -> Callable[[Any], object] | None:
    """The predicate on an event's value as a function of one value. Raises TypeError for another object."""
    if predicate is None:
        return None
    if not callable(predicate):
        is_content = event in DIRECTIONS and isinstance(predicate, str | bytes | re.Pattern)
        instead = ": ws.next_frame(...) takes a text or a pattern" if is_content else ""
        raise TypeError(f"predicate must be callable, not {type(predicate).__name__}{instead}")
    return fit(predicate, 1)


@dataclass(frozen=True)
class WaitOptions:
    """The past events of an emitter, and the events that end a wait."""

    ends: Collection[str] = ()
    """The events that fail the wait."""
    end_text: Callable[[], str] = str
    """It is called at such an event, and returns the message of the error."""
    past: Sequence[PastEvent] = ()
    """The events that are tried first, oldest first."""
    closed: str | None = None
    """The message of the error if no past event ends the wait. None: the wait then listens to new events."""
    remark: Callable[[], str] = str
    """It is called at the end of the wait, and its result is added to the message of the error."""
    catch_up: CatchUp | None = None
    """It is moved past the event that ends the wait."""
    trials: Trials = field(default_factory=Trials)
    """The values on which the predicate is tried, for the message of the error."""
    newest_frame: Callable[[], int] | None = None
    """For an event whose value is a frame: the number of the newest frame."""
    history_of: Callable[[Any], History] | None = None
    """For an event whose value is a socket that opens: the history of the socket. It keeps events until the
    code takes the socket."""


class Candidate(NamedTuple):
    """A value that may end a wait."""

    value: Any
    number: int | None = None
    """The number of the past event that the value comes from; None for a live event."""
    frame: int | None = None
    """The number of the frame, if the value is one."""
    backlog: Backlog | None = None
    """The backlog of the socket that opens, until the code takes the socket."""


def with_trials(error: Error, trials: Trials, predicate: Predicate | None) -> Error:
    """The error of a wait, with what its predicate was tried on. That of a proxy that ends stays as it is."""
    lines = [] if isinstance(error, EndedError) else trials.lines(predicate)
    return type(error)("\n".join([error.message, *lines]))


class TimedWait(ABC):
    """A wait of a scope: its timer runs from when it is made until it ends."""

    def __init__(self, emitter: Emitter, timeout: Timeout) -> None:
        """Raises ValueError and TypeError for a timeout that makes no sense, and Error outside of the proxy's
        event loop."""
        self.emitter = emitter
        self._scope = scope = emitter._scope
        self.milliseconds = milliseconds = to_milliseconds(
            emitter._default_timeout if timeout is None else timeout
        )
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise Error("a wait must be started inside the event loop of the proxy") from None
        self.owner = current_owner()
        self._timer: asyncio.TimerHandle | None = None
        scope.add_wait(self)
        self._start()
        if milliseconds and not self.is_over:
            self._timer = loop.call_later(milliseconds / 1000, self._time_out)

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """True if nothing that may still happen is of use."""

    @abstractmethod
    def cancel(self) -> None:
        """End the wait without an outcome: its result is not needed any more."""

    @abstractmethod
    def fail(self, message: str) -> None:
        """End the wait with `EndedError(message)`."""

    @abstractmethod
    def _conclude(self, error: Error) -> None:
        """Nothing follows: the wait fails with `error`, unless something earlier ends it."""

    @abstractmethod
    def _start(self) -> None:
        """Look at the past, and begin to listen."""

    @abstractmethod
    def _awaited(self) -> str:
        """A noun for the message of a TimeoutError: the thing that is awaited."""

    def _time_out(self) -> None:
        message = f"Timeout {self.milliseconds:.15g}ms exceeded while waiting for {self._awaited()}"
        self._conclude(TimeoutError(message + self._remark()))

    def _fail_at_end(self, message: str, *_: object) -> None:
        kind = EndedError if self._scope.is_ending or self._scope.ended_reason else Error
        self._conclude(kind(message + self._remark()))

    def _remark(self) -> str:
        """It is added to the message of the error."""
        return ""

    def _dispose(self, _: object = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._scope.discard_wait(self)


class EventWait(TimedWait):
    """One wait for an event of an emitter, in the emitter's loop.

    It listens from when it is made until it ends.
    """

    def __init__(self, emitter: Emitter, event: str, timeout: Timeout, options: WaitOptions) -> None:
        """Raises ValueError for an event that the emitter does not have; else as TimedWait."""
        emitter._check_event(event)
        self._event, self.options = event, options
        self._is_listening = False
        super().__init__(emitter, timeout)

    @abstractmethod
    def _consider(self, value: Any, number: int | None = None, frame: int | None = None) -> None:
        """Try a value of the event. `number` is that of a past event, and `frame` that of a past frame."""

    @abstractmethod
    def _listen(self) -> None:
        """Have live events considered, and the wait failed at the emitter's end."""

    @abstractmethod
    def _ignore(self) -> None:
        """Undo `_listen`."""

    def _awaited(self) -> str:
        return f'event "{self._event}"'

    def _start(self) -> None:
        """Try the past events, and listen to live ones if none of them ends the wait."""
        options = self.options
        closed = options.closed
        for number, name, value, frame in options.past:
            if name == self._event:
                self._consider(value, number, frame)
            elif name in options.ends:
                closed = options.end_text()
                break
            if self.is_over:
                return
        closed = closed or self._scope.ended_reason
        if closed is not None:
            self._fail_at_end(closed)
        else:
            self._is_listening = True
            self._listen()

    def _candidate(self, value: Any, number: int | None, frame: int | None) -> Candidate:
        history_of = self.options.history_of
        return Candidate(value, number, frame, None if history_of is None else Backlog(history_of(value)))

    def _remark(self) -> str:
        return self.options.remark()

    def _dispose(self, _: object = None) -> None:
        if self._is_listening:
            self._is_listening = False
            self._ignore()
        super()._dispose()
