"""docs/browser.md: traffic that Playwright does not report or change, and Wirewright does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import playwright.async_api as playwright
import pytest
import pytest_asyncio
import websockets
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from support.browser import CHROMIUM, proxied_by
from support.time_limits import STEP_SECONDS
from wirewright import Proxy, WebSocket, WebSocketRoute, launch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.once("the limits are those of browsers"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="THE LIMITS OF BROWSERS ARE NOT TESTED: no `chromium` on the PATH"
    ),
]

SOCKET_JS = """
let ws;
const begin = answer => {
    ws = new WebSocket(`ws://${location.host}/live`);
    ws.onopen = () => ws.send("hello");
    ws.onmessage = ({ data }) => answer(data);
};
"""
FILES = {
    "/": ("text/html", "<title>page</title>"),
    "/worker.js": ("text/javascript", SOCKET_JS + "begin(postMessage);"),
    "/shared.js": (
        "text/javascript",
        SOCKET_JS + "onconnect = ({ ports: [port] }) => begin(data => port.postMessage(data));",
    ),
    "/service.js": (
        "text/javascript",
        SOCKET_JS + "onmessage = ({ source }) => begin(data => source.postMessage(data));",
    ),
}
OPENERS = {
    "page": """() => new Promise(resolve => {
        const ws = new WebSocket(`ws://${location.host}/live`);
        ws.onopen = () => ws.send("hello");
        ws.onmessage = ({ data }) => resolve(data);
    })""",
    "worker": """() => new Promise(resolve => {
        window.worker = new Worker("/worker.js");
        worker.onmessage = ({ data }) => resolve(data);
    })""",
    "shared worker": """() => new Promise(resolve => {
        window.worker = new SharedWorker("/shared.js");
        worker.port.onmessage = ({ data }) => resolve(data);
    })""",
    "service worker": """async () => {
        await navigator.serviceWorker.register("/service.js");
        const { active } = await navigator.serviceWorker.ready;
        return new Promise(resolve => {
            navigator.serviceWorker.onmessage = ({ data }) => resolve(data);
            navigator.serviceWorker.startMessages();
            active.postMessage("begin");
        });
    }""",
}
"""Each opens a socket, sends `hello`, and returns the answer."""
REFUSED = """() => new Promise(resolve => {
    new WebSocket(`ws://${location.host}/live`).onclose = ({ code }) => resolve(code);
})"""


def page_or_file(connection: ServerConnection, request: Request) -> Response | None:
    if "Upgrade" in request.headers:
        return None
    kind, text = FILES.get(request.path, ("text/plain", ""))
    body = text.encode()
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(HTTPStatus.OK, "OK", headers, body)


async def answer(connection: ServerConnection) -> None:
    assert connection.request is not None
    with suppress(websockets.ConnectionClosed):
        async for message in connection:
            await connection.send(f"{message!s} {connection.request.headers.get('X-Build', '')}".strip())


@dataclass
class Stage:
    """A page behind a proxy, and what Playwright says of the page's sockets."""

    page: playwright.Page
    proxy: Proxy
    server: str
    told: list[playwright.WebSocket] = field(default_factory=list)

    def note(self, socket: playwright.WebSocket) -> None:
        self.told.append(socket)

    async def open(self, opener: str) -> str:
        """Have the page open a socket. Returns what was answered to `hello`."""
        async with asyncio.timeout(STEP_SECONDS):
            answered: str = await self.page.evaluate(OPENERS[opener])
        return answered


@pytest_asyncio.fixture(loop_scope="module")
async def stage(browser: playwright.Browser, confdir: Path) -> AsyncIterator[Stage]:
    async with (
        serve(answer, "127.0.0.1", 0, process_request=page_or_file) as server,
        launch(port=0, confdir=confdir) as proxy,
    ):
        address = f"127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        page = await browser.new_page(proxy=proxied_by(proxy))
        stage = Stage(page, proxy, address)
        page.context.on("page", lambda each: each.on("websocket", stage.note))
        page.on("websocket", stage.note)
        await page.goto(f"http://{address}/")
        yield stage
        await page.context.close()


@pytest.mark.parametrize("opener", ["page", "worker"])
async def test_both_report_the_socket_of_a_page_and_of_its_worker(stage: Stage, opener: str) -> None:
    async with stage.proxy.expect_websocket("**/live", timeout=1000 * STEP_SECONDS) as opened:
        assert await stage.open(opener) == "hello"
    ws = await opened.value
    assert [frame.payload for frame in ws.frames] == ["hello", "hello"]
    assert [each.url for each in stage.told] == [ws.url]


@pytest.mark.parametrize("opener", ["shared worker", "service worker"])
async def test_only_the_proxy_reports_the_socket_of_a_shared_or_service_worker(
    stage: Stage, opener: str
) -> None:
    async with stage.proxy.expect_websocket("**/live", timeout=1000 * STEP_SECONDS) as opened:
        assert await stage.open(opener) == "hello"
    ws = await opened.value
    assert [frame.payload for frame in ws.frames] == ["hello", "hello"]
    assert await stage.open("page") == "hello"  # a socket that is reported, after the one that is not
    assert len(stage.told) == 1


@pytest.mark.parametrize("opener", ["worker", "shared worker", "service worker"])
async def test_only_the_proxy_routes_the_socket_of_a_worker(stage: Stage, opener: str) -> None:
    def mock(route: Any) -> None:
        route.on_message(lambda message: route.send("from Playwright"))

    def mock_too(route: WebSocketRoute) -> None:
        route.on_message(lambda message: route.send("from Wirewright"))

    await stage.page.context.route_web_socket("**/live", mock)
    await stage.page.reload()
    assert await stage.open("page") == "from Playwright"
    assert await stage.open(opener) == "hello"
    await stage.page.reload()
    await stage.proxy.route_web_socket("**/live", mock_too)
    assert await stage.open(opener) == "from Wirewright"


async def test_only_the_proxy_shows_and_changes_the_handshake(stage: Stage) -> None:
    def add_header(route: WebSocketRoute) -> None:
        server = route.connect_to_server(headers={"X-Build": "7"})
        route.on_message(server.send)
        server.on_message(route.send)

    await stage.page.context.add_cookies([{"name": "lang", "value": "en", "url": f"http://{stage.server}"}])
    await stage.proxy.route_web_socket("**/live", add_header)
    async with stage.proxy.expect_websocket("**/live", timeout=1000 * STEP_SECONDS) as opened:
        assert await stage.open("page") == "hello 7"
    ws = await opened.value
    assert ws.request_headers["cookie"] == "lang=en"
    assert ws.request_headers["origin"] == f"http://{stage.server}"
    assert ws.request_headers["x-build"] == "7"
    assert ws.response_headers is not None
    assert "sec-websocket-accept" in ws.response_headers
    shown_by_playwright = {name for name in dir(stage.told[0]) if "header" in name}
    assert shown_by_playwright == set()


async def test_only_the_proxy_refuses_a_handshake(stage: Stage) -> None:
    await stage.proxy.route_web_socket("**/live", lambda route: route.reject(429, body="too many"))
    async with stage.page.expect_event("websocket") as told:
        assert await stage.page.evaluate(REFUSED) == 1006
    assert (await told.value).is_closed()
    assert not {"reject", "refuse", "abort"} & set(dir(playwright.WebSocketRoute))


async def test_only_the_proxy_shows_other_apps_beside_the_page(stage: Stage) -> None:
    seen: list[WebSocket] = []
    stage.proxy.on("websocket", seen.append)
    assert await stage.open("page") == "hello"
    async with websockets.connect(
        f"ws://{stage.server}/desktop", proxy=f"http://127.0.0.1:{stage.proxy.port}"
    ) as app:
        await app.send("from the desktop")
        assert await app.recv() == "from the desktop"
        assert await stage.open("service worker") == "hello"
    assert [each.url.rpartition("/")[2] for each in seen] == ["live", "desktop", "live"]
    assert [each.url.rpartition("/")[2] for each in stage.told] == ["live"]
