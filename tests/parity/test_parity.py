"""Chromium, driven by Playwright, against Wirewright: the same socket, seen from both sides of the proxy."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import playwright.async_api as playwright
import pytest
import pytest_asyncio
from mitmproxy import ctx

from parity.raw_server import Peer, no_tls_server, raw_server, refusing_port
from parity.row import CLOSED, OPENED, Event, Part, Row, error, shown
from parity.scenarios import ECHO, ENDS, HANDSHAKES
from parity.violations import ANSWERS, CLOSES, FRAMES
from support.browser import CHROMIUM, proxied_by
from support.certificates import Certificates, make_certificates
from support.lanes import lane_options
from support.proxy_access import IS_RUN_AGAIN
from support.time_limits import STEP_SECONDS
from wirewright import Proxy, WebSocketRoute, launch

ROWS = (*ECHO, *ENDS, *HANDSHAKES, *ANSWERS, *FRAMES, *CLOSES)

"""How long a row may take."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="PARITY IS NOT TESTED: no `chromium` on the PATH (on Debian: apt install chromium)",
    ),
]

OPEN_SOCKET = """
([url, protocols]) => new Promise(resolve => {
    const ws = new WebSocket(url, protocols);
    ws.binaryType = "arraybuffer";
    ws.onclose = ({ code }) => resolve(code);
    SCRIPT
})
"""


class Recorder:
    """The events of the sockets that an object reports: a Playwright page or a Wirewright proxy."""

    def __init__(self) -> None:
        self.sockets: list[Any] = []
        self.events: list[Event] = []
        self.closed = asyncio.Event()

    def websocket(self, ws: Any) -> None:
        self.sockets.append(ws)
        self.events.append(("websocket", ""))
        for event in ("framesent", "framereceived", "socketerror"):
            ws.on(event, lambda value, event=event: self.events.append((event, shown(value))))
        ws.on("close", lambda _: self._close())

    def _close(self) -> None:
        self.events.append(CLOSED)
        self.closed.set()


@dataclass
class Seen:
    """What was seen of one row."""

    browser: Recorder = field(default_factory=Recorder)
    wirewright: Recorder = field(default_factory=Recorder)
    page: int | None = None
    """The code of the page's own `close` event."""


@dataclass
class Stage:
    """All that a row needs: a browser, the servers, and a proxy between them."""

    pages: Mapping[tuple[bool, bool], playwright.Page]
    """By whether they go through the proxy, and whether they accept any certificate."""
    proxy: Proxy
    ports: dict[str, int]

    async def play(self, row: Row, *, proxied: bool) -> Seen:
        """What the row shows. Fails with what there was so far, should it never end."""
        seen = Seen()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await self._play(row, seen, proxied=proxied)
        except TimeoutError:
            pytest.fail(f"browser: {seen.browser.events}, wirewright: {seen.wirewright.events}, then nothing")
        return seen

    async def _play(self, row: Row, seen: Seen, *, proxied: bool) -> None:
        page = self.pages[proxied, row.trusting(proxied=proxied)]
        self.proxy.on("websocket", seen.wirewright.websocket)
        page.on("websocket", seen.browser.websocket)
        try:
            await self._open(page, row, seen)
            if proxied and row.wirewright != ():
                await seen.wirewright.closed.wait()
        finally:
            self.proxy.remove_listener("websocket", seen.wirewright.websocket)
            page.remove_listener("websocket", seen.browser.websocket)

    async def _open(self, page: playwright.Page, row: Row, seen: Seen) -> None:
        url = f"{row.scheme}://127.0.0.1:{self.ports[row.server]}{row.path}"
        home = f"http://127.0.0.1:{self.ports['plain']}"
        await page.goto(f"{home}/")
        seen.page = await page.evaluate(OPEN_SOCKET.replace("SCRIPT", row.script), [url, row.protocols])
        if CLOSED in row.events:
            await seen.browser.closed.wait()
        else:
            await page.goto(f"{home}/elsewhere")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ports(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, int]]:
    """Of the servers that a row may name."""
    strangers = make_certificates(tmp_path_factory.mktemp("strangers"))
    async with (
        raw_server() as plain,
        raw_server(certificates.server_context) as tls,
        raw_server(strangers.server_context) as untrusted,
        no_tls_server(Peer.close) as closing,
        no_tls_server(Peer.reset) as resetting,
        no_tls_server(Peer.greet) as speaking,
    ):
        with refusing_port() as refusing:
            yield {
                "plain": plain,
                "tls": tls,
                "untrusted": untrusted,
                "refusing": refusing,
                "closing": closing,
                "resetting": resetting,
                "speaking": speaking,
            }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    browser: playwright.Browser, ports: dict[str, int], confdir: Path, certificates: Certificates
) -> AsyncIterator[Stage]:
    options = {"ssl_verify_upstream_trusted_ca": str(certificates.ca_file)}
    async with launch(port=0, confdir=confdir, options=options) as proxy:
        pages = {
            (proxied, trusting): await browser.new_page(
                proxy=proxied_by(proxy) if proxied else None, ignore_https_errors=trusting
            )
            for proxied, trusting in product((False, True), repeat=2)
        }
        yield Stage(pages, proxy, ports)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(stage: Stage, row: Row, lane: str) -> Seen:
    """What a row shows behind the proxy; played once for all tests of the row on a lane."""
    ctx.options.update(**lane_options(lane))
    return await stage.play(row, proxied=True)


def each_row_and_lane(part: Part) -> pytest.MarkDecorator:
    """A test of every row on all lanes; on the hooks lane it must fail where the row says so."""
    params = []
    lanes = ("auto",) if IS_RUN_AGAIN else ("auto", "layers", "hooks")
    for lane, row in product(lanes, ROWS):
        fails = lane == "hooks" and part in row.fails
        marks = [pytest.mark.xfail(reason=row.fails[part])] if fails else []
        params.append(pytest.param(row, lane, id=f"{row.name}-{lane}", marks=marks))
    return pytest.mark.parametrize(("row", "lane"), params, scope="module")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.once("it is Chromium alone")
async def test_row_is_what_playwright_shows_without_a_proxy(stage: Stage, row: Row) -> None:
    seen = await stage.play(row, proxied=False)
    assert seen.browser.events == list(row.events)
    assert seen.page == row.page


@each_row_and_lane("wirewright")
async def test_wirewright_shows_what_playwright_shows(seen: Seen, row: Row) -> None:
    expected = row.events if row.wirewright is None else row.wirewright
    assert seen.wirewright.events == list(expected)


@each_row_and_lane("end")
async def test_wirewright_knows_how_the_socket_ended(seen: Seen, row: Row, lane: str) -> None:
    ends = [(ws.close_code, ws.close_reason, ws.closed_by) for ws in seen.wirewright.sockets]
    expected = row.hooked_end if lane == "hooks" and row.hooked_end else row.end
    assert ends == ([] if row.wirewright == () else [expected])


@each_row_and_lane("browser")
async def test_playwright_shows_the_same_behind_the_proxy(seen: Seen, row: Row) -> None:
    expected = row.events if row.proxied is None else row.proxied
    assert seen.browser.events == list(expected)


@each_row_and_lane("page")
async def test_page_sees_the_same_close_code_behind_the_proxy(seen: Seen, row: Row) -> None:
    assert seen.page == row.page


@pytest.mark.parametrize("row", [*ENDS, *FRAMES, *CLOSES], ids=lambda row: row.name)
async def test_end_is_the_same_under_a_route_that_reads_messages(stage: Stage, row: Row) -> None:
    def pass_through(ws: WebSocketRoute) -> None:
        server = ws.connect_to_server()
        ws.on_message(server.send)
        server.on_message(ws.send)

    ctx.options.update(ws_lane="auto")
    stage.proxy.route_web_socket("**", pass_through)
    try:
        seen = await stage.play(row, proxied=True)
    finally:
        stage.proxy.unroute_web_socket("**")
    (socket,) = seen.wirewright.sockets
    assert seen.browser.events == list(row.events)
    assert seen.page == row.page
    assert seen.wirewright.events == list(row.events if row.wirewright is None else row.wirewright)
    assert (socket.close_code, socket.close_reason, socket.closed_by) == row.end


@pytest.mark.parametrize("lane", ["auto", "layers", "hooks"])
async def test_every_close_by_the_server_is_clean_for_the_page(stage: Stage, lane: str) -> None:
    ctx.options.update(**lane_options(lane))
    page = stage.pages[True, False]
    await page.goto(f"http://127.0.0.1:{stage.ports['plain']}/")
    url = f"ws://127.0.0.1:{stage.ports['plain']}/close-3000"
    close = """
        url => new Promise(resolve => {
            new WebSocket(url).onclose = ({ code, wasClean }) => resolve([code, wasClean]);
        })
    """
    assert [await page.evaluate(close, url) for _ in range(25)] == [[3000, True]] * 25


async def test_eager_proxy_hides_a_refused_connection(stage: Stage) -> None:
    """With mitmproxy's own default the CONNECT fails: no WebSocket handshake ever reaches the proxy."""
    (row,) = (row for row in ROWS if row.server == "refusing")
    ctx.options.update(connection_strategy="eager")
    try:
        seen = await stage.play(replace(row, wirewright=()), proxied=True)
    finally:
        ctx.options.update(connection_strategy="lazy")
    assert seen.browser.events == [OPENED, error("Establishing a tunnel via proxy server failed."), CLOSED]
    assert seen.wirewright.events == []
