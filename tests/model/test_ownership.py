"""Whatever a script registers goes with it, and nothing else does."""

import asyncio
import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wirewright
from support.model_sockets import in_virtual_time, left_behind, load_script, open_socket, receive
from wirewright.model.ownership import Owner, current_owner
from wirewright.model.proxy import Proxy
from wirewright.model.proxy_control import Control

PACKAGE = Path(wirewright.__file__).resolve().parent


@pytest.fixture
def proxy() -> Proxy:
    """One without a mitmproxy."""
    return Proxy()


def call(function: Callable[[], Any]) -> Any:
    """What the program does on a script's behalf."""
    return function()


ASKS = {
    "top level": "owner = who()",
    "function": "def ask(): return who()\nowner = ask()",
    "lambda": "owner = (lambda: who())()",
    "comprehension": "(owner,) = [who() for _ in 'x']",
    "class body": "class Asking:\n    owner = who()\nowner = Asking.owner",
    "through the program": "owner = call(lambda: call(who))",
}


@pytest.mark.parametrize("source", ASKS.values(), ids=ASKS.keys())
def test_script_owns_what_it_asks_for(source: str) -> None:
    script = load_script(source, who=current_owner, call=call)
    assert script["owner"] is script


def test_function_of_a_script_is_its_own_wherever_it_is_called() -> None:
    script = load_script("def ask(): return who()", who=current_owner)
    assert call(script["ask"]) is script


@in_virtual_time
async def test_coroutine_of_a_script_is_its_own() -> None:
    script = load_script(
        """
        async def ask():
            await sleep(1)
            return who()
        """,
        who=current_owner,
        sleep=asyncio.sleep,
    )
    assert await asyncio.ensure_future(script["ask"]()) is script


def test_program_is_no_script() -> None:
    assert current_owner() is None
    assert call(lambda: call(current_owner)) is None


def run_module(source: str, **names: object) -> dict[str, Any]:
    """Import a module, as far as the stack can tell."""
    namespace: dict[str, Any] = {"__name__": "helpers", **names}
    exec(source, namespace)
    return namespace


@pytest.mark.parametrize("source", [ASKS["top level"], ASKS["function"], ASKS["class body"]])
def test_module_that_a_script_imports_owns_nothing(source: str) -> None:
    script = load_script("helpers = load()", load=lambda: run_module(source, who=current_owner))
    assert script["helpers"]["owner"] is None


def test_script_owns_what_a_helper_does_for_it() -> None:
    helpers = run_module("def ask(): return who()", who=current_owner)
    script = load_script("owner = ask()", ask=helpers["ask"])
    assert script["owner"] is script


def test_own_addon_owns_nothing_when_it_is_loaded_as_a_script(tmp_path: Path) -> None:
    link = tmp_path / "linked"
    link.symlink_to(PACKAGE)
    for folder in (PACKAGE, link):
        script = load_script("owner = who()", file=str(folder / "addon.py"), who=current_owner)
        assert script["owner"] is None, folder


def test_script_beside_the_package_is_no_part_of_it() -> None:
    script = load_script("owner = who()", file=f"{PACKAGE}_watch.py", who=current_owner)
    assert script["owner"] is script


WATCHING = """
    def watch(ws):
        ws.on("framereceived", heard.append)

    def note(ws):
        seen.append(ws)

    proxy.on("websocket", watch)
    proxy.once("websocket", note)
    proxy.add_listener("websocket", lambda ws: ws.once("close", note))
"""


def test_forgotten_script_s_listeners_are_gone_from_the_proxy_and_its_sockets(proxy: Proxy) -> None:
    heard: list[str] = []
    script = load_script(WATCHING, proxy=proxy, heard=heard, seen=[])
    assert len(proxy.listeners("websocket")) == 3
    feed = open_socket(proxy)
    assert feed.socket.event_names() == {"framereceived", "close"}
    receive(feed, "a")

    Control(proxy).forget(script)
    receive(feed, "b")
    assert heard == ["a"]
    assert not left_behind(proxy)
    assert not left_behind(feed.socket)


def test_other_owners_keep_their_listeners(proxy: Proxy) -> None:
    heard: dict[str, list[Any]] = {"old": [], "new": [], "program": []}
    old, _new = (load_script(WATCHING, proxy=proxy, heard=heard[key], seen=[]) for key in ("old", "new"))
    proxy.on("websocket", lambda ws: ws.on("framereceived", heard["program"].append))
    feed = open_socket(proxy)
    Control(proxy).forget(old)
    receive(feed, "a")
    receive(open_socket(proxy, key="2"), "b")
    assert heard == {"old": [], "new": ["a", "b"], "program": ["a", "b"]}


WAITING = """
    def wait():
        return ws.wait_for_event("framereceived")

    def wait_for_socket():
        return proxy.wait_for_websocket()

    async def expect():
        async with ws.expect_event("framereceived") as info:
            pass
        return await info.value
"""


@in_virtual_time
async def test_forgotten_script_s_waits_are_cancelled() -> None:
    proxy = Proxy()
    feed = open_socket(proxy)
    old, new = (load_script(WAITING, proxy=proxy, ws=feed.socket) for _ in range(2))
    waits = {
        id(owner): [asyncio.ensure_future(owner[name]()) for name in ("wait", "expect", "wait_for_socket")]
        for owner in (old, new)
    }
    own = asyncio.ensure_future(feed.socket.wait_for_event("framereceived"))
    await asyncio.sleep(0)

    Control(proxy).forget(old)
    await asyncio.wait(waits[id(old)])
    assert all(wait.cancelled() for wait in waits[id(old)])
    receive(feed, "a")
    ws = open_socket(proxy, key="2").socket
    assert await asyncio.gather(own, *waits[id(new)]) == ["a", "a", "a", ws]
    assert not left_behind(feed.socket)


LISTENING = """
    async def listen(payload):
        try:
            await forever()
        finally:
            ended.append(payload)

    ws.on("framereceived", listen)
"""


@in_virtual_time
async def test_forgotten_script_s_tasks_are_cancelled() -> None:
    proxy = Proxy()
    feed = open_socket(proxy)
    ended: dict[str, list[str]] = {"old": [], "new": []}
    old, _new = (
        load_script(LISTENING, ws=feed.socket, forever=asyncio.Event().wait, ended=ended[key])
        for key in ("old", "new")
    )
    receive(feed, "a", "b")
    await asyncio.sleep(0)
    assert len(proxy._scope._tasks) == 4

    Control(proxy).forget(old)
    await asyncio.sleep(0.001)
    assert ended == {"old": ["a", "b"], "new": []}
    assert len(proxy._scope._tasks) == 2


@in_virtual_time
async def test_task_that_is_cancelled_before_it_began_warns_nobody() -> None:
    proxy = Proxy()
    feed = open_socket(proxy)
    script = load_script(LISTENING, ws=feed.socket, forever=asyncio.Event().wait, ended=[])
    gc.collect()  # of earlier tests
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        receive(feed, "a")
        Control(proxy).forget(script)
        await asyncio.sleep(0.001)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert not proxy._scope._tasks


@in_virtual_time
async def test_host_is_told_of_a_script_once() -> None:
    proxy = Proxy()
    told: list[Owner] = []
    Control(proxy).on_new_script(told.append)
    ws = open_socket(proxy).socket
    ws.on("close", print)
    assert told == []

    watching = load_script(WATCHING, proxy=proxy, heard=[], seen=[])
    waiting = load_script(WAITING, proxy=proxy, ws=ws)
    assert [owner is watching for owner in told] == [True]
    waits = [asyncio.ensure_future(waiting["wait"]()) for _ in range(2)]
    assert [owner is waiting for owner in told] == [False, True]

    Control(proxy).forget(waiting)
    await asyncio.wait(waits)
    again = asyncio.ensure_future(waiting["wait"]())
    assert [owner is waiting for owner in told] == [False, True, True]
    Control(proxy).forget(waiting)
    await asyncio.wait([again])


def test_program_s_registration_of_a_script_s_function_is_the_program_s(proxy: Proxy) -> None:
    script = load_script("def watch(ws): seen.append(ws)", seen=[])
    proxy.on("websocket", script["watch"])
    Control(proxy).forget(script)
    assert script["seen"] == [open_socket(proxy).socket]
