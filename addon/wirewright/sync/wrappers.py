"""The sync API's objects, which wrap the async API's. Their methods run in the loop's thread."""

import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, get_args, overload

from wirewright.model.arguments import fit, show_result
from wirewright.model.awaitables import Completion
from wirewright.model.catch_up import CatchUp, bound
from wirewright.model.errors import EndedError, Error
from wirewright.model.event_wait import TimedWait
from wirewright.model.matching import LateMatch
from wirewright.model.scope import Wait
from wirewright.model.steps import Steps, steps_of
from wirewright.sync.bridge import Bridge
from wirewright.sync.running_loop import check_may_wait

__tracebackhide__ = True  # pytest shows the line that calls

P = ParamSpec("P")
T = TypeVar("T")
OwnT = TypeVar("OwnT")

TEST_IS_OVER = "this test is over"
"""The message of the error of a handler that is still running after its test."""


class WrapperRegistry:
    """The sync object of each async one: the same, for as long as somebody has it."""

    def __init__(self, bridge: Bridge, kinds: "dict[type, type[Wrapper[Any]]]") -> None:
        """`kinds` has the class that wraps objects of an async class."""
        self.bridge = bridge
        self.kinds = kinds
        self.undo: list[Callable[[], object]] | None = None
        """Functions that undo the registrations through these wrappers; None if the registrations stay."""
        self.since = 0
        """The sequence number after which ends of sockets count for assertions."""
        self.are_over = False
        """True if the wrappers may not be used any more."""
        self.waits: weakref.WeakSet[Wait] = weakref.WeakSet()
        self.catch_ups: weakref.WeakSet[CatchUp] = weakref.WeakSet()
        """Those of the threads that have taken sockets through these wrappers."""
        self._known: weakref.WeakValueDictionary[int, Wrapper[Any]] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()  # a signal's handler may come here in the middle

    def check_going_on(self) -> None:
        """Raise Error if the wrappers, or their proxy, are over."""
        if self.are_over or self.bridge.is_ended:
            raise EndedError(TEST_IS_OVER if self.are_over else "Proxy closed")

    def reported(self, exception: BaseException) -> BaseException:
        """An exception of a user's function as it is reported.

        After its test that is an EndedError, which is only logged: another test may run now.
        """
        if not self.are_over:
            return exception
        ended = EndedError(TEST_IS_OVER)
        ended.__cause__ = exception
        return ended

    def note_wait(self, begun: object) -> None:
        """Have a wait end with these wrappers. Anything else is ignored."""
        if isinstance(begun, TimedWait):
            self.waits.add(begun)

    def end(self) -> None:
        """Have nothing more heard or awaited through these wrappers."""
        self.undo, self.are_over = None, True
        with suppress(Error):  # the proxy may be gone
            self.bridge.call(self._end_waits)

    def _end_waits(self) -> None:
        for wait in list(self.waits):
            wait.fail(TEST_IS_OVER)

    def close_catch_ups(self) -> None:
        """End the catch-ups of all threads: they keep no socket alive. For the loop's thread."""
        for each in list(self.catch_ups):
            each.close()

    def note(self, undo: Callable[[], object]) -> None:
        """Remember a function that undoes a registration."""
        if self.undo is not None:
            self.undo.append(undo)

    def of(self, value: Any) -> Any:
        """The wrapper of a socket, or of a side of a route. Any other value is returned as it is."""
        if isinstance(value, (str, bytes)):  # frames, and these are many
            return value
        kind = next((kind for own, kind in self.kinds.items() if isinstance(value, own)), None)
        if kind is None:
            return value
        with self._lock:
            wrapper = self._known.get(id(value))  # a wrapper keeps its own object, and so its id
            if wrapper is None:
                wrapper = self._known[id(value)] = kind(value, self)
            return wrapper


class Wrapper(Generic[OwnT]):
    """An object of the sync API."""

    def __init__(self, own: OwnT, wrappers: WrapperRegistry) -> None:
        self._own = own
        self._wrappers = wrappers
        self._bridge = wrappers.bridge

    def __repr__(self) -> str:
        return repr(self._own)

    def _call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return self._bridge.call(function, *arguments, **options)

    def _do(self, function: Callable[..., Completion[T]], *arguments: Any, **options: Any) -> T:
        """Call a function and wait for the work that it has begun. In the loop's thread, only call it.

        Returns the result of the work; in the loop's thread, the value that is known at once.
        """
        if self._bridge.is_loop:
            return cast("T", function(*arguments, **options).value)

        async def run() -> T:
            return await function(*arguments, **options)

        return self._bridge.wait(run())

    def _run(self, steps: Steps[T]) -> T:
        """Run steps of the async object in this thread. The waits that they begin end with the wrappers."""
        check_may_wait(self._bridge)
        self._wrappers.check_going_on()
        if catch_ups := bound():  # listeners hear what passes before the steps end, as before any other wait
            self._bridge.call(_flush, catch_ups)
        return self._bridge.run_steps(steps, self._wrappers.note_wait)


def _flush(catch_ups: Sequence[CatchUp]) -> None:
    for catch_up in catch_ups:
        catch_up.flush()


class PassedProperty(Generic[T]):
    """A property whose value is that of the async object."""

    def __init__(self, own: property | Callable[[Any], T]) -> None:
        assert isinstance(own, property)
        assert own.fget is not None
        self._get: Callable[[Any], T] = own.fget
        self.__doc__ = own.__doc__

    @overload
    def __get__(self, wrapper: None, kind: type) -> "PassedProperty[T]": ...
    @overload
    def __get__(self, wrapper: Wrapper[Any], kind: type) -> T: ...
    def __get__(self, wrapper: Wrapper[Any] | None, kind: type) -> "T | PassedProperty[T]":
        return self if wrapper is None else self._get(wrapper._own)


def passed_method(
    own: Callable[Concatenate[Any, P], T], undo: Callable[[Any], object] | None = None
) -> Callable[Concatenate[Any, P], T]:
    """A method that calls the async object's method in the loop's thread. `undo` as for `awaited_method`."""

    @wraps(own)
    def call(wrapper: Any, /, *arguments: P.args, **options: P.kwargs) -> T:
        if undo is not None:
            wrapper._wrappers.note(partial(undo, wrapper))
        value: T = wrapper._call(own, wrapper._own, *arguments, **options)
        return value

    return call


def awaited_method(
    own: Callable[Concatenate[Any, P], Completion[T]], undo: Callable[[Any], object] | None = None
) -> Callable[Concatenate[Any, P], T]:
    """A method that calls the async object's method, and waits for the work that it has begun.

    `undo` is called with the sync object at the end of the test that called the method.
    """

    @wraps(own)
    def call(wrapper: Any, /, *arguments: P.args, **options: P.kwargs) -> T:
        if undo is not None:
            wrapper._wrappers.check_going_on()
            wrapper._wrappers.note(partial(undo, wrapper))  # before the call: an interrupt may end it
        value: T = wrapper._do(own, wrapper._own, *arguments, **options)
        return value

    (result,) = get_args(own.__annotations__["return"])
    show_result(call, own, result)
    return call


def stepped_method(
    own: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """A method that runs the steps of the async object's method in the calling thread (`model.steps`)."""
    steps = steps_of(own)

    @wraps(own)
    def call(wrapper: Any, /, *arguments: P.args, **options: P.kwargs) -> T:
        value: T = wrapper._run(steps(wrapper._own, *arguments, **options))
        return value

    return call


class DispatchedFunction:
    """A user's function where the async API expects one that answers. It equals any other of the same
    function and the same wrappers."""

    def __init__(self, wrappers: WrapperRegistry, function: Callable[..., Any], count: int = 1) -> None:
        """The function is called with at most `count` values."""
        check_listener(function, "handler")
        self._wrappers = wrappers
        self._function = function
        self._fitted = fit(function, count)

    def __call__(self, *values: object) -> Any:
        return self._wrappers.bridge.ask(self._run, *map(self._wrappers.of, values))

    def _run(self, *values: object) -> Any:
        try:
            return self._wrappers.bridge.call_user(self._fitted, values)
        except BaseException as exception:
            if (reported := self._wrappers.reported(exception)) is exception:
                raise
            raise reported from exception

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DispatchedFunction):
            return False
        # A test takes back its own alone.
        return self._function == other._function and self._wrappers is other._wrappers

    def __hash__(self) -> int:
        return hash(self._function)


class DispatchedUrlMatch(DispatchedFunction, LateMatch):
    """A rule of a route."""


def check_listener(function: Callable[..., Any], noun: str = "a listener") -> None:
    if not callable(function):
        raise TypeError(f"{noun} must be callable, not {type(function).__name__}")
    hash(function)  # raises TypeError: it could not be found again
