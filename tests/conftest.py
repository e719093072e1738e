"""What every test may ask for."""

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.certificates import Certificates, make_certificates
from support.forked_programs import forked_programs
from support.lanes import lane_options
from support.private_keys import check_each_private_key_once, make_ca
from support.proxy_access import IS_RUN_AGAIN
from support.time_limits import lengthen_limits_of_websockets
from wirewright import Proxy, launch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whatever a shell starts in its background ignores Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name in ("CI", "BUILD_NUMBER", "FORCE_COLOR", "PY_COLORS"):
    # Tests compare the output of programs. With these variables pytest prints longer summaries, or colours.
    os.environ.pop(name, None)

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# Else pytest-asyncio makes a first event loop, which nobody closes. A later test would fail with its warning.
asyncio.set_event_loop(None)
lengthen_limits_of_websockets()
check_each_private_key_once()

SLOW_FOLDERS = {"cli", "conformance", "end_to_end", "fuzzing", "parity", "pytest_plugin"}
"""Tests that start programs, browsers or proxies. Modules elsewhere that do so are marked one by one."""


OF_NO_VERSION = {"fuzzing", "test_compose.py", "test_house.py", "test_typing.py"}
"""Folders and modules that no version concerns. docs/architecture.md, "The tests", has the reasons."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One for each processor, or two for tests that wait as long as they compute: those that are slow."""
    processors = os.cpu_count() or 1
    return processors if config.option.markexpr == "not slow" else 2 * processors


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folders without a fast test where only the fast ones run."""
    is_slow = collection_path.is_dir() and _room(collection_path) in SLOW_FOLDERS
    return True if is_slow and config.option.markexpr == "not slow" else None


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _room(item.path) in SLOW_FOLDERS or item.get_closest_marker("browser"):
            item.add_marker("slow")
        names = getattr(item, "fixturenames", [])
        if item.get_closest_marker("slow") and "programs" not in names:
            names.insert(0, "programs")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # at the end no worker is left with a long file
    if IS_RUN_AGAIN:
        once = {
            item for item in items if item.get_closest_marker("once") or _room(item.path) in OF_NO_VERSION
        }
        config.hook.pytest_deselected(items=list(once))
        items[:] = [item for item in items if item not in once]


def pytest_collection_finish() -> None:
    """Leave modules and collected tests out of all later garbage collections: with them one takes 0.3 s."""
    gc.collect()
    gc.freeze()


@cache
def _room(path: Path) -> str:
    """The folder of a module, or its name if it is in no folder."""
    return (*path.relative_to(Path(__file__).parent).parts, "")[0]


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mitmproxy's configuration folder, so that no test touches the one of the user."""
    folder = tmp_path_factory.mktemp("confdir")
    make_ca(folder)
    return folder


@pytest.fixture(scope="session")
def programs(confdir: Path) -> Iterator[None]:
    """`WIREWRIGHT`, `MITMDUMP` and `PYTEST` of `support.forked_programs`. All slow tests have them."""
    with forked_programs(confdir):
        yield


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of the tests' TLS servers."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def lane() -> str:
    """How the proxy's sockets are carried: `ws_lane`, or `layers` for `auto` with `ws_splice=false`."""
    return "auto"


@pytest.fixture
async def launched(confdir: Path, certificates: Certificates, lane: str) -> AsyncIterator[Proxy]:
    """A regular proxy inside the test's own process and event loop."""
    options = {"ssl_verify_upstream_trusted_ca": str(certificates.ca_file), **lane_options(lane)}
    async with launch(port=0, confdir=confdir, options=options) as running:
        yield running


@pytest.fixture
async def proxy(launched: Proxy) -> Proxy:
    """The same, for tests that may be given another view of it."""
    return launched
