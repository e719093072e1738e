"""`expect_event` and `wait_for_event`.

https://playwright.dev/python/docs/api/class-websocket#web-socket-wait-for-event
"""

import asyncio
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from wirewright.model.arguments import fit
from wirewright.model.awaitables import Completion
from wirewright.model.catch_up import Backlog, CatchUp, bind
from wirewright.model.emitter import Emitter
from wirewright.model.errors import ENDS_THE_PROGRAM, EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.history import History, PastEvent
from wirewright.model.ownership import current_owner

T = TypeVar("T")

Predicate = Callable[[Any], object] | Callable[[], object]
"""Is given the event's value, and says whether the wait is over; may be async."""
Timeout = float | timedelta | None
"""Milliseconds or a timedelta; 0 disables it, None stands for the default."""


def to_milliseconds(timeout: float | timedelta) -> float:
    """A timeout in milliseconds. Raises ValueError below 0 and TypeError for what is no time."""
    if isinstance(timeout, timedelta):
        milliseconds = timeout / timedelta(milliseconds=1)
    elif isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        milliseconds = float(timeout)
    else:
        raise TypeError(f"timeout must be milliseconds or a timedelta, not {type(timeout).__name__}")
    if not math.isfinite(milliseconds) or milliseconds < 0:
        raise ValueError(f"timeout must be 0 (no limit) or more milliseconds, not {timeout!r}")
    return milliseconds


@dataclass(frozen=True)
class WaitOptions:
    """What a wait knows of its emitter's past, and of the emitter's end."""

    ends: Mapping[str, str] = field(default_factory=dict)
    """The events that fail the wait, each with the message of the error."""
    past: Sequence[PastEvent] = ()
    """These are tried first. If none of them ends the wait, it fails at once with the message `closed`."""
    closed: str | None = None
    remark: Callable[[], str] = str
    """It is called at the end of the wait, and its result is added to the message of the error."""
    catch_up: CatchUp | None = None
    """It is moved past the event that ends the wait."""
    history_of: Callable[[Any], History] | None = None
    """For an event whose value is a socket that opens: the history of the socket. It keeps events until the
    code takes the socket."""


class Candidate(NamedTuple):
    """A value that may end a wait."""

    value: Any
    number: int | None = None
    """Of the past event that it comes from; None for a live event."""
    backlog: Backlog | None = None
    """The backlog of the socket that opens, until the code takes the socket."""


class EventWait(ABC):
    """One wait for an event of an emitter, in the emitter's loop.

    It has registered its listeners and its timer when it is made, and removes them when it ends.
    """

    def __init__(self, emitter: Emitter, event: str, timeout: Timeout, options: WaitOptions) -> None:
        """Raises ValueError and TypeError for arguments that make no sense, and Error outside of the proxy's
        event loop."""
        emitter.check_event(event)
        self._emitter, self._scope = emitter, emitter._scope
        milliseconds = to_milliseconds(self._scope.default_timeout if timeout is None else timeout)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise Error("a wait must be started inside the event loop of the proxy") from None
        self.owner = current_owner()
        self._options = options
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: dict[str, Callable[..., Any]] = {}
        self._scope.add_wait(self)
        self._start(event)
        if milliseconds and not self.is_over:
            self._timer = loop.call_later(milliseconds / 1000, self._time_out, event, milliseconds)

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """True if no further candidate is of use."""

    @abstractmethod
    def _consider(self, value: Any, number: int | None = None) -> None:
        """Try a value of the event. `number` is that of a past event."""

    @abstractmethod
    def _hear(self, event: Any) -> None:
        """A live event: what `_listen` calls."""

    @abstractmethod
    def cancel(self) -> None:
        """End the wait without an outcome: nobody is interested in it any more."""

    @abstractmethod
    def fail(self, message: str) -> None:
        """End the wait with `EndedError(message)`."""

    @abstractmethod
    def _conclude(self, error: Error) -> None:
        """No candidates follow: the wait fails with `error`, unless an earlier candidate ends it."""

    @abstractmethod
    def _listen(self, event: str, listener: Callable[..., Any]) -> None:
        """Call `listener` with live events."""

    @abstractmethod
    def _ignore(self, event: str, listener: Callable[..., Any]) -> None:
        """Take back `_listen`."""

    def _time_out(self, event: str, milliseconds: float) -> None:
        shown = int(milliseconds) if milliseconds.is_integer() else milliseconds
        message = f'Timeout {shown}ms exceeded while waiting for event "{event}"'
        self._conclude(TimeoutError(message + self._remark()))

    def _start(self, event: str) -> None:
        """Try the past events, and listen to live ones if none of them ends the wait."""
        options = self._options
        closed = options.closed
        for number, name, value in options.past:
            if name == event:
                self._consider(value, number)
            elif name in options.ends:
                closed = options.ends[name]
                break
            if self.is_over:
                return
        closed = closed or self._scope.over
        if closed is not None:
            self._fail_at_end(closed)
            return
        self._listen_to(event, self._hear)
        for end, message in options.ends.items():
            if end != event:
                self._listen_to(end, partial(self._fail_at_end, message))

    def _listen_to(self, event: str, listener: Callable[..., Any]) -> None:
        self._listeners[event] = listener
        self._listen(event, listener)

    def _candidate(self, value: Any, number: int | None) -> Candidate:
        history_of = self._options.history_of
        return Candidate(value, number, None if history_of is None else Backlog(history_of(value)))

    def _fail_at_end(self, message: str, *_: object) -> None:
        kind = EndedError if self._scope.is_ending or self._scope.over else Error
        self._conclude(kind(message + self._remark()))

    def _remark(self) -> str:
        return self._options.remark()

    def _dispose(self, _: object = None) -> None:
        for event, listener in self._listeners.items():
            self._ignore(event, listener)
        self._listeners.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._scope.discard_wait(self)


class Waiter(EventWait, Generic[T]):
    """A wait of the async API: the predicate is called when the event is emitted."""

    def __init__(
        self,
        emitter: Emitter,
        event: str,
        predicate: Predicate | None = None,
        timeout: Timeout = None,
        options: WaitOptions | None = None,
    ) -> None:
        emitter.check_event(event)
        self._predicate = fitted(predicate)
        self._pending: set[asyncio.Future[Any]] = set()
        self._failure: Error | None = None
        self._ended_by: Candidate | None = None
        with suppress(RuntimeError):  # the base class raises an Error
            self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self.future.add_done_callback(self._dispose)
        super().__init__(emitter, event, timeout, options or WaitOptions())

    @property
    def is_over(self) -> bool:
        return self.future.done()

    def wait(self) -> "WaitCoroutine[T]":
        """The value that the predicate accepted; raises what the wait failed with."""
        return WaitCoroutine(self)

    def __await__(self) -> Generator[Any, Any, T]:
        value = yield from self.end().__await__()
        if self._ended_by is not None and self._ended_by.backlog is not None:
            catch_up = CatchUp(self._ended_by.backlog)
            self._ended_by = None
            bind(catch_up)
            catch_up.share()
        return value

    async def _take(self) -> T:
        return await self

    async def end(self) -> T:
        """As awaiting the waiter, but the code does not take the value yet: no catch-up begins."""
        try:
            value = await self.future
        finally:
            self._dispose()
        if (catch_up := self._options.catch_up) is not None:
            if self._ended_by is None or self._ended_by.number is None:
                catch_up.close()
            else:
                catch_up.advance(self._ended_by.number)
        return value

    def cancel(self) -> None:
        if self.future.done():
            if not self.future.cancelled():
                self.future.exception()  # seen: it is not reported as never retrieved
        else:
            self.future.cancel()
        self._dispose()

    def fail(self, message: str) -> None:
        self._settle_exception(EndedError(message))

    def _listen(self, event: str, listener: Callable[..., Any]) -> None:
        self._emitter.listen(event, listener)

    def _ignore(self, event: str, listener: Callable[..., Any]) -> None:
        self._emitter.remove_listener(event, listener)

    def _hear(self, event: Any) -> None:
        self._consider(event)

    def _consider(self, value: Any, number: int | None = None) -> None:
        if self.future.done():
            return
        candidate = self._candidate(value, number)
        try:
            matched = self._predicate(value) if self._predicate else True
        except StopIteration as exception:
            error = RuntimeError("the predicate raised StopIteration")
            error.__cause__ = exception
            self._settle_exception(error)
            return
        except ENDS_THE_PROGRAM:
            raise
        except BaseException as exception:
            self._settle_exception(exception)
            return
        if inspect.isawaitable(matched):
            pending = asyncio.ensure_future(matched)
            self._pending.add(pending)
            pending.add_done_callback(partial(self._after_predicate, candidate))
        elif matched:
            self._settle(candidate)

    def _after_predicate(self, candidate: Candidate, pending: "asyncio.Future[Any]") -> None:
        self._pending.discard(pending)
        exception = asyncio.CancelledError() if pending.cancelled() else pending.exception()
        if self.future.done():
            return
        if exception is not None:
            self._settle_exception(exception)
        elif pending.result():
            self._settle(candidate)
        elif self._failure is not None and not self._pending:
            self._settle_exception(self._failure)

    def _conclude(self, error: Error) -> None:
        # A value that came before the end still counts, even if its async predicate is not done with it.
        if self._pending and not isinstance(error, TimeoutError):
            self._failure = self._failure or error
        else:
            self._settle_exception(error)

    def _settle(self, candidate: Candidate) -> None:
        if not self.future.done():
            self._ended_by = candidate
            self.future.set_result(candidate.value)
        self._dispose()

    def _settle_exception(self, exception: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(exception)
        self._dispose()

    def _dispose(self, _: object = None) -> None:
        super()._dispose()
        for pending in self._pending:
            pending.cancel()
        self._predicate = None


def fitted(predicate: Predicate | None) -> Callable[[Any], object] | None:
    """The predicate as a function of one value. Raises TypeError for an object that is not a predicate."""
    if predicate is None:
        return None
    if not callable(predicate):
        raise TypeError(f"predicate must be callable, not {type(predicate).__name__}")
    return fit(predicate, 1)


class WaitCoroutine(Coroutine[Any, Any, T]):
    """A wait as a coroutine that gives up its wait even if it is thrown away before its first step."""

    def __init__(self, waiter: Waiter[T]) -> None:
        self._waiter = waiter
        self._running = waiter._take()

    def __await__(self) -> Generator[Any, None, T]:
        return self._running.__await__()

    def send(self, value: Any) -> Any:
        return self._running.send(value)

    def throw(self, *exception: Any) -> Any:
        try:
            return self._running.throw(*exception)
        except BaseException:
            self._waiter.cancel()
            raise

    def close(self) -> None:
        self._running.close()
        self._waiter.cancel()


class EventInfo(Generic[T]):
    """What an `expect_event` block is given: the wait, while it runs and after."""

    def __init__(self, waiter: Waiter[T]) -> None:
        self._waiter = waiter

    @property
    def value(self) -> Completion[T]:
        """Await it for the event's value: a str or bytes for frames, the WebSocket for `close`."""
        return Completion(self._waiter)

    def is_done(self) -> bool:
        """Whether the wait is over, one way or another."""
        return self._waiter.future.done()


class EventContextManager(Generic[T]):
    """`async with ws.expect_event(...) as info:`; leaving the block awaits the event.

    An exception of the block wins over the wait, which is then given up.
    """

    def __init__(self, waiter: Waiter[T]) -> None:
        self._waiter = waiter

    async def __aenter__(self) -> EventInfo[T]:
        return EventInfo(self._waiter)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            self._waiter.cancel()
        else:
            await self._waiter.end()


class WaitingEmitter(Emitter):
    """An emitter on which one can wait."""

    ENDS: ClassVar[Mapping[str, str]] = {}
    """The events that end a wait for another one, with the message of the Error that it raises."""

    _wait_options: Callable[..., WaitOptions]
    """Returns what a wait for an event knows that begins now."""
