"""A mocked server as a table: rules that say what it answers, a greeting, and messages that it repeats."""

import inspect
import json as json_module
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any
from weakref import WeakSet

from wirewright.model.arguments import fit
from wirewright.model.close_codes import check_close
from wirewright.model.frame import Frame
from wirewright.model.frame_match import FrameMatch, Match
from wirewright.model.matching import UrlMatch
from wirewright.model.route import WebSocketRoute
from wirewright.model.scope import Scope
from wirewright.model.socket_text import count_text, frame_text
from wirewright.model.socket_watch import until
from wirewright.model.steps import run_steps
from wirewright.model.user_errors import UnmatchedFrame
from wirewright.printable import printable, shown_url
from wirewright.values import Direction, Payload

__tracebackhide__ = True  # pytest shows the line that calls

Reply = Any
"""A str or bytes, a value that becomes JSON, a list of replies, or a function of the Frame that returns one.

None sends nothing. A reply that is a JSON array is a tuple.
"""
MOST_CALLS = 10_000
"""Frames that a mock and each of its rules keep, the newest."""
_SHOWN = 10
"""Unanswered frames that a report shows, the last ones."""
RegisterRoute = Callable[[UrlMatch | None, Callable[[Any], object]], Awaitable[None] | None]


class MockRule:
    """One rule of a mock: its answer to the frames that match."""

    def __init__(self, match: FrameMatch) -> None:
        self._match = match
        self._replies: list[Reply] = []
        self._close: tuple[int, str] | None = None
        self.calls: list[Frame] = []
        """The frames that this rule has answered, oldest first."""

    def __repr__(self) -> str:
        calls = len(self.calls)
        return f"<MockRule for {self._match}, {'1 call' if calls == 1 else f'{calls:,} calls'}>"

    def reply(self, *replies: Reply) -> "MockRule":
        """Send these to each frame that matches, one after the other. Returns the rule.

        A reply is a str or bytes, a value that becomes JSON, a list of replies, or a function of the Frame
        that returns a reply; None sends nothing. Raises TypeError for a value that cannot become JSON.
        """
        for each in replies:
            check_reply(each)
        self._replies += replies
        return self

    def close(self, code: int = 1000, reason: str = "") -> "MockRule":
        """Close the socket after the replies. Returns the rule. Raises ValueError for a wrong code."""
        check_close(code, reason)
        self._close = code, reason
        return self

    def _answer(self, route: Any, frame: Frame) -> Awaitable[None] | None:
        rest = _send(route, self._replies, lambda function: fit(function, 1)(frame))
        if self._close is None:
            return rest
        if rest is None:
            route.close(*self._close)
            return None
        return _close_after(rest, route, self._close)


class WebSocketMock:
    """The server of all sockets of a matching URL, which needs no real one. Made by `proxy.mock_web_socket`.

    In the async API it may be awaited: then the proxy knows of it.
    """

    def __init__(
        self,
        url: UrlMatch | None,
        register: RegisterRoute,
        scope: Scope,
        *,
        strict: bool,
        unwrap: Callable[[Any], WebSocketRoute] = lambda route: route,
        ask: Callable[[Callable[[], object]], object] = lambda function: function(),
    ) -> None:
        """`register` is `route_web_socket` of either API. `unwrap` returns the model's route for one of its.

        `ask` calls a function of `greet` or `every`, and returns its result or an awaitable of that.
        """
        self._scope, self._strict = scope, strict
        self._unwrap, self._ask = unwrap, ask
        self._url = url
        self._rules: list[MockRule] = []
        self._greetings: list[Reply] = []
        self._repeated: list[tuple[float, tuple[Reply, ...]]] = []
        self._numbers = count(1)
        self.calls: list[Frame] = []
        """The frames that apps have sent, oldest first. Their numbers count all sockets of the mock."""
        self.unanswered: list[Frame] = []
        """Those for which there was no rule."""
        self._registered = register(url, self._open)
        _mocks.add(self)

    def __repr__(self) -> str:
        return f"<WebSocketMock url={self._url!r}>"

    def __await__(self) -> Generator[Any, None, "WebSocketMock"]:
        if self._registered is not None:
            yield from self._registered.__await__()
        return self

    def on(self, match: Match | None = None, *, json: Any = None) -> MockRule:
        """A rule for the frames of the app that match; without arguments, for all of them.

        The newest rule that matches answers. `match` and `json` are those of `ws.next_frame`; `match` must
        not be async. Raises TypeError for others.
        """
        if inspect.iscoroutinefunction(match):
            raise TypeError("match must be a plain function here, not an async one")
        rule = MockRule(FrameMatch(match, json=json))
        self._rules.insert(0, rule)
        return rule

    def greet(self, *replies: Reply) -> "WebSocketMock":
        """Send these to each app when its socket opens, as `MockRule.reply`. A function gets no Frame."""
        for each in replies:
            check_reply(each)
        self._greetings += replies
        return self

    def every(self, seconds: float, *replies: Reply) -> "WebSocketMock":
        """Send these to each app again and again, first after so many seconds. A function gets no Frame.

        Raises ValueError for 0 or less, and TypeError as `MockRule.reply`.
        """
        if not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be a number, more than 0, not {seconds!r}")
        for each in replies:
            check_reply(each)
        self._repeated.append((seconds, replies))
        return self

    async def _open(self, route: Any) -> None:
        """The handler of the route: it is called for each handshake."""
        route.on_message(partial(self._answer, route))
        if (rest := _send(route, self._greetings, self._ask)) is not None:
            await rest
        for seconds, replies in self._repeated:
            self._scope.start(self._repeat(route, seconds, replies), None, self)

    async def _repeat(self, route: Any, seconds: float, replies: Sequence[Reply]) -> None:
        socket = self._unwrap(route)._socket
        while not socket.is_closed():
            watch = await run_steps(until(socket, socket.is_closed, 1000 * seconds, "the end of the socket"))
            if not watch.is_timed_out:  # the socket or the proxy has ended
                return
            if (rest := _send(route, replies, self._ask)) is not None:
                await rest

    def _answer(self, route: Any, message: Payload) -> Awaitable[None] | None:
        frame = Frame(next(self._numbers), Direction.SENT, message, time.time())
        _keep(self.calls, frame)
        rule = next((rule for rule in self._rules if rule._match.holds_now(frame)), None)
        if rule is not None:
            _keep(rule.calls, frame)
            return rule._answer(route, frame)
        _keep(self.unanswered, frame)
        if self._strict:
            raise UnmatchedFrame("\n".join(self._unmatched(route, frame)))
        return None

    def _unmatched(self, route: Any, frame: Frame) -> Iterator[str]:
        """The lines of the failure of a strict mock."""
        yield f"{self!r} is strict, and has no rule for {frame_text(frame)}"
        yield f"socket: {printable(shown_url(self._unwrap(route).url))}"
        yield "rules:" if self._rules else "it has no rules: write mock.on(...)"
        yield from (f"    {rule._match}" for rule in self._rules[:_SHOWN])
        if (more := len(self._rules) - _SHOWN) > 0:
            yield f"    … {more:,} older"


_mocks: WeakSet[WebSocketMock] = WeakSet()


def unanswered_lines(since: float) -> Iterator[str]:
    """The frames since a time, in seconds since the epoch, for which the mocks had no rule, for a report."""
    for mock in list(_mocks):
        if frames := [frame for frame in mock.unanswered if frame.at >= since]:
            yield f"{mock!r} has no rule for {count_text(len(frames))}:"
            yield from (f"    {frame_text(frame)}" for frame in frames[-_SHOWN:])


async def _close_after(rest: Awaitable[None], route: Any, close: tuple[int, str]) -> None:
    await rest
    route.close(*close)


def _keep(frames: list[Frame], frame: Frame) -> None:
    frames.append(frame)
    del frames[:-MOST_CALLS]


def check_reply(reply: Reply) -> None:
    """Raise TypeError for a reply that cannot be sent."""
    if isinstance(reply, list):
        for each in reply:
            check_reply(each)
    elif not callable(reply):
        to_message(reply)


def to_message(reply: Reply) -> Payload | None:
    """The message of a reply that is not a list or a function; None for none."""
    if reply is None or isinstance(reply, str | bytes):
        return reply
    try:
        return json_module.dumps(reply, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"a reply must be a str, bytes, or a value that becomes JSON: {error}") from None


def _send(
    route: Any, replies: Iterable[Reply], ask: Callable[[Callable[..., object]], object]
) -> Awaitable[None] | None:
    """Send replies to the app. If one of them has to be awaited, the result sends it and those after it.

    `ask` calls a function among them.
    """
    waiting = deque(replies)
    while waiting:
        reply = waiting.popleft()
        if callable(reply):
            reply = ask(reply)
        if inspect.isawaitable(reply):
            return _send_later(route, reply, waiting, ask)
        if isinstance(reply, list):
            waiting.extendleft(reversed(reply))
        elif (message := to_message(reply)) is not None:
            route.send(message)
    return None


async def _send_later(
    route: Any,
    reply: Awaitable[Reply],
    after: Iterable[Reply],
    ask: Callable[[Callable[..., object]], object],
) -> None:
    if (rest := _send(route, [await reply, *after], ask)) is not None:
        await rest
