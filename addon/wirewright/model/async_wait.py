"""`expect_event` and `wait_for_event` of the async API.

https://playwright.dev/python/docs/api/class-websocket#web-socket-wait-for-event
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wirewright.model.awaitables import Completion, MustBeAwaited, is_awaitable
from wirewright.model.catch_up import CatchUp, bind
from wirewright.model.emitter import Emitter, RegisteredListener
from wirewright.model.errors import ENDS_THE_PROGRAM, EndedError, Error, TimeoutError  # noqa: A004  Playwright's name
from wirewright.model.event_loops import call_in_loop
from wirewright.model.event_wait import (
    Candidate,
    EventWait,
    Predicate,
    Timeout,
    WaitOptions,
    fitted,
    with_trials,
)
from wirewright.model.misuse import AsyncBlock, no_attribute, shown_as

__tracebackhide__ = True  # pytest shows the line that calls

T = TypeVar("T")


class AsyncWait(EventWait, Generic[T]):
    """A wait of the async API: the predicate is called when the event is emitted."""

    def __init__(
        self,
        emitter: Emitter,
        event: str,
        predicate: Predicate | None,
        timeout: Timeout,
        options: WaitOptions,
    ) -> None:
        emitter._check_event(event)
        self._asked = predicate
        """The predicate as the user has written it."""
        self._predicate = fitted(predicate, event)
        self._pending: dict[asyncio.Future[Any], Candidate] = {}
        """The async predicates that have not answered yet."""
        self._failure: Error | None = None
        self._ended_by: Candidate | None = None
        with suppress(RuntimeError):  # the base class raises an Error
            self.loop = asyncio.get_running_loop()
            self.future: asyncio.Future[T] = self.loop.create_future()
            self.future.add_done_callback(self._dispose)
        super().__init__(emitter, event, timeout, options)

    @property
    def is_over(self) -> bool:
        return self.future.done()

    def wait(self, call: str) -> "WaitCoroutine[T]":
        """The value that the predicate accepted; raises what the wait failed with. For a call such as
        `ws.wait_for_event(...)`."""
        return WaitCoroutine(self, call)

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
        if (catch_up := self.options.catch_up) is not None:
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

    def _listen(self) -> None:
        self._listeners: dict[str, Callable[..., Any]] = dict.fromkeys(self.options.ends, self._end)
        self._listeners[self._event] = self._consider
        for event, listener in self._listeners.items():
            self.emitter._register(event, listener, RegisteredListener(listener, None))

    def _end(self, _: object) -> None:
        self._fail_at_end(self.options.end_text())

    def _ignore(self) -> None:
        for event, listener in self._listeners.items():
            self.emitter.remove_listener(event, listener)

    def _consider(self, value: Any, number: int | None = None, frame: int | None = None) -> None:
        if self.future.done():
            return
        try:
            matched = self._predicate(value) if self._predicate else True
        except ENDS_THE_PROGRAM:
            raise
        except BaseException as exception:
            self._raised(exception, value, frame or self._emitted_frame())
            return
        if is_awaitable(matched):
            candidate = self._candidate(value, number, frame or self._emitted_frame())
            pending = asyncio.ensure_future(matched)
            self._pending[pending] = candidate
            pending.add_done_callback(partial(self._after_predicate, candidate))
        elif matched:
            self._settle(self._candidate(value, number, frame))
        else:
            self.options.trials.add(value, matched)

    def _after_predicate(self, candidate: Candidate, pending: "asyncio.Future[Any]") -> None:
        self._pending.pop(pending, None)
        exception = asyncio.CancelledError() if pending.cancelled() else pending.exception()
        if self.future.done():
            return
        if exception is not None:
            self._raised(exception, candidate.value, candidate.frame)
        elif matched := pending.result():
            self._settle(candidate)
        else:
            self.options.trials.add(candidate.value, matched)
            if self._failure is not None and not self._pending:
                self._settle_exception(self._with_trials(self._failure))

    def _emitted_frame(self) -> int | None:
        """The number of the frame that is emitted now."""
        newest = self.options.newest_frame
        return None if newest is None else newest() - length_hint(self.emitter._emitting)

    def _raised(self, exception: BaseException, value: Any, frame: int | None) -> None:
        """The predicate has raised for a value."""
        if isinstance(exception, StopIteration):
            error = RuntimeError("the predicate raised StopIteration")
            error.__cause__, exception = exception, error
        self.options.trials.note_raise(exception, self._asked, value, frame)
        self._settle_exception(exception)

    def _with_trials(self, error: Error) -> Error:
        for candidate in self._pending.values():
            self.options.trials.add(candidate.value, False)
        return with_trials(error, self.options.trials, self._asked)

    def _conclude(self, error: Error) -> None:
        # A value that came before the end still counts, even if its async predicate is not done with it.
        if self._pending and not isinstance(error, TimeoutError):
            self._failure = self._failure or error
        elif not self.future.done():
            self._settle_exception(self._with_trials(error))

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
        self._predicate = self._asked = None
        self.options.trials.clear()


@shown_as("coroutine")
class WaitCoroutine(MustBeAwaited[T]):
    """A wait as a coroutine that gives up its wait even if it is thrown away before its first step."""

    def __init__(self, waiter: AsyncWait[T], call: str) -> None:
        self._waiter = waiter
        super().__init__(waiter._take, call, partial(call_in_loop, waiter.loop, waiter.cancel))

    def throw(self, *exception: Any) -> Any:
        try:
            return super().throw(*exception)
        except BaseException:
            self._waiter.cancel()
            raise

    def close(self) -> None:
        super().close()
        self._waiter.cancel()


class EventInfo(Generic[T]):
    """The value of an `expect_event` block: the wait, inside the block and after it."""

    def __init__(self, waiter: AsyncWait[T]) -> None:
        self._waiter = waiter

    @property
    def value(self) -> Completion[T]:
        """Await it for the event's value: a str or bytes for frames, the WebSocket for `close`."""
        return Completion(self._waiter, name="info.value")

    def is_done(self) -> bool:
        """True if the wait has a value or has failed."""
        return self._waiter.future.done()

    def __repr__(self) -> str:
        return f"<EventInfo {'done' if self.is_done() else 'waiting'}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, f"the value is info.value: write (await info.value).{name}")


class EventContextManager(AsyncBlock, Generic[T]):
    """`async with ws.expect_event(...) as info:`; leaving the block awaits the event.

    An exception of the block wins over the wait, which is then given up.
    """

    def __init__(self, waiter: AsyncWait[T], call: str) -> None:
        """`call` is the call that makes it, for errors: `ws.expect_event(...)`."""
        self._waiter = waiter
        self._expression = call
        self._must_be_entered(partial(call_in_loop, waiter.loop, waiter.cancel))

    async def __aenter__(self) -> EventInfo[T]:
        self._entered()
        return EventInfo(self._waiter)

    async def __aexit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        if exception is not None:
            self._waiter.cancel()
        else:
            await self._waiter.end()
