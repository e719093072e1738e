"""The proxies of this process, as what follows them sees them."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from wirewright import Error, async_api, launch, sync_api
from wirewright.model import proxy_loop, running_proxies
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control
from wirewright.model.proxy_loop import RunningProxy


class Follower:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    async def started(self, running: RunningProxy) -> None:
        self.told.append(("started", running.proxy.port))

    async def ending(self, running: RunningProxy) -> None:
        self.told.append(("ending", running.proxy.port))


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    follower = Follower()
    running_proxies.followers.append(follower)
    yield follower
    running_proxies.followers.remove(follower)


async def test_launch_and_connect_are_followed(follower: Follower, confdir: Path) -> None:
    async with launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}) as proxy:
        port = proxy.port
        async with async_api.connect() as remote:
            assert {each.proxy for each in running_proxies.running_proxies()} == {proxy, remote}
        assert {each.proxy for each in running_proxies.running_proxies()} == {proxy}
    assert running_proxies.running_proxies() == []
    started, ending = ("started", port), ("ending", port)
    assert follower.told == [started, started, ending, ending]


def test_sync_launch_is_one_proxy_and_can_be_called(follower: Follower, confdir: Path) -> None:
    async def ask() -> int:
        return running.proxy.port

    with sync_api.launch(port=0, confdir=confdir) as proxy:
        (running,) = running_proxies.running_proxies()
        assert running.run(ask()) == proxy.port
    assert [name for name, _ in follower.told] == ["started", "ending"]
    with pytest.raises(Error, match="the proxy's event loop does not answer"):
        running.run(ask())


def test_settling_dispatches_what_an_async_client_has_not_read_yet(follower: Follower, confdir: Path) -> None:
    heard: list[str] = []

    async def hear(url: str) -> None:
        await asyncio.sleep(0)
        heard.append(url)

    with (
        sync_api.launch(port=0, confdir=confdir, options={"ws_remote": "127.0.0.1:0"}) as proxy,
        asyncio.Runner() as runner,
    ):
        connecting = async_api.connect()
        remote = runner.run(connecting.__aenter__())
        remote.on("websocket", lambda ws: hear(ws.url))
        (running,) = [each for each in running_proxies.running_proxies() if each.proxy is remote]
        proxy.route_web_socket("**", lambda route: None)
        with connect("ws://nowhere/live", proxy=f"http://127.0.0.1:{proxy.port}"):
            running.settle()
        assert heard == ["ws://nowhere/live"]
        runner.run(connecting.__aexit__())
        with pytest.raises(Error):
            running.settle()


async def test_launch_that_fails_is_no_running_proxy(follower: Follower, confdir: Path) -> None:
    with pytest.raises(Error):
        async with launch(port=0, confdir=confdir, mode=["nonsense"]):
            raise AssertionError
    assert (follower.told, running_proxies.running_proxies()) == ([], [])


async def test_proxy_that_nobody_ends_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_proxies, "followers", [])
    proxy = Proxy()
    running = RunningProxy(proxy, Control(proxy))
    await running_proxies.begin(running)
    assert running_proxies.running_proxies() == [running]
    del running
    gc.collect()
    assert running_proxies.running_proxies() == []


def test_proxy_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_loop, "CALL_SECONDS", 0.01)

    async def make() -> RunningProxy:
        return RunningProxy(proxy, Control(proxy))

    async def never() -> None:
        await asyncio.Event().wait()

    proxy = Proxy()
    with asyncio.Runner() as runner:
        running = runner.run(make())
        with pytest.raises(Error, match="does not answer"):
            running.run(never())
