"""What every test may ask for."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.certificates import Certificates, make_certificates
from support.private_keys import check_each_private_key_once
from support.time_limits import lengthen_limits_of_websockets
from wirewright import Proxy, launch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whatever a shell starts in its background ignores Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

for name in ("CI", "BUILD_NUMBER", "FORCE_COLOR", "PY_COLORS"):
    # What programs print is compared. With these, a pytest that a test starts prints more, or prints colours.
    os.environ.pop(name, None)

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
# Else pytest-asyncio makes a first event loop, which nobody closes. A later test would fail with its warning.
asyncio.set_event_loop(None)
lengthen_limits_of_websockets()
check_each_private_key_once()

SLOW_FOLDERS = {"cli", "conformance", "end_to_end", "fuzzing", "parity", "pytest_plugin"}
"""Tests that start programs, browsers or proxies. Modules elsewhere that do so are marked one by one."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).parts[0] in SLOW_FOLDERS or item.get_closest_marker("browser"):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mitmproxy's configuration folder, so that no test touches the one of the user."""
    return tmp_path_factory.mktemp("confdir")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of the tests' TLS servers."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def lane() -> str:
    """How the proxy's sockets are carried: `ws_lane`."""
    return "auto"


@pytest.fixture
async def launched(confdir: Path, certificates: Certificates, lane: str) -> AsyncIterator[Proxy]:
    """A regular proxy inside the test's own process and event loop."""
    options = {"ssl_verify_upstream_trusted_ca": str(certificates.ca_file), "ws_lane": lane}
    async with launch(port=0, confdir=confdir, options=options) as running:
        yield running


@pytest.fixture
async def proxy(launched: Proxy) -> Proxy:
    """The same, for tests that may be given another view of it."""
    return launched
