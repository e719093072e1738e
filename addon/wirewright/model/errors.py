"""The errors of waits, sockets and proxies.

    Exception
    └── Error
        ├── EndedError      the proxy, or the test, has ended: not a fault of the code that gets it
        ├── EndpointError   also a ValueError
        └── TimeoutError    also a builtin TimeoutError

A wrong argument is neither: it is a ValueError or a TypeError, raised at the call.
"""

import builtins

ENDS_THE_PROGRAM = (KeyboardInterrupt, SystemExit)
"""Exceptions of listeners and handlers that are not caught: they end the program."""


class Error(Exception):
    """The base of all that Wirewright raises for what happened to a socket, a wait or a proxy."""

    __module__ = "wirewright"  # the name in tracebacks, which users import it by

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The sentence, without the class's name (as in Playwright)."""
        return str(self.args[0])


class EndedError(Error):
    """The proxy, or the test, has ended meanwhile."""

    __module__ = "wirewright"


class EndpointError(Error, ValueError):
    """An argument that is not an endpoint."""

    __module__ = "wirewright"


class TimeoutError(Error, builtins.TimeoutError):  # noqa: A001  Playwright's name
    """A wait's time ran out."""

    __module__ = "wirewright"
