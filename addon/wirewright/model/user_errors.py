"""Exceptions of a user's functions: listeners, routes' handlers, rules, comparisons.

They never harm the traffic. Each is logged here with its traceback, and given to the observers, of which the
pytest plugin is one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from wirewright.model.errors import EndedError
from wirewright.printable import get_logger

logger = get_logger(__name__)


class UnmatchedFrame(AssertionError):
    """A strict mock has no rule for a frame. Its message says all: its traceback has no line of a user."""


@dataclass(frozen=True)
class UserError:
    """An exception of a user's function."""

    exception: BaseException
    raised: str
    """A sentence: whose function it was, and that it raised."""


observers: list[Callable[[UserError], None]] = []
"""Are called in the thread in which the exception is reported."""


def report(source: object, function: str, exception: BaseException | None) -> None:
    """Log an exception of a user's function, such as "a listener" of a socket, and tell the observers.

    An EndedError is only logged: the function was still waiting when its proxy, or its test, ended.
    """
    assert exception is not None
    raised = f"{source}: {function} raised"
    if isinstance(exception, UnmatchedFrame):
        logger.error("%s", exception)
    else:
        logger.error("%s", raised, exc_info=exception)
    if not isinstance(exception, EndedError):
        for observer in observers:
            observer(UserError(exception, raised))
