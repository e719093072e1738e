"""What a wait or a socket could not do.

    Exception
    └── Error
        ├── EndedError      the proxy, or the test, has ended: not a fault of the code that gets it
        └── TimeoutError    also a builtin TimeoutError

A wrong argument is neither: it is a ValueError or a TypeError, raised at the call.
"""

import builtins

ENDS_THE_PROGRAM = (KeyboardInterrupt, SystemExit)
"""What a listener or a handler raises is its own affair, but for these."""


class Error(Exception):
    """The base of all that Wirewright raises for what happened to a socket, a wait or a proxy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @property
    def message(self) -> str:
        """The sentence, without the class's name (as in Playwright)."""
        return str(self.args[0])


class EndedError(Error):
    """The proxy, or the test, has ended meanwhile."""


class TimeoutError(Error, builtins.TimeoutError):  # noqa: A001  Playwright's name
    """A wait's time ran out."""
