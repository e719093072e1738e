"""Errors of objects that are used without `with` or `await`, or with those of the other API."""

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

__tracebackhide__ = True  # pytest shows the line that calls

KindT = TypeVar("KindT", bound=type)


def shown_as(name: str) -> Callable[[KindT], KindT]:
    """A decorator: Python's errors call the class by the name that users know."""

    def rename(kind: KindT) -> KindT:
        kind.__name__ = kind.__qualname__ = name
        return kind

    return rename


class Block:
    """A context manager. Anything else that is done with it raises an error that says how it is used.

    Type checkers do not see these methods, so that they report the mistake, too.
    """

    _WITH: ClassVar[str]
    """The word of this API: `with` or `async with`."""
    _OTHER: ClassVar[str]
    """Where the other API is, as a sentence."""
    _call = "it"
    """The call that has made the object, such as `expect_event(...)`."""
    _value = "info"
    """The name for the value of the block."""

    _unused: "UnusedBlock | None" = None

    def _entered(self) -> None:
        """The block begins."""
        if self._unused is not None:
            self._unused.is_entered = True

    @property
    def _usage(self) -> str:
        return f'"{self._WITH} {self._call} as {self._value}:"'

    def _misused(self) -> str:
        """The usage, for an error. What has begun already ends: nobody will enter the block."""
        if self._unused is not None:
            self._unused.end()
        return self._usage

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            usage = self._usage if name.startswith("_") else self._misused()
            raise no_attribute(self, name, f"write {usage}, and then {self._value}.{name}")

        def __await__(self) -> Any:
            raise TypeError(f"write {self._misused()} instead of await")


class SyncBlock(Block):
    """A context manager of the sync API."""

    _WITH = "with"
    _OTHER = "this is the sync API, and wirewright.async_api has the async one"

    if not TYPE_CHECKING:

        async def __aenter__(self) -> Any:
            raise TypeError(f"write {self._misused()} without async: {self._OTHER}")

        async def __aexit__(self, *_: object) -> None: ...


class AsyncBlock(Block):
    """A context manager of the async API."""

    _WITH = "async with"
    _OTHER = "this is the async API, and wirewright.sync_api has the sync one"

    if not TYPE_CHECKING:

        def __enter__(self) -> Any:
            raise TypeError(f"write {self._misused()}: {self._OTHER}")

        def __exit__(self, *_: object) -> None: ...


def no_attribute(owner: object, name: str, sentence: str) -> AttributeError:
    """The error for an attribute that is not there: Python's own for one that only Python looks for."""
    if name.startswith("_"):
        return AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}")
    return AttributeError(sentence)


class UnusedBlock:
    """Warns of a block that is thrown away before it is entered. An attribute of the context manager."""

    def __init__(self, usage: str, give_up: Callable[[], object] = lambda: None) -> None:
        """`give_up` ends what has begun already."""
        self.is_entered = False
        self._usage, self._give_up = usage, give_up

    def end(self) -> None:
        """End what has begun, unless the block is entered. There is no warning then."""
        if not self.is_entered:
            self.is_entered = True
            self._give_up()

    def __del__(self) -> None:
        if not self.is_entered and not sys.is_finalizing():
            self.end()
            warnings.warn(f"nothing waits: write {self._usage}", RuntimeWarning, stacklevel=2)
