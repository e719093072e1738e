"""The sockets that a context leaves out, for the errors of its waits."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from wirewright.model.context_filter import Condition, ContextFilter
from wirewright.model.handshake import HandshakeRequest
from wirewright.model.socket_text import folded_text, url_text

_MOST_KEPT = 50
"""Sockets that are kept, the newest."""
_MOST_SHOWN = 3
"""Different sockets that are shown, the last ones."""
_LONGEST_NAME = 60
"""Characters of a user's name that are shown."""


class OutsideSocket(NamedTuple):
    """A socket of another client, port or user than that of the context."""

    number: int
    """From 1, in the order of the requests."""
    url: str
    origin: str
    """The conditions of the context that it does not meet: `client '127.0.0.1'`."""


class OutsideSockets:
    """The newest sockets that a context has left out. Threads of the sync API read them, too."""

    def __init__(self, context_filter: ContextFilter) -> None:
        self._filter = context_filter
        self._newest: tuple[OutsideSocket, ...] = ()

    @property
    def count(self) -> int:
        """The number of sockets until now."""
        newest = self._newest
        return newest[-1].number if newest else 0

    @property
    def context(self) -> str:
        """The conditions of the context: `client '192.168.1.7' and user 'ann'`."""
        return _text(self._filter.conditions)

    def add(self, asked: HandshakeRequest) -> None:
        """An app has asked for a socket. It is ignored if it is one of the context."""
        if misfits := self._filter.misfits(asked.origin):
            socket = OutsideSocket(self.count + 1, asked.url, _text(misfits))
            self._newest = (*self._newest, socket)[-_MOST_KEPT:]

    def text(self, after: int, matches: Callable[[str], bool]) -> str:
        """The sockets after the first `after` ones, as a part of a sentence; "" without any.

        Those of a matching URL are shown, or the last ones if there is none.
        """
        newest = self._newest
        count = newest[-1].number - after if newest else 0
        if not count:
            return ""
        since = [each for each in newest if each.number > after]
        nearest = [each for each in since if matches(each.url)] or since
        texts = (f"{url_text(each.url)} ({each.origin})" for each in reversed(nearest))
        return f"came by outside of this context: {folded_text(texts, count, _MOST_SHOWN)}"


def _text(conditions: Iterable[Condition]) -> str:
    return " and ".join(
        f"no {name}" if value is None else f"{name} {_shown(value)}" for name, value in conditions
    )


def _shown(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    return repr(value if len(value) <= _LONGEST_NAME else f"{value[:_LONGEST_NAME]}…")
