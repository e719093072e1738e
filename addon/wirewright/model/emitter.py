"""pyee's event emitter, with known event names and with listeners that cannot hurt each other."""

import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

from pyee import EventEmitter

from wirewright.model import user_errors
from wirewright.model.arguments import fit
from wirewright.model.errors import ENDS_THE_PROGRAM
from wirewright.model.history import PastEvent
from wirewright.model.ownership import Owner, current_owner
from wirewright.model.scope import Scope

F = TypeVar("F", bound=Callable[..., Any])

EventTap = Callable[[Sequence[Any]], object]
"""A function of Wirewright that is given the values of an event in batches, in the loop's thread."""
Listeners = dict[str, "OrderedDict[Callable[..., Any], Callable[..., Any]]"]


class Emitter(EventEmitter):
    """A pyee emitter.

    - An event name that is not in `EVENTS` is a ValueError, a listener that is no callable a TypeError.
    - A listener that raises is logged with its traceback and reaches nobody else.
    - A listener that takes no parameter is called without the value.
    - An async listener runs as a task, started in the order of the events.
    - The same function registered twice for one event is called once (pyee's rule).
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset()

    _events: Listeners

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope
        self._version = 0
        """Counts the changes of the listeners and taps."""
        self._taps: dict[str, tuple[EventTap, ...]] = {}
        self._late: set[RegisteredListener] | None = None
        """The listeners that hear past events, while `replay` emits them."""

    def check_event(self, event: str) -> None:
        """Raise ValueError if this emitter has no such event."""
        if event not in self.EVENTS:
            known = ", ".join(f'"{name}"' for name in sorted(self.EVENTS))
            raise ValueError(f"unknown event {event!r}: {type(self).__name__} has {known}")

    @overload
    def on(self, event: str) -> Callable[[F], F]: ...
    @overload
    def on(self, event: str, f: F) -> F: ...
    def on(self, event: str, f: F | None = None) -> F | Callable[[F], F]:
        """Call `f` each time; without `f`, a decorator."""
        self.check_event(event)
        return super().on(event) if f is None else super().on(event, f)

    @overload  # type: ignore[override]  # pyee does not say that it returns what it was given
    def once(self, event: str) -> Callable[[F], F]: ...
    @overload
    def once(self, event: str, f: F) -> F: ...
    def once(self, event: str, f: F | None = None) -> F | Callable[[F], F]:
        """Call `f` the next time only; without `f`, a decorator."""
        self.check_event(event)
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

    def add_listener(self, event: str, f: F) -> F:
        """The same as `on(event, f)`."""
        return super().add_listener(event, f)

    def remove_listener(self, event: str, f: Callable[..., Any]) -> None:
        """Take `f` back; one that is not registered is no error."""
        self.check_event(event)
        if f in self._events.get(event, ()):  # pyee 13 raises a KeyError where later ones do not
            super().remove_listener(event, f)

    def forget(self, owner: Owner) -> None:
        """Take back every listener that a script registered."""
        for event, listeners in list(self._events.items()):
            for f, listener in list(listeners.items()):
                if isinstance(listener, RegisteredListener) and listener.owner is owner:
                    self.remove_listener(event, f)

    def remove_all_listeners(self, event: str | None = None) -> None:
        """Take back every listener of one event, or of all."""
        super().remove_all_listeners(event)
        self._version += 1

    def _tap(self, event: str, tap: EventTap) -> None:
        """Give each batch of an event's values to `tap`, before the listeners are called with them."""
        self._taps[event] = (*self._taps.get(event, ()), tap)
        self._version += 1

    def _untap(self, event: str, tap: EventTap) -> None:
        """Remove a tap. Nothing happens if there is no such tap."""
        self._taps[event] = tuple(each for each in self._taps.get(event, ()) if each != tap)
        self._version += 1

    def _is_heard(self, event: str) -> bool:
        return bool(self._events.get(event) or self._taps.get(event))

    def emit_each(self, event: str, values: Sequence[object]) -> None:
        """Emit one event for each of many values: what `emit` does, at a fraction of its cost."""
        for tap in self._taps.get(event, ()):
            tap(values)
        version, listeners = -1, list[RegisteredListener]()
        for value in values:
            if version != self._version:  # they may come and go while they are called
                version = self._version
                listeners = [each for each in self._listeners(event) if each.is_live]
                if not listeners:
                    return
            for listener in listeners:
                try:
                    result = listener.call(value)
                except ENDS_THE_PROGRAM:
                    raise
                except BaseException:  # pytest.fail() raises none that is an Exception
                    self._log_exception()
                else:
                    if result is not None:
                        self._follow(result, listener)

    def _add_event_handler(self, event: str, k: Callable[..., Any], v: Callable[..., Any]) -> None:
        # Every way to register a listener ends here; `v` is what pyee calls, `k` what the user gave.
        self.check_event(event)
        if not callable(k):
            raise TypeError(f"a listener must be callable, not {type(k).__name__}")
        owner = current_owner()
        self._scope.note_owner(owner)
        listener = RegisteredListener(fit(v, 1), owner)
        self._register(event, k, listener)
        if self._late is not None:
            self._late.add(listener)

    def listen(self, event: str, f: Callable[..., Any]) -> None:
        """As `on`, for functions of Wirewright: they take the value, and do not belong to a script."""
        self._register(event, f, RegisteredListener(f, None))

    def _register(self, event: str, f: Callable[..., Any], listener: "RegisteredListener") -> None:
        super()._add_event_handler(event, f, listener)
        self._version += 1

    def _listeners(self, event: str) -> Iterable["RegisteredListener"]:
        listeners: Iterable[Any] = self._events.get(event, {}).values()
        return listeners

    def _listener(self, event: str, f: Callable[..., Any]) -> "RegisteredListener | None":
        listeners: Mapping[Any, Any] = self._events.get(event, {})
        return listeners.get(f)

    def put_behind(self, event: str, f: Callable[..., Any]) -> None:
        """Have a listener that was registered just now hear nothing before `replay`."""
        listener = self._listener(event, f)
        if listener is not None:
            listener.is_live = False
            self._version += 1

    def replay(self, past: Iterable[PastEvent], behind: Iterable[tuple[str, Callable[..., Any]]]) -> None:
        """Emit past events, in order, to the listeners that are behind, and to those that they register
        meanwhile. All of them are live from then on."""
        late = self._late = {found for event, f in behind if (found := self._listener(event, f))}
        try:
            for _, event, value in past:
                for listener in list(self._listeners(event)):
                    if listener in late:
                        self._call(listener, value)
        finally:
            self._late = None
            for listener in late:
                listener.is_live = True
            self._version += 1

    def _remove_listener(self, event: str, f: Callable[..., Any]) -> None:
        # Every way to take one back ends here.
        super()._remove_listener(event, f)
        self._version += 1

    def _emit_run(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # pyee's `emit` calls each listener through here.
        assert isinstance(f, RegisteredListener)
        if f.is_live:
            self._call(f, *args)

    def _call(self, listener: "RegisteredListener", *values: object) -> None:
        try:
            result = listener.call(*values)
        except ENDS_THE_PROGRAM:
            raise
        except BaseException:
            self._log_exception()
        else:
            if result is not None:
                self._follow(result, listener)

    def _follow(self, result: object, listener: "RegisteredListener") -> None:
        """Run what an async listener returned."""
        if inspect.isawaitable(result):
            self._scope.start(result, listener.owner, self)

    def _log_exception(self) -> None:
        user_errors.report(self, "a listener", sys.exception())


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
