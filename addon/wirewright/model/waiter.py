"""`expect_event` and `wait_for_event`.

https://playwright.dev/python/docs/api/class-websocket#web-socket-wait-for-event
"""

import asyncio
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
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
from wirewright.model.scope import Scope

T = TypeVar("T")

Predicate = Callable[[Any], object] | Callable[[], object]
"""Is given the event's value, and says whether the wait is over; may be async."""
Timeout = float | timedelta | None
"""Milliseconds or a timedelta; 0 disables it, None stands for the default."""


class LatePredicate(ABC):
    """A predicate that is asked elsewhere and may answer late: what came in time counts all the same.

    A wait whose time is up ends when all that came until then is judged. While an answer is under way nothing
    more is asked: what comes meanwhile is asked together.
    """

    deadline: float | None = None
    """The loop's time at which the wait times out; None for a wait without a limit."""

    @abstractmethod
    def takes(self, value: Any) -> bool:
        """Whether it will be asked of this value: not, if too many wait for it already."""

    @abstractmethod
    def first(self, values: Sequence[Any]) -> Awaitable[int | None]:
        """The index of the first value for which it holds, or None. The answer must come, sooner or later."""


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


class Waiter(Generic[T]):
    """One wait: for an event of an emitter, until a predicate holds, another event ends it, or time is up.

    The listeners are registered when it is made. However it ends, none is left, and nor is its timer.
    """

    def __init__(
        self,
        scope: Scope,
        emitter: Emitter,
        event: str,
        predicate: Predicate | LatePredicate | None = None,
        timeout: Timeout = None,
        *,
        ends: Mapping[str, str] | None = None,
        past: Iterable[PastEvent] = (),
        closed: str | None = None,
        remark: Callable[[], str] = str,
        catch_up: CatchUp | None = None,
        history_of: Callable[[T], History] | None = None,
    ) -> None:
        """`ends` maps the events that fail the wait to their messages. `past` events are tried first; if none
        of them ends the wait, it fails at once with the message `closed`. `remark` is called at the end, and
        its result is added to the message.

        `catch_up` is moved past the event that ends the wait. If the event's value is a socket that opens,
        `history_of` returns its history, which keeps events until the code takes the socket.

        Raises ValueError and TypeError for arguments that make no sense, and Error outside of the
        proxy's event loop.
        """
        emitter.check_event(event)
        fitted = _fitted(predicate)
        milliseconds = to_milliseconds(scope.default_timeout if timeout is None else timeout)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise Error("a wait must be started inside the event loop of the proxy") from None

        self.future: asyncio.Future[T] = loop.create_future()
        self.owner = current_owner()
        self._scope = scope
        self._emitter = emitter
        self._predicate = fitted
        self._pending: set[asyncio.Future[Any]] = set()
        self._unjudged: list[_Candidate[T]] = []
        """Values for which the LatePredicate is not asked yet."""
        self._left_out = 0
        """How many values it is never asked for."""
        self._failure: Error | None = None
        self._remark = remark
        self.catch_up = catch_up
        self.number: int | None = None
        """The number of the past event that ended the wait; None if a live event did."""
        self._history_of = history_of
        self.backlog: Backlog | None = None
        """The backlog of the socket that ended the wait, until the code takes the socket."""
        self._timer: asyncio.TimerHandle | None = None
        self._listeners: dict[str, Callable[..., Any]] = {}

        self.future.add_done_callback(self._dispose)
        scope.add_wait(self)
        self._start(event, ends or {}, past, closed)
        if milliseconds and not self.future.done():
            self._timer = loop.call_later(milliseconds / 1000, self._time_out, event, milliseconds)
            if isinstance(fitted, LatePredicate):
                fitted.deadline = self._timer.when()

    def _start(
        self, event: str, ends: Mapping[str, str], past: Iterable[PastEvent], closed: str | None
    ) -> None:
        """Try the past events, and listen to live ones if none of them ends the wait."""
        for number, name, value in past:
            if name == event:
                self._consider(value, number)
            elif name in ends:
                closed = ends[name]
                break
            if self.future.done():
                return
        closed = closed or self._scope.over
        if closed is not None:
            self._fail_after_pending(closed)
        else:
            self._listen_to(event, ends)

    def wait(self) -> "WaitCoroutine[T]":
        """The value that the predicate accepted; raises what the wait failed with."""
        return WaitCoroutine(self)

    def __await__(self) -> Generator[Any, Any, T]:
        value = yield from self._run().__await__()
        if self.backlog is not None:
            catch_up = CatchUp(self.backlog)
            self.backlog = None
            bind(catch_up)
            catch_up.share()
        return value

    async def end(self) -> T:
        """As awaiting the waiter, but the code does not take the value yet: no catch-up begins."""
        return await self._run()

    async def _take(self) -> T:
        return await self

    async def _run(self) -> T:
        try:
            value = await self.future
        finally:
            self._dispose()
        if self.catch_up is not None:
            if self.number is None:
                self.catch_up.close()
            else:
                self.catch_up.advance(self.number)
        return value

    def cancel(self) -> None:
        """Give up, as nobody is interested any more."""
        if self.future.done():
            if not self.future.cancelled():
                self.future.exception()  # seen: it is not reported as never retrieved
        else:
            self.future.cancel()
        self._dispose()

    def fail(self, message: str) -> None:
        """End the wait with `EndedError(message)`."""
        self._settle_exception(EndedError(message))

    def _listen_to(self, event: str, ends: Mapping[str, str]) -> None:
        self._listen(event, self._consider)
        for end, message in ends.items():
            if end != event:
                self._listen(end, partial(self._fail_after_pending, message))

    def _listen(self, event: str, listener: Callable[..., Any]) -> None:
        self._listeners[event] = listener
        self._emitter.listen(event, listener)

    def _consider(self, value: T, number: int | None = None) -> None:
        if self.future.done():
            return
        backlog = None if self._history_of is None else Backlog(self._history_of(value))
        candidate = _Candidate(value, number, backlog)
        if isinstance(self._predicate, LatePredicate):
            if self._predicate.takes(value):
                self._unjudged.append(candidate)
                self._ask(self._predicate)
            else:
                self._left_out += 1
            return
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
            self._follow(matched, partial(self._after_predicate, candidate))
        elif matched:
            self._settle(candidate)

    def _after_predicate(self, candidate: "_Candidate[T]", matched: object) -> None:
        if matched:
            self._settle(candidate)

    def _ask(self, predicate: LatePredicate) -> None:
        if self._unjudged and not self._pending:
            candidates, self._unjudged = self._unjudged, []
            values = [candidate.value for candidate in candidates]
            self._follow(predicate.first(values), partial(self._after_late, predicate, candidates))

    def _after_late(
        self, predicate: LatePredicate, candidates: Sequence["_Candidate[T]"], first: int | None
    ) -> None:
        if first is not None:
            self._settle(candidates[first])
        else:
            self._ask(predicate)

    def _follow(self, verdict: Awaitable[Any], then: Callable[[Any], object]) -> None:
        pending = asyncio.ensure_future(verdict)
        self._pending.add(pending)
        pending.add_done_callback(partial(self._after_verdict, then))

    def _after_verdict(self, then: Callable[[Any], object], pending: "asyncio.Future[Any]") -> None:
        self._pending.discard(pending)
        exception = asyncio.CancelledError() if pending.cancelled() else pending.exception()
        if self.future.done():
            return
        if exception is not None:
            self._settle_exception(exception)
            return
        then(pending.result())
        if self._failure is not None and not self._pending:
            self._settle_exception(self._failure)

    def _fail_after_pending(self, message: str, *_: object) -> None:
        kind = EndedError if self._scope.is_ending or self._scope.over else Error
        self._end_after_pending(kind(message + self._all_remarks()))

    def _all_remarks(self) -> str:
        left_out = f" ({self._left_out:,} messages were left out: too many waited for the predicate)"
        return self._remark() + (left_out if self._left_out else "")

    def _end_after_pending(self, error: Error) -> None:
        # A value that came before the end still counts, even if its async predicate is not done with it.
        if self._pending:
            self._failure = self._failure or error
        else:
            self._settle_exception(error)

    def _time_out(self, event: str, milliseconds: float) -> None:
        shown = int(milliseconds) if milliseconds.is_integer() else milliseconds
        said = f'Timeout {shown}ms exceeded while waiting for event "{event}"'
        error = TimeoutError(said + self._all_remarks())
        if isinstance(self._predicate, LatePredicate):
            self._stop_listening()
            self._end_after_pending(error)
        else:
            self._settle_exception(error)

    def _settle(self, candidate: "_Candidate[T]") -> None:
        if not self.future.done():
            self.number, self.backlog = candidate.number, candidate.backlog
            self.future.set_result(candidate.value)
        self._dispose()

    def _settle_exception(self, exception: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(exception)
        self._dispose()

    def _stop_listening(self) -> None:
        for event, listener in self._listeners.items():
            self._emitter.remove_listener(event, listener)
        self._listeners.clear()

    def _dispose(self, _: object = None) -> None:
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pending in self._pending:
            pending.cancel()
        self._predicate = None
        self._unjudged = []
        self._scope.discard_wait(self)


def _fitted(predicate: Predicate | LatePredicate | None) -> Callable[[Any], object] | LatePredicate | None:
    """The predicate as a function of one value. Raises TypeError for an object that is not a predicate."""
    if predicate is None or isinstance(predicate, LatePredicate):
        return predicate
    if not callable(predicate):
        raise TypeError(f"predicate must be callable, not {type(predicate).__name__}")
    return fit(predicate, 1)


class _Candidate(NamedTuple, Generic[T]):
    """A value that may end a wait."""

    value: T
    number: int | None
    """Of the past event that it comes from."""
    backlog: Backlog | None


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

    def expect_event(
        self, event: str, predicate: Predicate | None = None, timeout: Timeout = None
    ) -> EventContextManager[Any]:
        """Wait for an event that the block causes: the listener is there before the block runs."""
        return EventContextManager(self._waiter(event, predicate, timeout))

    def wait_for_event(
        self, event: str, predicate: Predicate | None = None, timeout: Timeout = None
    ) -> Coroutine[Any, Any, Any]:
        """The event's next value for which the predicate holds. The listener is there from the call on."""
        return self._waiter(event, predicate, timeout).wait()

    def _waiter(self, event: str, predicate: Predicate | None, timeout: Timeout) -> Waiter[Any]:
        return Waiter(self._scope, self, event, predicate, timeout, ends=self.ENDS)
