"""Follows the proxies of this process while a test runs, for its report, its captures and its errors."""

import re
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from wirewright.model import misuse, running_proxies, user_errors
from wirewright.model.errors import Error
from wirewright.model.socket_text import END_TEXTS
from wirewright.model.user_errors import UnmatchedFrame, UserError
from wirewright.printable import printable, printable_lines

if TYPE_CHECKING:
    from wirewright.model.proxy_loop import RunningProxy
    from wirewright.pytest_plugin.cassettes import PlayedCassette

ALLOWING = "ws_allow_errors"
"""The marker of a test whose listeners, handlers and rules may raise."""
FIXTURES = {"async_ws_proxy", "ws_proxy", "ws_session_proxy"}
NAME_BYTES = 120
"""The length of a capture's name at most: a file system takes 255 bytes."""
MOST_ERRORS = 10
"""How many exceptions a report has, the first ones."""


class TestedProxy:
    """A proxy while a test runs."""

    def __init__(self, running: "RunningProxy", *, is_used: bool) -> None:
        # Most tests use no proxy, and do not need this import.
        from wirewright.pytest_plugin.failure_report import ProxyTraffic

        self.running = running
        self.traffic = ProxyTraffic(running)
        self.is_used = is_used
        """True if the test uses it, even if no app does."""
        self.capture: Path | None = None
        self._has_ended = False

    async def ending(self) -> None:
        """Take the last counts and stop the capture: the proxy or the test ends."""
        if not self._has_ended:
            self._has_ended = True
            with suppress(Error):  # the other process may be gone
                await self.traffic.count_apps()
                if self.capture is not None:
                    await self.running.proxy.stop_capture()

    async def _stop(self) -> None:
        await self.ending()
        self.traffic.stop()

    def stop(self) -> None:
        """Follow it no more."""
        try:
            self.running.run(self._stop())
        except Error:  # its loop is closed, or blocked
            self.traffic.stop()

    async def _lines_now(self) -> list[str]:
        with suppress(Error):
            await self.traffic.count_apps()
        return list(self.traffic.lines())

    def lines(self, *, is_of_wait: bool) -> list[str]:
        """The lines of a report; none if the test has nothing to do with this proxy.

        If there is nothing to show, a line says why, but only if a wait or an assertion of Wirewright failed:
        other failures of a test that uses the proxy may have nothing to do with sockets.
        """
        lines = list(self.traffic.lines()) if self._has_ended else self.running.run(self._lines_now())
        if not (self.traffic.has_any or (self.is_used and is_of_wait)):
            return []
        if self.capture is not None and self.traffic.has_sockets:
            lines.append(f"all of it: wirewright show {shown(self.capture)}")
        return lines


class TestRun:
    """One run of one test. `item.stash[RUN]` has it."""

    def __init__(self, item: pytest.Item) -> None:
        self.has_failed = False
        self.has_passed = False
        """True once the test's function has returned, and no listener or handler has raised."""
        self.is_cut_short = False
        """True once its function or a fixture of it has raised anything, such as a skip."""
        self.cassette: PlayedCassette | None = None
        """The cassette that is replayed."""
        self._item = item
        self._options = item.config.option
        self._proxies: dict[RunningProxy, TestedProxy] = {}
        self._errors: list[UserError] = []
        self._unused_calls: list[str] = []
        """Sentences about calls that had no effect, with their places."""
        self._not_recorded: list[str] = []
        self._uses_fixture = not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))
        self.is_over = False
        """True once the teardown of the fixtures has begun."""
        self._began = 0.0
        """Seconds since the epoch."""
        self._is_new = False
        """True if proxies that start now are started by the test."""
        self._has_ended = False

    # The beginning and the end

    def begin(self) -> None:
        """Follow the proxies that run, and those that will be started."""
        self._began = time.time()
        user_errors.observers.append(self._note)
        misuse.call_observers.append(self)
        running_proxies.followers.append(self)
        for running in running_proxies.running_proxies():
            with suppress(Error):  # its loop is closed, or blocked
                running.run(self.started(running))
        self._is_new = True

    async def started(self, running: "RunningProxy") -> None:
        """Follow a proxy and record its sockets; an error of the capture is for `warn`."""
        tested = TestedProxy(running, is_used=self._is_new or self._uses_fixture)
        with suppress(Error):  # it is gone already
            await tested.traffic.start()
            self._proxies[running] = tested
            await self._record(tested)

    async def _record(self, tested: TestedProxy) -> None:
        path = None
        try:
            if path := self._new_capture():
                await tested.running.proxy.start_capture(path)
                tested.capture = path
        except (Error, OSError) as error:
            self._not_recorded.append(str(error))
            if path is not None:
                remove(path)

    async def ending(self, running: "RunningProxy") -> None:
        """Ask a proxy while it can answer."""
        if running in self._proxies:
            await self._proxies[running].ending()

    def end(self) -> None:
        """Follow nothing more, and remove the captures that are not to be kept."""
        self._has_ended = True
        user_errors.observers.remove(self._note)
        misuse.call_observers.remove(self)
        running_proxies.followers.remove(self)
        self._mark_used()
        for tested in self._proxies.values():
            tested.stop()
            is_wanted = self._options.ws_capture == "on" or self.has_failed
            is_kept = is_wanted and (tested.is_used or tested.traffic.has_any)
            if tested.capture is not None and not is_kept:
                remove(tested.capture)
                tested.capture = None

    def properties(self) -> list[tuple[str, str]]:
        """The properties of the test's report, for JUnit's XML and the like."""
        captures = (tested.capture for tested in self._proxies.values())
        return [("ws_capture", printable(str(shown(path)))) for path in captures if path is not None]

    def warn(self) -> None:
        """Say why nothing is recorded of this test."""
        if any(tested.capture is not None for tested in self._proxies.values()):
            self._not_recorded.clear()  # the same proxy, by another way to it
        for error in self._not_recorded:
            warnings.warn(pytest.PytestWarning(f"--ws-capture: {error}"), stacklevel=1)
        self._not_recorded.clear()

    # Failures beside those of the test's own function

    def unused(self, sentence: str, place: str) -> bool:
        """Note a call of this test that had no effect, unless the test was cut short before its `await`."""
        if self.is_cut_short:
            return True
        if not self._has_ended:
            self._unused_calls.append(f"{place}: {sentence}")
        return not self._has_ended

    def _note(self, error: UserError) -> None:
        exception = error.exception
        is_end_of_socket = isinstance(exception, Error) and exception.message.startswith(END_TEXTS)
        # A handler that still waits is not a failure if a fixture closes its app.
        if not (self.is_over and is_end_of_socket):
            self._errors.append(error)

    def settle(self) -> None:
        """Return when listeners and handlers have been called for all events so far."""
        for running in running_proxies.running_proxies():
            with suppress(Error):
                running.settle()

    def raise_errors(self) -> None:
        """Raise what listeners, handlers and rules have raised since the last time.

        Or fail the test for calls without effect, and for an app that does not fit its cassette.
        """
        __tracebackhide__ = True
        taken = [error.exception for error in self._take_errors()]
        errors = [error for error in taken if not isinstance(error, UnmatchedFrame)]
        failures = [_with_notes(error) for error in taken if isinstance(error, UnmatchedFrame)]
        failures += self._unused_calls
        self._unused_calls.clear()
        if self.cassette is not None and (failure := self.cassette.take_failure()):
            failures.append(failure)
        if failures and not errors:
            fail("\n".join(failures))
        errors += map(AssertionError, failures)
        if len(errors) == 1 and isinstance(errors[0], Exception):
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("listeners, handlers or rules raised", errors)

    def _take_errors(self) -> list[UserError]:
        """The first errors, each with a note that names the function; none if the test allows them."""
        taken, self._errors[:] = self._errors.copy(), []
        if self._item.get_closest_marker(ALLOWING) is not None:
            return []
        different = list({id(error.exception): error for error in taken}.values())
        more = f" {len(different):,} exceptions were raised in all." if len(different) > 1 else ""
        for error in different[:MOST_ERRORS]:
            raised = "" if isinstance(error.exception, UnmatchedFrame) else f"{error.raised}. "
            error.exception.add_note(f"{raised}The marker {ALLOWING} allows that.{more}")
        return different[:MOST_ERRORS]

    # The report

    def sections(self, exception: BaseException | None) -> list[tuple[str, str]]:
        """Titles and texts of the sections that are added to the report of a test that failed with this."""
        sections = []
        for error in self._take_errors():
            if isinstance(error.exception, UnmatchedFrame):
                sections.append(("Strict WebSocket mock", _with_notes(error.exception)))
                continue
            raised = pytest.ExceptionInfo.from_exception(error.exception)
            sections.append((error.raised, str(self._item.repr_failure(raised))))
        if self._unused_calls:
            sections.append(("Calls without effect", "\n".join(self._unused_calls)))
            self._unused_calls.clear()
        if self.cassette is not None and (lines := self.cassette.lines()):
            sections.append((self.cassette.title, "\n".join(lines)))
        self._mark_used()
        shown: set[object] = set()
        is_of_wait = bool(self._proxies) and _is_of_wirewright(exception)
        for tested in self._proxies.values():
            with suppress(Exception):  # the proxy may be gone: the test's failure is what counts
                if tested.traffic.place not in shown and (lines := tested.lines(is_of_wait=is_of_wait)):
                    sections.append(("WebSockets", "\n".join(lines)))
                    shown.add(tested.traffic.place)
        if self._proxies:
            from wirewright.model.web_socket_mock import unanswered_lines

            if lines := list(unanswered_lines(self._began)):
                sections.append(("WebSocket mocks", "\n".join(lines)))
        return [(printable(title), printable_lines(text)) for title, text in sections]

    def _mark_used(self) -> None:
        """A test that has a proxy of a wider scope as the value of a fixture uses it."""
        kinds = [type(value) for value in getattr(self._item, "funcargs", {}).values()]
        names = ("Proxy", "ProxyContext")
        if any(kind.__name__ in names and kind.__module__.startswith("wirewright.") for kind in kinds):
            for tested in self._proxies.values():
                tested.is_used = True

    # Captures

    def _new_capture(self) -> Path | None:
        """Make a new file for this test. Existing files are not changed."""
        if self._options.ws_capture == "off":
            return None
        folder = capture_folder(self._item.config)
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "-", self._item.nodeid).strip("-")
        name = name.encode()[-NAME_BYTES:].decode(errors="ignore")
        for number in range(1, 10_000):
            path = folder / (f"{name}.db" if number == 1 else f"{name}-{number}.db")
            with suppress(FileExistsError):
                path.touch(mode=0o600, exist_ok=False)
                return path
        raise Error(f"{folder}: there are too many captures of this test")


def fail(sentence: str) -> NoReturn:
    """Fail a test with a sentence alone: with no traceback, and without the exception that is handled now.

    `pytest.fail` is hidden from tracebacks. Where nothing else is left, pytest adds a line that says so.
    """
    raise pytest.fail.Exception(sentence, pytrace=False) from None


def _is_of_wirewright(exception: BaseException | None) -> bool:
    from wirewright.pytest_plugin.failure_report import is_of_wirewright

    return is_of_wirewright(exception)


def _with_notes(error: BaseException) -> str:
    return "\n".join([str(error), *error.__notes__])


RUN = pytest.StashKey[TestRun]()


def capture_folder(config: pytest.Config) -> Path:
    """The folder of `--ws-capture-dir`, as an absolute path: the proxy may run in another folder."""
    return Path(config.option.ws_capture_dir).absolute()


def remove(capture: Path) -> None:
    """Remove a capture and the files beside it."""
    for suffix in ("", "-wal", "-shm"):
        capture.with_name(capture.name + suffix).unlink(missing_ok=True)


def shown(path: Path) -> Path:
    """A path as short as it can be."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
