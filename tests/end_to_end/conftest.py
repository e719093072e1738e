"""What the tests with real ends may ask for. What holds for one lane holds for the other, but where a test
says why not."""

from pathlib import Path

import pytest

from support.clients import CLIENTS, Connect
from support.opening import SocketWith, opens_sockets
from support.recording import Recordings
from wirewright import Proxy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with a proxy of either lane; one that is marked `wire` with ours alone."""
    if "lane" in metafunc.fixturenames:
        only_ours = metafunc.definition.get_closest_marker("wire")
        metafunc.parametrize("lane", ["auto"] if only_ours else ["auto", "hooks"])


@pytest.fixture
def recordings(proxy: Proxy) -> Recordings:
    return Recordings(proxy)


@pytest.fixture
def socket_with(confdir: Path, lane: str) -> SocketWith:
    return opens_sockets(confdir, lane)


@pytest.fixture(params=CLIENTS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Each kind of app in turn."""
    chosen: Connect = request.param
    return chosen
