"""How a user's listeners are called by the dispatcher.

The listeners are kept in the sync API's object, which is a tap of its async object while it has listeners. It
gives each batch of events a sequence number, and leaves it to the dispatcher. A listener hears batches whose
number is larger than the one at which it was registered.
"""

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from wirewright.model import user_errors
from wirewright.model.arguments import fit
from wirewright.model.catch_up import ORDER_SECONDS, Backlog, CatchUp, bind, find
from wirewright.model.emitter import EmittedEvent, Emitter
from wirewright.model.history import PastEvent
from wirewright.model.websocket import WebSocket
from wirewright.sync.dispatcher import Calls, size_of
from wirewright.sync.wrappers import Wrapper, WrapperRegistry, check_listener

__tracebackhide__ = True  # pytest shows the line that calls

EmitterT = TypeVar("EmitterT", bound=Emitter)
F = TypeVar("F", bound=Callable[..., Any])

FRAMES = ("framesent", "framereceived")
NOT_YET = 1 << 62
"""The sequence number of a listener that is to hear the past first."""


class SyncListener:
    """A user's function that is registered for an event."""

    __slots__ = ("call", "function", "is_for_once", "since")

    def __init__(self, function: Callable[..., Any], since: int, *, is_for_once: bool) -> None:
        self.function = function
        self.call = fit(function, 1)
        self.since = since
        """It hears events with larger sequence numbers."""
        self.is_for_once = is_for_once


@dataclass(eq=False, slots=True)
class WrapperTap:
    """The tap through which a sync object hears its async object."""

    hear: Callable[[EmittedEvent, Sequence[Any]], None]
    wants: set[str]
    """It is changed in the loop's thread alone."""


class ListeningWrapper(Wrapper[EmitterT], ABC):
    """An object of the sync API with events."""

    def __init__(self, own: EmitterT, wrappers: WrapperRegistry) -> None:
        super().__init__(own, wrappers)
        self._listeners: dict[str, dict[Callable[..., Any], SyncListener]] = {
            event: {} for event in own._EVENTS
        }
        self._tap: WrapperTap | None = None
        """None while nothing is wanted: the wrapper is in no circle of references then."""
        self._held = 0
        """While it is more than 0, all events are wanted. A proxy and a context may hold one socket."""
        self._is_opening = False
        """True until the dispatcher has called all `websocket` listeners, each up to its first wait. In the
        dispatcher's thread."""
        self._late: set[SyncListener] | None = None
        """The listeners that hear past events, while these are replayed. In the dispatcher's thread."""

    def on(self, event: str, f: F | None = None) -> Any:
        """Call `f` each time, in the dispatcher's thread; without `f`, a decorator."""
        return self._register(event, f, is_for_once=False)

    def once(self, event: str, f: F | None = None) -> Any:
        """Call `f` the next time only; without `f`, a decorator."""
        return self._register(event, f, is_for_once=True)

    def remove_listener(self, event: str, f: Callable[..., Any]) -> None:
        """Remove `f`. Nothing happens if it is not registered."""
        self._own._check_event(event)
        self._listeners[event].pop(f, None)
        self._bridge.post(self._want_less)

    def remove_all_listeners(self, event: str | None = None) -> None:
        """Remove all listeners of one event, or of all events."""
        if event is not None:
            self._own._check_event(event)
        for each in self._listeners if event is None else (event,):
            self._listeners[each].clear()
        self._bridge.post(self._want_less)

    def _register(self, event: str, f: F | None, *, is_for_once: bool) -> Any:
        self._own._check_event(event)
        if f is None:
            return lambda f: self._register(event, f, is_for_once=is_for_once)
        check_listener(f)
        if self._bridge.dispatcher.is_current:
            self._own._check_runs()
            self._wrappers.check_going_on()
            catch_up = None if self._is_opening else self._catch_up()
            # Batches that the dispatcher has not begun yet are still to come for this listener.
            listener = SyncListener(f, 0 if catch_up is None else NOT_YET, is_for_once=is_for_once)
            if self._late is not None:
                self._late.add(listener)
            self._listeners[event][f] = listener
            self._bridge.post(self._begin_to_hear, event, listener, catch_up)
        else:
            self._call(self._add, event, f, is_for_once)
        self._wrappers.note(partial(_remove, weakref.ref(self), event, f))
        return f

    def _catch_up(self) -> CatchUp | None:
        """The past events that a listener registered now hears first; None if it hears only live ones."""
        return None

    def _related(self, event: str) -> Iterable[str]:
        """The events that are wanted together with this one."""
        return (event,)

    # In the loop's thread

    def _add(self, event: str, f: Callable[..., Any], is_for_once: bool) -> None:
        self._own._check_runs()
        self._wrappers.check_going_on()
        catch_up = self._catch_up()
        if catch_up is not None and not catch_up.events():
            catch_up = None
        before = self._listeners[event].get(f)
        since = self._bridge.dispatcher.dispatched if before is None else before.since
        listener = SyncListener(f, since if catch_up is None else NOT_YET, is_for_once=is_for_once)
        self._listeners[event][f] = listener
        self._begin_to_hear(event, listener, catch_up)

    def _begin_to_hear(self, event: str, listener: SyncListener, catch_up: CatchUp | None) -> None:
        self._want(self._related(event))
        if catch_up is not None:
            seconds = ORDER_SECONDS if catch_up.events() else 0
            catch_up.follow(self._replay, event, listener.function, seconds)

    def _want(self, events: Iterable[str]) -> None:
        if self._tap is None:
            self._tap = WrapperTap(self._hear, set())
        if not self._tap.wants.issuperset(events):
            self._tap.wants.update(events)
            self._own._attach(self._tap)

    def _hold(self) -> None:
        """Want all events until `_release`: listeners are registered before the dispatcher calls them."""
        self._held += 1
        self._want(self._own._EVENTS)

    def _release(self) -> None:
        self._held -= 1
        self._want_less()

    def _want_less(self) -> None:
        tap = self._tap
        if self._held or tap is None:
            return
        wanted = {each for each in tap.wants if any(self._listeners[event] for event in self._related(each))}
        if not wanted:
            self._own._detach(tap)
            self._tap = None
        elif wanted != tap.wants:
            tap.wants = wanted
            self._own._attach(tap)

    @abstractmethod
    def _hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        """Have the dispatcher call the listeners of an event."""

    def _replay(self, past: Sequence[PastEvent], behind: Sequence[tuple[str, Callable[..., Any]]]) -> None:
        self._bridge.dispatcher.dispatch(self._past_calls, past, behind)

    # In the dispatcher's thread

    def _calls(
        self, event: str, values: Sequence[Any], number: int, late: Container[SyncListener] | None = None
    ) -> Calls:
        """The calls of the `late` listeners with the values of an event, or of all that hear `number`."""
        listeners = self._listeners[event]
        for value in values:
            shown = self._wrappers.of(value)
            for listener in list(listeners.values()):
                hears = listener.since < number if late is None else listener in late
                # The calls before may have removed it, and may have taken a long time.
                if not hears or listeners.get(listener.function) is not listener:
                    continue
                if self._wrappers.are_over:
                    return
                if listener.is_for_once:
                    del listeners[listener.function]
                yield listener.call, shown, self._report
        if not listeners:
            self._bridge.post(self._want_less)

    def _report(self, exception: BaseException) -> None:
        user_errors.report(self, "a listener", self._wrappers.reported(exception))

    def _past_calls(
        self, past: Sequence[PastEvent], behind: Sequence[tuple[str, Callable[..., Any]]], number: int
    ) -> Calls:
        """The calls with past events of the listeners that are behind, and of those that they register."""
        found = (self._listeners[event].get(f) for event, f in behind)
        late = self._late = {each for each in found if each is not None}
        try:
            for each in past:
                yield from self._calls(each.event, [each.value], number, late)
        finally:
            self._late = None
            for listener in late:
                listener.since = number


class SocketWrapper(ListeningWrapper[WebSocket]):
    """A socket, whose frames are left out while too many wait for the dispatcher."""

    def __init__(self, own: WebSocket, wrappers: WrapperRegistry) -> None:
        super().__init__(own, wrappers)
        self._missed = 0
        """The number of frames that were left out, and that no `missed` has reported yet."""
        self._lock = threading.Lock()  # of the loop and the dispatcher

    def _hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        if self._tap is None or event not in self._tap.wants:
            return
        if event == "missed":
            self._miss(sum(values))
        elif event not in FRAMES or not self._bridge.dispatcher.is_behind():
            self._bridge.dispatcher.dispatch(self._calls, event, values, size=size_of(values))
        elif self._held or self._listeners[event]:
            self._miss(len(values))

    def _related(self, event: str) -> Iterable[str]:
        # A listener of one direction may register one of the other, for an answer that is on its way already.
        return FRAMES if event in FRAMES else (event,)

    def _catch_up(self) -> CatchUp | None:
        return find(self._own._history)

    def _miss(self, frames: int) -> None:
        with self._lock:
            is_waiting = bool(self._missed)
            self._missed += frames
        if not is_waiting:  # else one that is waiting reports these, too
            self._bridge.dispatcher.dispatch(self._missed_calls)

    def _missed_calls(self, number: int) -> Calls:
        with self._lock:
            frames, self._missed = self._missed, 0
        yield from self._calls("missed", [frames], number)


class ProxyWrapper(ListeningWrapper[EmitterT]):
    """An emitter of sockets that open. A listener's first waits and listeners on a socket begin at its
    opening, whenever the dispatcher gets to it."""

    def _hear(self, event: EmittedEvent, values: Sequence[Any]) -> None:
        for own in values:
            self._wrappers.of(own)._hold()
            self._bridge.dispatcher.dispatch(self._opening_calls, event, own, Backlog(own._history))

    def _opening_calls(self, event: str, own: WebSocket, backlog: Backlog, number: int) -> Calls:
        wrapper: ListeningWrapper[Any] = self._wrappers.of(own)
        wrapper._is_opening = True
        for call, socket, report in self._calls(event, [own], number):
            yield partial(self._call_with, call, CatchUp(backlog)), socket, report
        wrapper._is_opening = False
        self._bridge.post(wrapper._release)

    def _call_with(self, call: Callable[[Any], Any], catch_up: CatchUp, socket: object) -> None:
        bind(catch_up)
        try:
            self._bridge.call_user(call, (socket,))
        finally:
            self._bridge.post(catch_up.close)


def _remove(wrapper: "weakref.ref[ListeningWrapper[Any]]", event: str, f: Callable[..., Any]) -> None:
    if (listening := wrapper()) is not None:  # else its socket is gone
        listening.remove_listener(event, f)
