"""What the tests with real ends may ask for. What holds for one lane holds for the other, but where a test
says why not."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.clients import CLIENTS, Connect
from support.event_log import Recordings
from support.opened_sockets import SocketWith, opens_sockets
from support.proxy_access import IS_RUN_AGAIN, WAYS, reached
from wirewright import Proxy


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with a proxy of either lane; one that is marked `wire` with ours alone.

    One that is marked `layers` runs with ours through mitmproxy's layers, too. And one that is marked
    `remote` for each way to a proxy, its own objects and a client's: by our lane.
    """
    marked = metafunc.definition.get_closest_marker
    if "lane" not in metafunc.fixturenames:
        return
    lanes = ["auto"] if marked("wire") else ["auto", "hooks"]
    is_remote = "proxy" in metafunc.fixturenames and marked("remote") and not marked("in_process")
    if marked("layers") and "launched" in metafunc.fixturenames and not IS_RUN_AGAIN:
        lanes.append("layers")
    if not is_remote:
        metafunc.parametrize("lane", lanes)
        return
    # The transport and the codec are nothing to a route: the apps' messages of all kinds go through all.
    has_apps = "apps" in metafunc.fixturenames
    elsewhere: Sequence[str] = WAYS[1:] if has_apps else ("memory", "tcp")
    if IS_RUN_AGAIN:
        elsewhere = ("tcp",) if has_apps else ()
    ways = [*((lane, WAYS[0]) for lane in lanes), *(("auto", way) for way in elsewhere)]
    metafunc.parametrize(("lane", "way"), ways)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What kind an app is of, and whether its traffic is encrypted, is nothing to a client: one will do."""
    items[:] = [item for item in items if not _is_superfluous(getattr(item, "callspec", None))]


def _is_superfluous(case: Any) -> bool:
    if case is None or case.params.get("way", WAYS[0]) == WAYS[0]:
        return False
    return "websockets" not in case.id if "connect" in case.params else False


@pytest.fixture
def way() -> str:
    """To the proxy."""
    return WAYS[0]


@pytest.fixture
async def proxy(launched: Proxy, way: str, tmp_path: Path) -> AsyncIterator[Proxy]:
    """The proxy itself, or a client's view of it."""
    async with reached(launched, way, tmp_path) as seen:
        yield seen


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
