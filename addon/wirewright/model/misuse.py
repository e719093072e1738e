"""Errors of objects that are used without `with` or `await`, or with those of the other API.

A call has no effect until its result is entered or awaited. If the result is thrown away before, the call is
reported: to the pytest plugin, which fails the test that has made the call, and else as a RuntimeWarning.
"""

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from wirewright.model.code_places import caller, place_text

__tracebackhide__ = True  # pytest shows the line that calls

KindT = TypeVar("KindT", bound=type)


def shown_as(name: str) -> Callable[[KindT], KindT]:
    """A decorator: Python's errors call the class by the name that users know."""

    def rename(kind: KindT) -> KindT:
        kind.__name__ = kind.__qualname__ = name
        return kind

    return rename


class ContextManager:
    """A context manager. The `with` of the other API, and `await`, raise an error that says how it is used.

    Type checkers do not see these methods, so that they report the mistake, too.
    """

    _WITH: ClassVar[str]
    """The word of this API: `with` or `async with`."""
    _OTHER: ClassVar[str]
    """Where the other API is, as a sentence."""
    _expression = "it"
    """The call that has made the object, such as `expect_event(...)`."""
    _value = "info"
    """The name for the value of the block."""

    @property
    def _usage(self) -> str:
        return f'"{self._WITH} {self._expression} as {self._value}:"'

    def _misused(self) -> str:
        """The usage, for an error."""
        return self._usage

    if not TYPE_CHECKING:

        def __await__(self) -> Any:
            raise TypeError(f"write {self._misused()} instead of await")


class SyncContextManager(ContextManager):
    """A context manager of the sync API."""

    _WITH = "with"
    _OTHER = "this is the sync API, and wirewright.async_api has the async one"

    if not TYPE_CHECKING:

        async def __aenter__(self) -> Any:
            raise TypeError(f"write {self._misused()} without async: {self._OTHER}")

        async def __aexit__(self, *_: object) -> None: ...


class AsyncContextManager(ContextManager):
    """A context manager of the async API."""

    _WITH = "async with"
    _OTHER = "this is the async API, and wirewright.sync_api has the sync one"

    if not TYPE_CHECKING:

        def __enter__(self) -> Any:
            raise TypeError(f"write {self._misused()}: {self._OTHER}")

        def __exit__(self, *_: object) -> None: ...


class Block(ContextManager):
    """A context manager that can do nothing else. Its attributes raise an error that says how it is used."""

    _unused: "UnusedCall | None" = None
    _without_effect = "nothing waits"
    """A sentence about a block that nobody enters."""

    def __repr__(self) -> str:
        return f"<{self._expression}: write {self._usage}>"

    def _must_be_entered(self, give_up: Callable[[], object] = lambda: None) -> None:
        """Report the call if the block is thrown away. `give_up` ends what has begun already."""
        self._unused = UnusedCall(f"{self._without_effect}: write {self._usage}", give_up)

    def _entered(self) -> None:
        """The block begins."""
        if self._unused is not None:
            self._unused.use()

    def _misused(self) -> str:
        """The usage, for an error. What has begun already ends: nobody will enter the block."""
        if self._unused is not None:
            self._unused.end()
        return self._usage

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            usage = self._usage if name.startswith("_") else self._misused()
            raise no_attribute(self, name, f"write {usage}, and then {self._value}.{name}")


class SyncBlock(SyncContextManager, Block):
    """A block of the sync API."""


class AsyncBlock(AsyncContextManager, Block):
    """A block of the async API."""


def no_attribute(owner: object, name: str, sentence: str) -> AttributeError:
    """The error for an attribute that is not there: Python's own for one that only Python looks for."""
    if name.startswith("_"):
        return AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}")
    return AttributeError(sentence)


class CallObserver(Protocol):
    """Hears of the calls without effect that are made while it is the last of `call_observers`."""

    def unused(self, sentence: str, place: str) -> bool:
        """A call at a place such as `test_order.py:12` had no effect. False if a warning should say so."""


call_observers: list[CallObserver] = []


class UnusedCall:
    """Reports a call whose result is thrown away before it is used. An attribute of the result."""

    def __init__(self, sentence: str, give_up: Callable[[], object] = lambda: None) -> None:
        """`sentence` says what to write instead. `give_up` ends what has begun already."""
        self.is_used = False
        self._sentence, self._give_up = sentence, give_up
        self._observer = call_observers[-1] if call_observers else None
        frame = caller()
        self._place = ("", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)

    def use(self) -> None:
        """The result is entered or awaited."""
        if not self.is_used:
            self.is_used, self._observer = True, None

    def end(self) -> None:
        """End what has begun, unless the result is used. There is no report then."""
        if not self.is_used:
            self.use()
            self._give_up()

    def __del__(self) -> None:
        if not self.is_used and not sys.is_finalizing():
            observer = self._observer
            self.end()
            if observer is None or not observer.unused(self._sentence, place_text(*self._place)):
                warnings.warn_explicit(self._sentence, RuntimeWarning, *self._place)
