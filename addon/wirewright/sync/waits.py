"""`expect_event` and `wait_for_event` of the sync API.

The loop puts an event's values into an inbox (`event_inbox`), in batches. The waiting thread takes them out
and calls the predicate.
"""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from wirewright.model.awaitables import is_awaitable
from wirewright.model.catch_up import CatchUp, bind, bound
from wirewright.model.emitter import Emitter
from wirewright.model.errors import ENDS_THE_PROGRAM, Error
from wirewright.model.event_wait import (
    Candidate,
    Predicate,
    Timeout,
    WaitOptions,
    fitted,
    with_trials,
)
from wirewright.model.misuse import SyncBlock, no_attribute
from wirewright.model.socket_match import SocketMatch
from wirewright.sync.bridge import as_exception
from wirewright.sync.dispatcher import size_of
from wirewright.sync.event_inbox import EventInbox
from wirewright.sync.loop_task import LoopTask, outcome
from wirewright.sync.running_loop import check_may_wait
from wirewright.sync.wrappers import WrapperRegistry

__tracebackhide__ = True  # pytest shows the line that calls

T = TypeVar("T")

OVERDUE_SECONDS = 1.0
"""How long async predicates may take, all together, that are called after the end of their wait."""


class _NothingKnown(Exception):
    """The wait has neither a value nor an error yet."""


class SyncWait(Generic[T]):
    """The waiting thread's end of a wait."""

    def __init__(
        self,
        wrappers: WrapperRegistry,
        own: Emitter,
        event: str,
        predicate: Predicate | None,
        timeout: Timeout,
        **options: bool,
    ) -> None:
        self._wrappers, self._bridge = wrappers, wrappers.bridge
        self._asked = predicate
        """The predicate as the user has written it."""
        self._predicate = fitted(predicate, event)
        self._taken: deque[Candidate | Error] = deque()
        """Items of the inbox. The first one stays until the predicate has answered."""
        self._answering: LoopTask[Any] | None = None
        """The async predicate that was called with the first one."""
        self._outcome: Candidate | BaseException | None = None
        self._grace = 0.0 if isinstance(predicate, SocketMatch) and predicate.opened else OVERDUE_SECONDS
        """Seconds. A socket that has not opened when the wait ends is awaited no longer."""
        self._is_judging = False
        check_may_wait(self._bridge)
        self._bridge.call(self._begin, own, event, timeout, options)

    def _begin(self, own: Emitter, event: str, timeout: Timeout, options: dict[str, bool]) -> None:
        """Fill the inbox from the past, and have it filled with live events. In the loop's thread."""
        self._wrappers.check_going_on()
        for catch_up in bound():
            catch_up.flush()
        own_options: WaitOptions = own._wait_options(event, **options)
        inbox = EventInbox(own, event, timeout, own_options, takes_any=self._predicate is None)
        # Ctrl-C may come at any moment, and then no thread is left that would end the wait.
        self._finalizer = weakref.finalize(self, self._bridge.post, inbox.give_up)
        self._wrappers.waits.add(inbox)
        self._inbox = inbox

    def is_over(self) -> bool:
        """True if one of the values until now ends the wait, as far as async predicates have answered."""
        if not self._is_judging:
            self._judge(is_patient=False)
        return self._outcome is not None

    def result(self) -> T:
        """The value that ends the wait; raises what the wait failed with."""
        if self._is_judging:
            raise Error("another thread, or the function that a signal has interrupted, waits for this event")
        self._judge(is_patient=True)
        if isinstance(self._outcome, BaseException):
            raise self._outcome.with_traceback(None)
        assert self._outcome is not None
        value: T = self._wrappers.of(self._outcome.value)
        return value

    def take(self) -> T:
        """The result. If it is a socket, the caller's next wait begins at its opening."""
        value = self.result()
        if isinstance(self._outcome, Candidate) and self._outcome.backlog is not None:
            catch_up = CatchUp(self._outcome.backlog)
            self._outcome = self._outcome._replace(backlog=None)
            self._wrappers.catch_ups.add(catch_up)
            bind(catch_up)
        return value

    def cancel(self) -> None:
        """Give the wait up."""
        self._bridge.call(self._inbox.give_up)
        self._finalizer.detach()

    def _judge(self, *, is_patient: bool) -> None:
        """Take values out until one ends the wait, or (not `is_patient`) until nothing more is known now."""
        self._is_judging = True
        try:
            while self._outcome is None:
                item = self._first_item(is_patient=is_patient)
                if isinstance(item, Error):
                    self._end(with_trials(item, self._inbox.options.trials, self._asked))
                elif not self._inbox.is_undecided and self._holds(item, is_patient=is_patient):
                    self._end(item)
                self._taken.popleft()
        except _NothingKnown:
            pass
        finally:
            self._is_judging = False

    def _first_item(self, *, is_patient: bool) -> Candidate | Error:
        if not self._taken:
            inbox = self._inbox
            if not is_patient and inbox.items.empty():
                raise _NothingKnown
            items = self._bridge.receive(inbox) if is_patient else inbox.items.get_nowait()
            self._taken.extend(items)
        return self._taken[0]

    def _holds(self, candidate: Candidate, *, is_patient: bool) -> bool:
        """Raises _NothingKnown if an async predicate has not answered yet, unless `is_patient`."""
        if self._predicate is None:
            return True
        value, trials = candidate.value, self._inbox.options.trials
        try:
            holds = self._answer(self._wrappers.of(value), is_patient=is_patient)
        except _NothingKnown:
            raise
        except StopIteration as exception:
            error = as_exception(exception)
            trials.note_raise(error, self._asked, value, candidate.frame)
            self._end(error)
            return False
        except BaseException as error:
            if not isinstance(error, ENDS_THE_PROGRAM):
                trials.note_raise(error, self._asked, value, candidate.frame)
            self._end(error)
            raise
        self._inbox.judged += size_of((value,))
        if not holds:
            trials.add(value, holds)
        return bool(holds)

    def _answer(self, value: object, *, is_patient: bool) -> object:
        """The result of the predicate, or of its coroutine, which may have begun in an earlier call."""
        bridge = self._bridge
        if self._answering is None:
            assert self._predicate is not None
            answer = self._predicate(value)
            if not is_awaitable(answer):
                return answer
            verdict = outcome(self._inbox.verdict(answer, self._grace))
            has_turn = not is_patient or bridge.dispatcher.is_current
            self._answering = bridge.begin(verdict, has_turn=has_turn)
        if not (is_patient or bridge.call(self._answering.is_done)):
            raise _NothingKnown
        result, error = bridge.finish(self._answering)
        self._answering = None
        if error is not None:
            raise error
        return result

    def _end(self, outcome: Candidate | BaseException) -> None:
        self._outcome = outcome
        self._inbox.options.trials.clear()
        self._finalizer.detach()
        number = outcome.number if isinstance(outcome, Candidate) else None
        if catch_ups := bound():  # they end, or move past this event, before the caller waits again
            with suppress(Error):  # the proxy is gone
                self._bridge.call(_end_in_loop, self._inbox, number, catch_ups)
        else:
            self._bridge.post(self._inbox.cancel)


def _end_in_loop(inbox: EventInbox, number: int | None, catch_ups: Sequence[CatchUp]) -> None:
    inbox.cancel()
    if number is not None and (catch_up := inbox.options.catch_up) is not None:
        catch_up.advance(number)
    else:
        for catch_up in catch_ups:  # the caller has waited for something new
            catch_up.close()


class EventInfo(Generic[T]):
    """The value of an `expect_event` block."""

    def __init__(self, wait: SyncWait[T]) -> None:
        self._wait = wait

    @property
    def value(self) -> T:
        """The event's value: a str or bytes for frames, the WebSocket for `close` and `websocket`.

        After the block it is there; inside the block this waits for it. One thread may wait at a time.
        """
        return self._wait.take()

    def is_done(self) -> bool:
        """True if the wait has a value or has failed. Calls the predicate with the values until now.

        It does not wait: as long as an async predicate has not answered, the result is False.
        """
        return self._wait.is_over()

    def __repr__(self) -> str:
        return "<EventInfo>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, f"the value is info.value: write info.value.{name}")


class EventContextManager(SyncBlock, Generic[T]):
    """`with ws.expect_event(...) as info:`; the wait begins with the block, whose end waits for the event.

    An exception of the block wins over the wait, which is then cancelled.
    """

    def __init__(self, begin: Callable[[], SyncWait[T]], call: str) -> None:
        """`call` is the call that makes it, for errors: `ws.expect_event(...)`."""
        self._begin = begin
        self._expression = call
        self._must_be_entered()

    def __enter__(self) -> EventInfo[T]:
        self._entered()
        self._wait = self._begin()
        return EventInfo(self._wait)

    def __exit__(self, kind: object, exception: BaseException | None, traceback: object) -> None:
        if exception is not None:
            self._wait.cancel()
        else:
            self._wait.result()
