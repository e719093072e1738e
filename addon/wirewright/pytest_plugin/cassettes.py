"""`@pytest.mark.ws_cassette("chat")`: the server of a test is recorded once, and replayed in later runs.

The recorder and the replay are routes of the session's proxy, which the fixtures of one test have registered
before the test opens its app.
"""

import re
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import pytest

from wirewright.pytest_plugin.tested_proxies import RUN, TestRun, fail, shown

if TYPE_CHECKING:
    from wirewright.model.proxy_host import ReplayHandler
    from wirewright.sync_api import Proxy

T = TypeVar("T")
MARKER = "ws_cassette"
FIXTURE = "_ws_cassette"
"""The fixture that has the marker's effect; those of the proxy of one test ask for it."""
FOLDER = "cassettes"
"""The folder of the cassettes, beside the file of the test."""
Mode = Literal["once", "none", "all"]
MOST_MISFITS = 10
"""How many differences a failure shows, the first ones."""
_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*")


@dataclass(frozen=True)
class CassetteMark:
    """The arguments of a test's marker."""

    path: Path
    mode: Mode
    redact: Iterable[str] | None
    replay: dict[str, Any]
    """Arguments of `route_from_capture`."""

    @property
    def is_to_record(self) -> bool:
        return self.mode == "all" or (self.mode == "once" and not self.path.exists())


def cassette_mark(item: pytest.Item) -> CassetteMark | None:
    """The marker of a test; None if it has none. Raises TypeError and ValueError for wrong arguments."""
    marker = item.get_closest_marker(MARKER)
    if marker is None:
        return None
    mark = ws_cassette(item.path.parent / FOLDER, *marker.args, **marker.kwargs)
    mode: Mode | None = item.config.option.ws_cassettes
    return mark if mode is None else replace(mark, mode=mode)


def ws_cassette(
    folder: Path, name: str, /, *, mode: Mode = "once", redact: Iterable[str] | None = None, **replay: Any
) -> CassetteMark:
    """Read the arguments of the marker. Its errors have the name of this function."""
    if not isinstance(name, str):
        raise TypeError(f"ws_cassette takes a name, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(f'ws_cassette takes a name such as "chat" or "chat/login", not {name!r}')
    if mode not in get_args(Mode):
        raise ValueError(f'the mode of ws_cassette must be "once", "none" or "all", not {mode!r}')
    if unknown := sorted(replay.keys() - {"url", "match", "speed", "on_mismatch", "compare"}):
        raise TypeError(f"ws_cassette has no argument {unknown[0]!r}")
    return CassetteMark(folder / f"{name.removesuffix('.jsonl')}.jsonl", mode, redact, replay)


def check_fixtures(item: pytest.Item) -> None:
    """Fail a test whose marker would have no effect."""
    if item.get_closest_marker(MARKER) and FIXTURE not in getattr(item, "fixturenames", ()):
        pytest.fail("ws_cassette is for a test with the fixture ws_proxy or async_ws_proxy", pytrace=False)


@pytest.fixture(name=FIXTURE)
def played_or_recorded(request: pytest.FixtureRequest) -> Iterator[None]:
    """The effect of the marker; none without it."""
    try:
        mark = cassette_mark(request.node)
    except (TypeError, ValueError) as error:
        fail(str(error))
    if mark is None:
        yield
        return
    proxy, run = request.getfixturevalue("ws_session_proxy"), request.node.stash[RUN]
    if mark.is_to_record:
        yield from _recorded(mark, proxy, run)
    elif mark.path.exists():
        yield from _played(mark, proxy, run)
    else:
        what = f'{shown(mark.path)} does not exist, and the mode "none" records nothing'
        pytest.fail(f"{what}: run the test once with --ws-cassettes=once", pytrace=False)


def _recorded(mark: CassetteMark, proxy: "Proxy", run: TestRun) -> Iterator[None]:
    """Record the server, and write the cassette if the test passes."""
    from wirewright.capture.cassettes.cassette_file import write_cassette
    from wirewright.capture.cassettes.cassette_recorder import CassetteRecorder
    from wirewright.capture.redaction import DEFAULT, Redaction
    from wirewright.model.errors import Error
    from wirewright.sync_api import route_in_loop, temporary_registrations

    recorder = CassetteRecorder()
    with temporary_registrations(proxy) as registering:
        try:
            redaction = Redaction(DEFAULT if mark.redact is None else mark.redact)
            route_in_loop(registering, mark.replay.get("url"), recorder)
        except (Error, TypeError, ValueError) as error:
            fail(f"ws_cassette: {error}")
        yield
    if not run.has_passed:
        return
    try:
        if sockets := recorder.sockets():
            write_cassette(mark.path, sockets, redaction)
    except Error as error:
        fail(f"ws_cassette: {error}")
    if not sockets:
        what = f"ws_cassette: the app opened no socket to record, so {shown(mark.path)} is not written"
        warnings.warn(pytest.PytestWarning(what), stacklevel=1)


def _played(mark: CassetteMark, proxy: "Proxy", run: TestRun) -> Iterator[None]:
    """Replay the cassette. A socket that is not in it is refused."""
    from wirewright.model.errors import Error
    from wirewright.sync_api import WebSocketRoute, temporary_registrations

    refused: deque[str] = deque()

    def refuse(route: WebSocketRoute) -> None:
        refused.append(route.url)
        route.reject(502, body=f"This socket is not in the cassette {mark.path.name}.\n")

    with temporary_registrations(proxy) as registering:
        try:
            registering.route_web_socket(mark.replay.get("url"), refuse)
            replay = registering.route_from_capture(mark.path, **mark.replay)
        except (Error, TypeError, ValueError) as error:
            fail(f"ws_cassette: {error}")
        run.cassette = PlayedCassette(mark.path, replay, refused)
        yield


class PlayedCassette:
    """A cassette that is replayed while a test runs, for the failure and the report of the test."""

    def __init__(self, path: Path, replay: "ReplayHandler", refused: deque[str]) -> None:
        """`refused` has the URLs of sockets that are not in the cassette."""
        self._path, self._replay, self._refused = path, replay, refused

    @property
    def title(self) -> str:
        return f"Cassette {shown(self._path)}"

    def take_failure(self) -> str | None:
        """The differences between the app and the cassette since the last call; None if there are none."""
        mismatches = [(str(each), each.line) for each in _taken(self._replay.mismatches)]
        found = [*mismatches, *((_refusal(url), None) for url in _taken(self._refused))]
        if not found:
            return None
        more = [f"… and {len(found) - MOST_MISFITS:,} more"] if len(found) > MOST_MISFITS else []
        remedy = "To record it anew, delete the file, or run the test once with --ws-cassettes=all."
        return "\n".join([*starmap(self._misfit, found[:MOST_MISFITS]), *more, remedy])

    def _misfit(self, sentence: str, line: int | None) -> str:
        place = "" if line is None else f", line {line}"
        return f"the app does not fit {shown(self._path)}{place}:\n{sentence}"

    def lines(self) -> list[str]:
        """The lines of the report of a test that failed: what did not fit, and what was not used."""
        failure = self.take_failure()
        return [*(failure.splitlines() if failure else ()), *self._replay.unplayed()]


def _taken(found: deque[T]) -> Iterator[T]:
    while found:
        yield found.popleft()


def _refusal(url: str) -> str:
    from wirewright.capture.replay.comparisons import SHOWN

    return f"{SHOWN.url(url)} is not in it: the socket was refused"
