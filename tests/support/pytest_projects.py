"""Tests of somebody else, who uses the pytest plugin: what they have, and how they are run."""

import shutil
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import wirewright.mitm.master  # noqa: F401  pytester unloads what is first imported in its tests
from support.forked_programs import PYTEST
from support.processes import ROOT
from support.time_limits import STEP_SECONDS

APP = """
import threading
from contextlib import ExitStack, contextmanager

import pytest
from websockets.sync.client import connect
from websockets.sync.server import serve


@contextmanager
def serving():
    def echo(connection):
        for message in connection:
            connection.send(message)

    with serve(echo, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def app(ws_proxy):
    with ExitStack() as stack:
        url = stack.enter_context(serving())

        def open(path="/live"):
            return stack.enter_context(connect(url + path, proxy=f"http://127.0.0.1:{ws_proxy.port}"))

        yield open
"""


def prepare(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, folder: Path, confdir: Path) -> None:
    """Have them find the plugin, our packages and a CA, and no file of the user's."""
    shutil.copytree(confdir, folder / ".mitmproxy")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "addon"))
    pytester.makeconftest(APP)


def run(pytester: pytest.Pytester, *arguments: str, imports_nothing: bool = False) -> pytest.RunResult:
    """Run them, in a process that has imported all modules unless it `imports_nothing` beforehand."""
    plugin = () if _is_installed() else ("-p", "wirewright.pytest_plugin")
    arguments = ("-p", "no:cacheprovider", *plugin, *arguments)
    if imports_nothing:
        return pytester.runpytest_subprocess(*arguments, timeout=STEP_SECONDS)
    return pytester.run(PYTEST, f"--basetemp={pytester.path / 'runpytest'}", *arguments, timeout=STEP_SECONDS)


def _is_installed() -> bool:
    return any(each.value == "wirewright.pytest_plugin" for each in entry_points(group="pytest11"))
