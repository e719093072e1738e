"""One handler, registered on a Playwright page and on Wirewright's proxy: the page must see the same."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import playwright.async_api as playwright
import pytest
import pytest_asyncio
from websockets.asyncio.server import ServerConnection, serve

from support.browser import CHROMIUM, proxied_by
from support.time_limits import STEP_SECONDS
from wirewright import Proxy, launch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="PARITY OF ROUTES IS NOT TESTED: no `chromium` on the PATH"),
]

PAGE = """
([url, protocols, say, until]) => new Promise(resolve => {
    const log = [];
    const shown = data => typeof data === "string" ? data : "bytes " + [...new Uint8Array(data)].join(" ");
    const ws = new WebSocket(url, protocols);
    ws.binaryType = "arraybuffer";
    ws.onopen = () => {
        log.push("open " + ws.protocol);
        for (const message of say)
            ws.send(typeof message === "string" ? message : new Uint8Array(message));
    };
    ws.onmessage = ({ data }) => {
        log.push(shown(data));
        if (log.length - 1 === until) ws.close(3000, "seen enough");
    };
    ws.onclose = ({ code, reason }) => { log.push(`close ${code} ${reason}`); resolve(log); };
})
"""
"""Opens a socket, says something, closes it after so many messages; what it has seen when it is closed."""


def mock(ws: Any) -> None:
    ws.send("welcome")
    ws.on_message(ws.send)


async def mock_that_closes(ws: Any) -> None:
    async def answer(message: str | bytes) -> None:
        ws.send(f"last {message!s}")
        await ws.close(code=3008, reason="oops é")

    ws.on_message(answer)


async def speaks_and_closes_at_once(ws: Any) -> None:
    ws.send("one")
    ws.send(b"\x00\x01")
    await ws.close(code=1000)


def answers_by_protocol(ws: Any) -> None:
    ws.send(f"you asked for {', '.join(ws.protocols)}")


def forwards(ws: Any) -> None:
    ws.connect_to_server()


def changes(ws: Any) -> None:
    server = ws.connect_to_server()
    ws.on_message(lambda message: server.send(message.replace("buy", "sell")))
    server.on_message(lambda message: ws.send(message.upper()))


def drops(ws: Any) -> None:
    server = ws.connect_to_server()
    ws.on_message(lambda message: server.send(message) if message != "drop" else None)


def adds(ws: Any) -> None:
    server = ws.connect_to_server()

    def from_server(message: str) -> None:
        ws.send(message)
        ws.send(f"after {message}")

    server.on_message(from_server)


def speaks_to_the_server_before_it_is_there(ws: Any) -> None:
    ws.connect_to_server().send("early")


def takes_over_from_a_server_that_closes(ws: Any) -> None:
    server = ws.connect_to_server()
    server.on_close(lambda code, reason: ws.close(code=3005, reason=f"after {code} {reason}"))


@dataclass(frozen=True)
class Scene:
    """A handler, and what the page does."""

    handler: Callable[[Any], Any]
    say: tuple[str | list[int], ...] = ()
    until: int = 1
    """After how many messages the page closes its socket."""
    protocols: tuple[str, ...] = ()


SCENES = [
    Scene(mock, ("hello", [0, 255], ""), 4),
    Scene(mock_that_closes, ("hello",), 9),
    Scene(speaks_and_closes_at_once, (), 9),
    Scene(answers_by_protocol, (), 1, ("chat.v2", "chat.v1")),
    Scene(forwards, ("hello", [1, 2, 3]), 2),
    Scene(changes, ("buy low", "buy high"), 2),
    Scene(drops, ("one", "drop", "two"), 2),
    Scene(adds, ("one", "two"), 4),
    Scene(speaks_to_the_server_before_it_is_there, ("late",), 2),
    Scene(takes_over_from_a_server_that_closes, ("close me",), 1),
]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "close me":
            await connection.close(3001, "as you wish")
        await connection.send(message)


@dataclass
class Stage:
    """A page that speaks with servers directly, one that does so through the proxy, and an echoing server."""

    direct: playwright.Page
    proxied: playwright.Page
    proxy: Proxy
    url: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(browser: playwright.Browser, confdir: Path) -> AsyncIterator[Stage]:
    async with (
        serve(echo, "127.0.0.1", 0) as server,
        launch(port=0, confdir=confdir) as proxy,
    ):
        direct, proxied = await browser.new_page(), await browser.new_page(proxy=proxied_by(proxy))
        port = next(iter(server.sockets)).getsockname()[1]
        yield Stage(direct, proxied, proxy, f"ws://127.0.0.1:{port}")


async def seen_by(
    page: playwright.Page,
    route: Callable[[str, Callable[[Any], Any]], Awaitable[Any]],
    url: str,
    scene: Scene,
) -> list[str]:
    await route(url, scene.handler)
    async with asyncio.timeout(STEP_SECONDS):
        log: list[str] = await page.evaluate(PAGE, [url, scene.protocols, scene.say, scene.until])
    return log


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.handler.__name__)
async def test_page_sees_the_same_with_either_route(stage: Stage, scene: Scene) -> None:
    url = f"{stage.url}/{scene.handler.__name__}"
    reference = await seen_by(stage.direct, stage.direct.route_web_socket, url, scene)
    ours = await seen_by(stage.proxied, stage.proxy.route_web_socket, url, scene)
    assert len(reference) > 1
    assert ours == reference
