"""The mistakes of users of the async API, over a real proxy."""

import asyncio
import gc
import re
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import websockets

from support.mistakes import (
    FAILURES,
    FILE,
    FRAMES,
    MISTAKES,
    NO_SOCKET,
    NO_SOCKET_OF_THE_CONTEXT,
    PATHS,
    URL,
    Mistake,
    as_in_a_program,
    in_async_function,
    said,
)
from wirewright import Error, Proxy, TimeoutError, async_api, expect, launch  # noqa: A004
from wirewright.model.event_wait import TimedWait

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


def app(proxy: Proxy, url: str) -> Any:
    return websockets.connect(url, proxy=f"http://127.0.0.1:{proxy.port}")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["launch", "connect"])
async def names(
    request: pytest.FixtureRequest, confdir: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Any]]:
    """The variables of a user: a proxy and a socket on which frames have passed."""
    async with AsyncExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        options = {"ws_remote": "127.0.0.1:0"}
        proxy = await stack.enter_async_context(launch(port=0, confdir=confdir, options=options))
        if request.param == "connect":
            proxy = await stack.enter_async_context(async_api.connect())
        (await proxy.mock_web_socket("**")).on("go").reply(*FRAMES)
        async with proxy.expect_websocket(opened=True) as info:
            client = await stack.enter_async_context(app(proxy, URL))
        ws = await info.value
        await client.send("go")
        await ws.next_frame(FRAMES[-1])
        yield {
            "connect": async_api.connect,
            "expect": expect,
            "info": info,
            "launch": launch,
            "proxy": proxy,
            "ws": ws,
        }


@pytest.mark.parametrize(
    "mistake", [each for each in MISTAKES if each.api in ("both", "async")], ids=lambda mistake: mistake.id
)
async def test_mistake_says_what_to_do(names: dict[str, Any], mistake: Mistake) -> None:
    kind, _, sentence = mistake.says.partition(": ")
    if kind == "RuntimeWarning":
        with as_in_a_program(), pytest.warns(RuntimeWarning, match=f"^{re.escape(sentence)}$") as warned:
            await in_async_function(mistake, names.copy())
        assert [(each.filename, each.lineno) for each in warned] == [(FILE, 2)]
        assert not names["proxy"]._scope._waits, "nothing waits any more"
        return
    with as_in_a_program(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines: they are not awaited, either
        with pytest.raises((AttributeError, Error, TypeError, ValueError)) as caught:
            await in_async_function(mistake, names.copy())
        told = said(caught.value)
        del caught
        gc.collect()
    assert told == mistake.says


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.id)
async def test_failure_of_a_wait_says_what_came(names: dict[str, Any], failure: Mistake) -> None:
    *before, last = failure.code.split("\n")
    awaited = Mistake("\n".join([*before, f"await {last}"]), failure.says)
    with pytest.raises((AssertionError, TimeoutError, ValueError)) as caught:
        await in_async_function(awaited, names.copy())
    assert re.sub(r"(?<=test_chat\.py:)\d+", first_line, said(caught.value)) == failure.says


def first_line(number: re.Match[str]) -> str:
    """The number of a line in the code, which is the body of a function here."""
    return str(int(number[0]) - 1)


async def test_users_meet_only_class_names_that_are_documented(names: dict[str, Any]) -> None:
    proxy, ws = names["proxy"], names["ws"]
    manager = ws.expect_event("framereceived")
    async with manager as info:
        await ws.send_to_client("go on")
    mock = await proxy.mock_web_socket("**/nowhere")
    met = [proxy, ws, manager, info, info.value, ws.cursor(), ws.frames, ws.frames.last, expect(ws), mock]
    blocks = [launch(port=0), async_api.connect("ws://127.0.0.1:1")]
    for block in blocks:
        block._entered()  # else the test fails
    for each in [*met, mock.on(), *blocks, ws.send_to_client("and on")]:
        assert type(each).__name__ in async_api.__all__
        assert not re.search(r"_\w+ object|wirewright\.\w+\.|Remote|Wrapper", repr(each))
    wait = ws.wait_for_event("close")
    assert repr(wait) == "<coroutine of ws.wait_for_event(...): await it>"
    assert type(wait).__name__ == "coroutine"
    wait.close()
    with pytest.raises(AttributeError, match=r"^'WebSocket' object has no attribute 'nothing'$"):
        _ = ws.nothing


async def test_wait_for_a_socket_says_which_ones_came_by(names: dict[str, Any]) -> None:
    proxy: Proxy = names["proxy"]
    async with AsyncExitStack() as stack:
        with pytest.raises(TimeoutError) as caught:  # noqa: PT012
            async with proxy.expect_websocket("**/chat", timeout=30_000):
                for path in PATHS:
                    async with proxy.expect_websocket():
                        await stack.enter_async_context(app(proxy, f"ws://shop.example{path}"))
                await time_out(proxy)
    assert said(caught.value) == NO_SOCKET


async def test_wait_of_a_context_says_which_sockets_came_by_outside_of_it(names: dict[str, Any]) -> None:
    proxy: Proxy = names["proxy"]
    async with AsyncExitStack() as stack, proxy.context(client="192.168.1.7") as phone:
        with pytest.raises(TimeoutError) as caught:  # noqa: PT012
            async with phone.expect_websocket("**/chat?**", timeout=30_000):
                for path in PATHS:
                    async with proxy.expect_websocket():
                        await stack.enter_async_context(app(proxy, f"ws://shop.example{path}"))
                await time_out(proxy)
    assert said(caught.value) == NO_SOCKET_OF_THE_CONTEXT


async def time_out(proxy: Proxy) -> None:
    """Have all waits of a proxy time out."""
    for wait in list(proxy._scope._waits):
        assert isinstance(wait, TimedWait)
        assert wait._timer is not None
        wait._timer._run()
    await asyncio.sleep(0)
