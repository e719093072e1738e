"""pyee's event emitter, with known event names. An exception of one listener does not reach the others."""

import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

from pyee import EventEmitter

from wirewright.model import user_errors
from wirewright.model.arguments import fit
from wirewright.model.errors import ENDS_THE_PROGRAM
from wirewright.model.history import PastEvent
from wirewright.model.ownership import Owner, current_owner
from wirewright.model.scope import Scope

__tracebackhide__ = True  # pytest shows the line that calls

DEFAULT_TIMEOUT = 30_000.0
"""Milliseconds that a wait for an event takes by default, as in Playwright."""
EmittedEvent = Literal["changed", "close", "framereceived", "framesent", "missed", "socketerror", "websocket"]
"""The events of a WebSocket and of a Proxy. `changed` (the handshake went on) is for taps only."""
Listeners = dict[str, "OrderedDict[Callable[..., Any], RegisteredListener]"]
"""By event: what a user registered, and how it is called."""


_NOTHING: Iterator[object] = iter(())


class EventTap(Protocol):
    """Gets all events of an emitter in batches, in the loop's thread, before the listeners are called."""

    @property
    def wants(self) -> Container[str]:
        """The events that the tap listens to, as a listener does: a socket reads its messages for them."""

    def hear(self, event: EmittedEvent, values: Sequence[Any], /) -> None:
        """An event, with all values that were emitted at the same time."""


class RegisteredListener:
    """A callable that is registered for an event, and its owner."""

    __slots__ = ("call", "is_live", "owner")

    def __init__(self, call: Callable[..., Any], owner: Owner | None) -> None:
        self.call = call
        self.owner = owner
        self.is_live = True
        """False while it is to hear the past first."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)


class Emitter(EventEmitter):
    """A pyee emitter.

    - An event name that is not in `_EVENTS` raises ValueError, a listener that is not callable TypeError.
    - An exception of a listener is logged with its traceback. The other listeners are called all the same.
    - A listener that takes no parameter is called without the value.
    - An async listener runs as a task, started in the order of the events.
    - The same function registered twice for one event is called once (pyee's rule).
    """

    _EVENTS: ClassVar[frozenset[str]] = frozenset()
    _EVENTS_ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """Events of other objects: each with the end of a sentence that says whose it is."""

    _wait_options: Callable[..., Any]
    """Returns the `WaitOptions` of a wait for an event that begins now."""

    _events: Listeners  # type: ignore[assignment]  # any callables in pyee

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope
        self._version = 0
        """The number of changes of the listeners and taps."""
        self._taps: tuple[EventTap, ...] = ()
        self._emitting = _NOTHING
        """The values that are still to be emitted, of those that came at the same time."""
        self._late: set[RegisteredListener] | None = None
        """The listeners that hear past events, while `_replay` emits them."""

    @property
    def _default_timeout(self) -> float:
        """The timeout of waits that have none of their own, in milliseconds; 0 means no limit."""
        return DEFAULT_TIMEOUT

    def _check_runs(self) -> None:
        """Raise Error if no event can come any more."""
        self._scope.check_runs()

    def _check_event(self, event: str) -> None:
        """Raise ValueError if this emitter has no such event, and TypeError for what is not a name."""
        if not isinstance(event, str):
            raise TypeError(f"event must be the name of an event, not {type(event).__name__}")
        if event not in self._EVENTS:
            raise ValueError(self._unknown(event))

    def _unknown(self, event: str) -> str:
        """The sentence about a name that is not an event of this object, with the event that was meant."""
        import difflib  # only mistakes need it

        if event in self._EVENTS_ELSEWHERE:
            return f"{event} is {self._EVENTS_ELSEWHERE[event]}"
        known = [*self._EVENTS, *self._EVENTS_ELSEWHERE]
        near = difflib.get_close_matches(event.lower(), known, n=1, cutoff=0.7)
        sentence = f"unknown event {event!r}: "
        if near:
            sentence += f"did you mean {near[0]!r}? "
        if near and near[0] in self._EVENTS_ELSEWHERE:
            return f"{sentence}It is {self._EVENTS_ELSEWHERE[near[0]]}"
        kind = next(each for each in type(self).__mro__ if "_EVENTS" in vars(each))
        own = ", ".join(f'"{name}"' for name in sorted(self._EVENTS))
        return f"{sentence}{kind.__name__} has {own}"

    def on(self, event: str, f: Callable[..., Any] | None = None) -> Any:
        """Call `f` each time; without `f`, a decorator."""
        self._check_event(event)
        return super().on(event) if f is None else super().on(event, f)

    def once(self, event: str, f: Callable[..., Any] | None = None) -> Any:
        """Call `f` the next time only; without `f`, a decorator."""
        self._check_event(event)
        if f is None:
            return lambda f: self.once(event, f)
        listener, fitted = f, fit(f, 1)

        def call_once(value: object) -> Any:
            if listener not in self._events.get(event, ()):
                return None  # an earlier listener of this event removed it
            self.remove_listener(event, listener)
            return fitted(value)

        self._add_event_handler(event, listener, call_once)
        return listener

    def remove_listener(self, event: str, f: Callable[..., Any]) -> None:
        """Remove `f`. Nothing happens if it is not registered."""
        self._check_event(event)
        if f in self._events.get(event, ()):  # pyee 13 raises a KeyError where later ones do not
            super().remove_listener(event, f)

    def remove_all_listeners(self, event: str | None = None) -> None:
        """Remove all listeners of one event, or of all events."""
        if event is not None:
            self._check_event(event)
        super().remove_all_listeners(event)
        self._version += 1

    def _attach(self, tap: EventTap) -> None:
        """Add a tap, or note that an attached one wants other events than before."""
        if tap not in self._taps:
            self._taps = (*self._taps, tap)
        self._version += 1

    def _detach(self, tap: EventTap) -> None:
        """Remove a tap. Nothing happens if there is no such tap."""
        self._taps = tuple(each for each in self._taps if each is not tap)
        self._version += 1

    def _is_heard(self, event: str) -> bool:
        """True if there is a listener, a wait or a tap for an event."""
        return bool(self._events.get(event)) or any(event in tap.wants for tap in self._taps)

    def _call_handlers(self, event: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        # pyee's `emit`, which users may call, gets here. Returns True if there are listeners.
        has_listeners = bool(self._events.get(event))
        self._call_listeners(event, args[:1])
        return has_listeners

    def _emit_each(self, event: EmittedEvent, values: Sequence[object]) -> None:
        """Emit one event for each of many values, to taps and listeners."""
        for tap in self._taps:
            tap.hear(event, values)
        self._call_listeners(event, values)

    def _call_listeners(
        self, event: str, values: Sequence[object], late: Container[RegisteredListener] | None = None
    ) -> None:
        """Call the `late` listeners of an event with values, or all that are live."""
        version = -1
        listeners: list[RegisteredListener] = []
        self._emitting = emitting = iter(values)
        for value in emitting:
            if version != self._version:  # listeners may be added and removed during the calls
                version = self._version
                registered: Iterable[RegisteredListener] = self._events.get(event, {}).values()
                listeners = [each for each in registered if (each.is_live if late is None else each in late)]
                if not listeners:
                    break
            for listener in listeners:
                try:
                    result = listener.call(value)
                except ENDS_THE_PROGRAM:
                    raise
                except BaseException:  # pytest.fail() raises none that is an Exception
                    user_errors.report(self, "a listener", sys.exception())
                else:
                    if result is not None and inspect.isawaitable(result):
                        self._scope.start(result, listener.owner, self)
        self._emitting = _NOTHING  # it keeps no value alive

    def _add_event_handler(self, event: str, k: Callable[..., Any], v: Callable[..., Any]) -> None:
        # Every way to register a listener ends here; `v` is what pyee calls, `k` what the user gave.
        self._check_event(event)
        if not callable(k):
            raise TypeError(f"a listener must be callable, not {type(k).__name__}")
        owner = current_owner()
        self._scope.note_owner(owner)
        listener = RegisteredListener(fit(v, 1), owner)
        self._register(event, k, listener)
        if self._late is not None:
            self._late.add(listener)

    def _forget(self, owner: Owner) -> None:
        """Remove all listeners of a script."""
        for event, listeners in list(self._events.items()):
            for f, listener in list(listeners.items()):
                if listener.owner is owner:
                    self.remove_listener(event, f)

    def _register(self, event: str, f: Callable[..., Any], listener: RegisteredListener) -> None:
        """As `on`, also for functions of Wirewright, which belong to no script."""
        super()._add_event_handler(event, f, listener)
        self._version += 1

    def _put_behind(self, event: str, f: Callable[..., Any]) -> None:
        """Have a listener that was registered just now hear nothing before `_replay`."""
        self._events[event][f].is_live = False
        self._version += 1

    def _replay(self, past: Iterable[PastEvent], behind: Iterable[tuple[str, Callable[..., Any]]]) -> None:
        """Emit past events, in order, to the listeners that are behind, and to those that they register
        meanwhile. All of them are live from then on."""
        late = self._late = {
            self._events[event][f] for event, f in behind if f in self._events.get(event, ())
        }
        try:
            for each in past:
                self._call_listeners(each.event, (each.value,), late)
        finally:
            self._late = None
            for listener in late:
                listener.is_live = True
            self._version += 1

    def _remove_listener(self, event: str, f: Callable[..., Any]) -> None:
        # All ways to remove a listener end here.
        super()._remove_listener(event, f)
        self._version += 1
