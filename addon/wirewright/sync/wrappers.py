"""The sync API's objects as faces of the async API's: how they are called, listened to and waited for.

What a face is asked to do is done in the loop's thread. A user's listeners are kept here, and each event is
one job of the dispatcher's: who hears it is decided when its turn comes, and who comes or goes has a turn,
too. So what a `websocket` listener registers on its socket hears that socket from its opening on.
"""

import asyncio
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import RLock
from types import TracebackType
from typing import Any, Generic, TypeVar

from wirewright.model.arguments import fit
from wirewright.model.catch_up import ORDER_SECONDS, Backlog, CatchUp, bind, bound
from wirewright.model.emitter import Emitter, RegisteredListener
from wirewright.model.errors import EndedError, Error
from wirewright.model.history import PastEvent
from wirewright.model.matching import LateMatch
from wirewright.model.waiter import Predicate, Waiter, WaitingEmitter
from wirewright.sync.bridge import Bridge, CallersPredicate, Questions

T = TypeVar("T")
OwnT = TypeVar("OwnT")
WaitingT = TypeVar("WaitingT", bound=WaitingEmitter)
F = TypeVar("F", bound=Callable[..., Any])

OVER = "this test is over"
"""What a handler that goes on after it is told."""
Kinds = Mapping[type, Callable[[Any, "Faces"], "Face[Any]"]]
"""Which face an object of the async API has."""


class Faces:
    """The sync object of each async one: the same, for as long as somebody has it."""

    def __init__(self, bridge: Bridge, kinds: Kinds) -> None:
        self.bridge = bridge
        self.kinds = kinds
        self.undo: list[Callable[[], object]] | None = None
        """What takes back what was registered through these faces, if somebody wants to."""
        self.are_over = False
        """Whether nobody shall hear, wait for or route anything more through them."""
        self.waits: weakref.WeakSet[Wait[Any]] = weakref.WeakSet()
        self.catch_ups: weakref.WeakSet[CatchUp] = weakref.WeakSet()
        """Those of the threads that have taken sockets through them."""
        self._known: weakref.WeakValueDictionary[int, Face[Any]] = weakref.WeakValueDictionary()
        self._lock = RLock()  # a signal's handler may come here in the middle

    def check_going_on(self) -> None:
        """Raise Error if they are over."""
        if self.are_over:
            raise EndedError(OVER)

    def end(self) -> None:
        """Have nobody hear or wait for anything more through them."""
        self.undo, self.are_over = None, True
        with suppress(Error):  # the proxy may be gone
            self.bridge.call(self._end_waits)

    def _end_waits(self) -> None:
        for wait in list(self.waits):
            wait.fail(OVER)

    def catch_up(self) -> None:
        """Have all threads caught up: they keep no socket alive. For the loop's thread."""
        for each in list(self.catch_ups):
            each.close()

    def note(self, undo: Callable[[], object]) -> None:
        """Something was registered, and this takes it back."""
        if self.undo is not None:
            self.undo.append(undo)

    def of(self, value: Any) -> Any:
        """That of a socket or of a side of a route; anything else is itself."""
        if isinstance(value, (str, bytes)):  # frames, and these are many
            return value
        kind = next((face for own, face in self.kinds.items() if isinstance(value, own)), None)
        if kind is None:
            return value
        with self._lock:
            face = self._known.get(id(value))  # a face keeps its own object, and so its id
            if face is None:
                face = self._known[id(value)] = kind(value, self)
            return face


class Face(Generic[OwnT]):
    """An object of the sync API."""

    def __init__(self, own: OwnT, faces: Faces) -> None:
        self._own = own
        self._faces = faces
        self._bridge = faces.bridge

    def __repr__(self) -> str:
        return repr(self._own)

    def _call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return self._bridge.call(function, *arguments, **options)

    def _do(self, function: Callable[..., Awaitable[None]], *arguments: Any, **options: Any) -> None:
        """Call a function and wait for the awaitable that it returns. In the loop's thread, only call it."""
        if self._bridge.is_loop:
            function(*arguments, **options)
            return

        async def run() -> None:
            await function(*arguments, **options)

        self._bridge.wait(run())


class Asked:
    """A user's function where the async API expects one that answers. It equals any other of the same
    function and the same faces."""

    def __init__(self, faces: Faces, function: Callable[..., Any], count: int = 1) -> None:
        """The function is called with at most `count` values."""
        _check_listener(function)
        self._faces = faces
        self._function = function
        self._fitted = fit(function, count)

    def __call__(self, *values: object) -> Any:
        return self._faces.bridge.ask(self._fitted, *map(self._faces.of, values))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Asked):
            return False
        return self._function == other._function and self._faces is other._faces  # a test takes back its own

    def __hash__(self) -> int:
        return hash(self._function)


class AskedUrl(Asked, LateMatch):
    """A rule of a route."""


class Listeners(Emitter):
    """A face's. The dispatcher emits, and no listener waits for another one."""

    def __init__(self, own: Emitter, bridge: Bridge) -> None:
        super().__init__(own._scope)
        self._own = own
        self._bridge = bridge
        self._backlog: Backlog | None = None

    def __repr__(self) -> str:
        return repr(self._own)

    def check_event(self, event: str) -> None:
        self._own.check_event(event)

    def are_for(self, event: str) -> bool:
        """Whether anybody listens to an event."""
        return bool(self._events.get(event))

    def emit_opening(self, event: str, value: object, backlog: Backlog) -> None:
        """Emit a socket that opens: each listener's waits begin at the opening."""
        self._backlog = backlog
        try:
            self.emit(event, value)
        finally:
            self._backlog = None

    def _call(self, listener: RegisteredListener, *values: object) -> None:
        catch_up = None if self._backlog is None else CatchUp(self._backlog)
        self._bridge.run_handler(self._run, listener, catch_up, *values)

    def _run(self, listener: RegisteredListener, catch_up: CatchUp | None, *values: object) -> None:
        if catch_up is not None:
            bind(catch_up)
        try:
            self._bridge.call_user(listener.call, values)
        except BaseException:  # sys.exit() ends no thread that others need
            self._log_exception()
        finally:
            if catch_up is not None:
                self._bridge.post(catch_up.close)


class WaitingFace(Face[WaitingT]):
    """Listeners and waits."""

    def __init__(self, own: WaitingT, faces: Faces) -> None:
        super().__init__(own, faces)
        self._listeners = Listeners(own, faces.bridge)
        self._relays: dict[str, Callable[..., None]] = {}
        """What listens in the loop's thread, and is changed there alone."""
        self._expected: Counter[str] = Counter()
        """Listeners that are on their way to the dispatcher."""
        self._is_held = False

    def on(self, event: str, f: F | None = None) -> Any:
        """Call `f` each time, in the dispatcher's thread; without `f`, a decorator."""
        return self._register(self._listeners.on, event, f)

    def once(self, event: str, f: F | None = None) -> Any:
        """Call `f` the next time only; without `f`, a decorator."""
        return self._register(self._listeners.once, event, f)

    def remove_listener(self, event: str, f: Callable[..., Any]) -> None:
        """Take `f` back; one that is not registered is no error."""
        self._own.check_event(event)
        self._bridge.in_turn(self._dismiss, self._listeners.remove_listener, event, f)

    def remove_all_listeners(self, event: str | None = None) -> None:
        """Take back every listener of one event, or of all."""
        self._bridge.in_turn(self._dismiss, self._listeners.remove_all_listeners, event)

    def _hold(self) -> None:
        """Let no event pass until `_release`: whoever wants to hear it may come before its turn."""
        self._is_held = True
        for event in self._own.EVENTS:
            self._relay(event)

    def _release(self) -> None:
        """What nobody listens to may pass."""
        self._is_held = False
        self._drop_relays()

    def _register(self, register: Callable[..., Any], event: str, f: F | None) -> Any:
        if f is None:
            return lambda f: self._register(register, event, f)
        _check_listener(f)
        self._own.check_event(event)
        self._own._scope.check_runs()
        self._faces.check_going_on()
        if self._bridge.is_dispatcher:
            catch_up = None if self._is_held else self._catch_up()
            register(event, f)  # at once: to wait for the loop is to let others have their turn
            if catch_up is not None:
                self._listeners.put_behind(event, f)
            self._bridge.post(self._follow, event, f, catch_up)
        else:
            self._call(self._admit, register, event, f)
        self._faces.note(partial(_take_back, weakref.ref(self), event, f))
        return f

    def _related(self, event: str) -> Iterable[str]:
        """The events that are relayed together with this one."""
        return (event,)

    def _catch_up(self) -> CatchUp | None:
        """The past events that a listener registered now hears first; None if it hears only live ones."""
        return None

    # In the loop's thread

    def _admit(self, register: Callable[..., Any], event: str, f: Callable[..., Any]) -> None:
        catch_up = self._catch_up()
        if catch_up is not None and not catch_up.events():
            catch_up = None
        self._expected[event] += 1
        self._bridge.in_turn(self._enrol, register, event, f, catch_up is not None)
        self._follow(event, f, catch_up)

    def _follow(self, event: str, f: Callable[..., Any], catch_up: CatchUp | None) -> None:
        self._relay(event)
        if catch_up is not None:
            catch_up.follow(self._replay, event, f, ORDER_SECONDS if catch_up.events() else 0)

    def _replay(self, past: Sequence[PastEvent], behind: Sequence[tuple[str, Callable[..., object]]]) -> None:
        self._bridge.dispatch(self._replay_in_turn, past, behind)

    def _settle(self, event: str) -> None:
        self._expected[event] -= 1
        self._drop_relays()

    def _relay(self, event: str) -> None:
        for related in self._related(event):
            if related not in self._relays:
                relay = partial(self._heard, related)
                self._own.listen(related, relay)
                self._relays[related] = relay

    def _drop_relays(self) -> None:
        for event, relay in list(self._relays.items()):
            if not (self._is_held or any(map(self._is_wanted, self._related(event)))):
                del self._relays[event]
                self._own.remove_listener(event, relay)

    def _is_wanted(self, event: str) -> bool:
        return self._expected[event] > 0 or self._listeners.are_for(event)

    def _heard(self, event: str, *values: object) -> None:
        self._bridge.dispatch(self._emit, event, *values)

    # In the dispatcher's

    def _enrol(
        self, register: Callable[..., Any], event: str, f: Callable[..., Any], is_behind: bool
    ) -> None:
        try:
            register(event, f)
            if is_behind:
                self._listeners.put_behind(event, f)
        finally:
            self._bridge.post(self._settle, event)

    def _dismiss(self, remove: Callable[..., None], *which: object) -> None:
        remove(*which)
        self._bridge.post(self._drop_relays)

    def _replay_in_turn(
        self, past: Sequence[PastEvent], behind: Sequence[tuple[str, Callable[..., object]]]
    ) -> None:
        if not self._faces.are_over:
            self._listeners.replay([each._replace(value=self._faces.of(each.value)) for each in past], behind)
            self._bridge.post(self._drop_relays)

    def _emit(self, event: str, *values: object) -> None:
        if self._faces.are_over:
            return
        self._listeners.emit(event, *map(self._faces.of, values))
        if not self._listeners.are_for(event):  # it was for once
            self._bridge.post(self._drop_relays)


class EventInfo(Generic[T]):
    """What an `expect_event` block is given."""

    def __init__(self, wait: "Wait[T]") -> None:
        self._wait = wait

    @property
    def value(self) -> T:
        """The event's value: a str or bytes for frames, the WebSocket for `close` and `websocket`.

        It is there after the block; inside of it, it is waited for.
        """
        return self._wait.take()

    def is_done(self) -> bool:
        """Whether the wait is over, one way or another."""
        return self._wait.is_over


class EventContextManager(Generic[T]):
    """`with ws.expect_event(...) as info:`; the wait begins with the block, whose end waits for the event.

    An exception of the block wins over the wait, which is then given up.
    """

    def __init__(self, begin: "Callable[[], Wait[T]]") -> None:
        self._begin = begin

    def __enter__(self) -> EventInfo[T]:
        self._wait = self._begin()
        return EventInfo(self._wait)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            self._wait.cancel()
        else:
            self._wait.result()


class Wait(Generic[T]):
    """A wait of the async API that runs in the loop's thread."""

    def __init__(
        self,
        faces: Faces,
        predicate: Predicate | None,
        start: Callable[[Any], Waiter[Any]],
    ) -> None:
        self._faces, self._bridge = faces, faces.bridge
        faces.check_going_on()
        self._has_ended = False
        self._questions = Questions()
        self._future = self._bridge.wait(self._begin(start, self._judge(predicate)))

    def _judge(self, predicate: Predicate | None) -> Predicate | CallersPredicate | None:
        if predicate is None or not callable(predicate):
            return predicate
        faces, predicate = self._faces, fit(predicate, 1)
        return CallersPredicate(self._bridge, self._questions, lambda value: predicate(faces.of(value)))

    async def _begin(
        self, start: Callable[[Any], Waiter[Any]], judge: Predicate | CallersPredicate | None
    ) -> "asyncio.Future[Any]":
        for catch_up in bound():
            catch_up.flush()
        self._own = start(judge)
        # Ctrl-C may come at any moment, and then nobody may be left who would end the wait.
        self._finalizer = weakref.finalize(self, self._bridge.post, self._own.cancel)
        self._faces.waits.add(self)
        return self._own.future

    @property
    def is_over(self) -> bool:
        return self._future.done()

    def result(self) -> T:
        if not self.is_over or (bound() and not self._has_ended):
            self._bridge.wait(self._end(), self._questions)
            self._has_ended = True
        self._finalizer.detach()
        value: T = self._faces.of(self._future.result())
        return value

    def take(self) -> T:
        """The result. If it is a socket, the caller's next wait begins at its opening."""
        value = self.result()
        backlog, self._own.backlog = self._own.backlog, None
        if backlog is not None:
            catch_up = CatchUp(backlog)
            self._faces.catch_ups.add(catch_up)
            bind(catch_up)
        return value

    def cancel(self) -> None:
        self._bridge.call(self._own.cancel)
        self._finalizer.detach()

    def fail(self, message: str) -> None:
        """End it, in the loop's thread."""
        self._own.fail(message)

    async def _end(self) -> None:
        try:
            await self._own.end()
        finally:
            if self._own.catch_up is None or self._own.number is None:
                for catch_up in bound():  # the caller has waited for something new
                    catch_up.close()


def _check_listener(function: Callable[..., Any]) -> None:
    if not callable(function):
        raise TypeError(f"a listener must be callable, not {type(function).__name__}")
    hash(function)  # raises TypeError: it could not be found again


def _take_back(face: "weakref.ref[WaitingFace[Any]]", event: str, f: Callable[..., Any]) -> None:
    if (listening := face()) is not None:  # else its socket is gone
        listening.remove_listener(event, f)
