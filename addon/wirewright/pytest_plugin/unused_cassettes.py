"""`--ws-cassettes-unused`: the cassettes beside the collected tests that none of these tests names.

Tests that `-k` or `-m` leaves out are collected first, so they count. With xdist each worker collects all
tests, and reports its cassettes to the controller.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter  # `pytest` exports it from 8.4 on

from wirewright.pytest_plugin.cassettes import FOLDER, cassette_mark
from wirewright.pytest_plugin.tested_proxies import shown

OUTPUT = "ws_cassettes"
"""The key of a worker's report."""


class UnusedCassettes:
    """A plugin of one session."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._folders: set[str] = set()
        self._named: set[str] = set()

    @pytest.hookimpl(tryfirst=True)  # before `-k` and `-m`
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            self._folders.add(str(item.path.parent / FOLDER))
            try:
                mark = cassette_mark(item)
            except (TypeError, ValueError):
                continue  # the test fails with it
            if mark is not None:
                self._named.add(str(mark.path))

    def pytest_sessionfinish(self) -> None:
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[OUTPUT] = sorted(self._folders), sorted(self._named)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        folders, named = getattr(node, "workeroutput", {}).get(OUTPUT, ((), ()))
        self._folders.update(folders)
        self._named.update(named)

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        unused = self._unused()
        terminalreporter.write_sep("=", "cassettes that no collected test uses")
        for path in unused:
            terminalreporter.write_line(str(shown(path)))
        if not unused:
            terminalreporter.write_line("none")
        if self._is_partial():
            terminalreporter.write_line("Not all tests were collected: others may use these cassettes.")

    def _unused(self) -> list[Path]:
        found: Iterable[Path] = (path for folder in self._folders for path in Path(folder).rglob("*.jsonl"))
        return sorted({path for path in found if str(path) not in self._named})

    def _is_partial(self) -> bool:
        """True if the command line names files or tests, or only those that failed."""
        is_limited = any(not Path(argument).is_dir() for argument in self._config.args)
        return is_limited or bool(getattr(self._config.option, "lf", False))
