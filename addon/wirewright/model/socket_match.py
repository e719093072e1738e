"""Which sockets `expect_websocket` and `wait_for_websocket` mean, and which ones came instead."""

import inspect
import re
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from wirewright.model.code_places import function_text
from wirewright.model.errors import Error
from wirewright.model.event_wait import Predicate, fitted
from wirewright.model.matching import Globs, UrlPattern, compile_match
from wirewright.model.predicate_trials import Trials
from wirewright.model.socket_text import folded_text, url_text

if TYPE_CHECKING:
    from wirewright.model.outside_sockets import OutsideSockets
    from wirewright.model.websocket import WebSocket

__tracebackhide__ = True  # pytest shows the line that calls

_MOST_KEPT = 200
"""URLs that are kept, the last ones."""
_MOST_URLS = 5
"""Different URLs that are shown, the last ones."""


class SocketMatch:
    """The predicate on sockets whose URL matches, and for which a predicate of the user's holds."""

    def __init__(
        self,
        url: UrlPattern | Predicate | None = None,
        predicate: Predicate | None = None,
        *,
        opened: bool = False,
        unwrap: "Callable[[Any], WebSocket]" = lambda socket: socket,
    ) -> None:
        """As in Playwright, `url` may be the predicate itself. None stands for any socket.

        With `opened` it holds once the socket is open, and raises the Error of `wait_for_open`. `unwrap`
        returns the model's socket for the one that a predicate is given. Raises ValueError and TypeError for
        arguments that make no sense.
        """
        if callable(url):
            if predicate is not None:
                raise TypeError("give one predicate, as the first argument or as the second")
            url, predicate = None, url
        self.url = url
        self.predicate = predicate
        self.opened = opened
        self.asked = 0
        """The number of sockets for which the predicate was called."""
        self.has_url = compile_match(url)
        """True if a URL matches."""
        self._holds = fitted(predicate)
        self._unwrap = unwrap

    @property
    def is_any(self) -> bool:
        """True if every socket is meant."""
        return not (self.url or self.predicate or self.opened)

    def __call__(self, socket: Any) -> object:
        """True if the socket is meant; or an awaitable of that."""
        if not self.has_url(socket.url):
            return False
        held: object = True
        if self._holds is not None:
            self.asked += 1
            held = self._holds(socket)
        return self._opens(held, self._unwrap(socket)) if self.opened and held else held

    async def _opens(self, held: object, socket: "WebSocket") -> bool:
        is_meant = bool(await held if inspect.isawaitable(held) else held)
        if is_meant:
            await socket.wait_for_open(timeout=0)
        return is_meant

    def __str__(self) -> str:
        """The condition in the words of an error, such as `matched '**/chat'`, `opened` or `came by`."""
        parts = []
        if self.url:
            parts.append(repr(self.url.pattern if isinstance(self.url, re.Pattern) else self.url))
        if self.predicate is not None:
            parts.append(function_text(self.predicate))
        done = [f"matched {' and '.join(parts)}"] if parts else []
        if self.opened:
            done.append("opened")
        return " and ".join(done) or "came by"


def socket_match(
    url: UrlPattern | Predicate | None,
    predicate: Predicate | None,
    *,
    opened: bool = False,
    unwrap: "Callable[[Any], WebSocket]" = lambda socket: socket,
) -> SocketMatch | None:
    """The `SocketMatch` of these arguments; None if every socket is meant."""
    match = SocketMatch(url, predicate, opened=opened, unwrap=unwrap)
    return None if match.is_any else match


class SocketTrials(Trials):
    """Counts sockets, and keeps the last URLs: those that came while a wait ran, and those before it."""

    noun = "socket"
    none_came = "no socket came by"

    def __init__(
        self, open_before: "Iterable[WebSocket]", before: int, outside: "OutsideSockets | None" = None
    ) -> None:
        """`open_before` has the sockets that are open when the wait begins, the newest first: so many.

        `outside` has the sockets that a context leaves out; None for a wait on the proxy.
        """
        super().__init__()
        self._outside = outside
        self._outside_before = 0 if outside is None else outside.count
        self._before = before
        self._urls_before = [socket.url for socket in islice(open_before, _MOST_URLS)]
        self._urls: deque[str] = deque(maxlen=_MOST_KEPT)

    def add(self, value: Any, verdict: object) -> None:
        """The predicate did not hold for a socket, or has not answered yet."""
        super().add(value, verdict)
        self._urls.append(value.url)

    def lines(self, predicate: Any) -> list[str]:
        """The pattern and the predicate, the sockets that came by, and those that were open before."""
        match = predicate if isinstance(predicate, SocketMatch) else SocketMatch(predicate)
        outside = self._outside
        socket = "socket" if outside is None else f"socket of {outside.context}"
        sentence = f"no {socket} {match}"
        came = _urls_text(reversed(self._urls), self.count)
        came_outside = "" if outside is None else outside.text(self._outside_before, match.has_url)
        if came:
            sentence += f"; came by: {came}"
        elif not match.is_any and not came_outside:
            sentence += "; none came by"
        if came_outside:
            sentence += f"; {came_outside}"
        if self._before:
            sentence += f"; open before: {_urls_text(self._urls_before, self._before)}"
        lines = [sentence]
        asked = match.asked or self.count
        if match.predicate is not None and asked and self.nones == asked:
            lines.append(self._sentence(match.predicate, asked))
        return lines + self._hints(match)

    def note_raise(self, exception: BaseException, predicate: Any, value: Any, frame: int | None) -> None:
        """Add a note to an exception of the predicate, unless it says that the socket did not open."""
        if isinstance(predicate, SocketMatch):
            if predicate.opened and isinstance(exception, Error):
                return
            predicate = predicate.predicate or predicate.url
        super().note_raise(exception, predicate, value, frame)

    def _hints(self, match: SocketMatch) -> list[str]:
        """The usual mistake: a glob without the query of the URL."""
        glob = match.url
        if not isinstance(glob, str) or not glob:
            return []
        up_to_query = Globs((glob,))
        if any(up_to_query(url) and not match.has_url(url) for url in self._urls):
            return [f"the glob has to match the query, too: {glob + '?**'!r}"]
        return []

    def _text(self, value: Any, frame: int | None) -> str:
        return f"the socket {url_text(value.url)}"


def _urls_text(newest_first: Iterable[str], count: int) -> str:
    """The last URLs, oldest first, and how many more there are."""
    return folded_text(map(url_text, newest_first), count, _MOST_URLS)
