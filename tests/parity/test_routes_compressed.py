"""A page's compressed messages, of which a route changes, drops and adds some at random."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import playwright.async_api as playwright
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from websockets.asyncio.server import ServerConnection

from support.browser import CHROMIUM, connect_page, proxied_by
from support.clients import Message, Wish
from support.route_plans import Plan, expected, plans, received, size
from support.servers import serving
from wirewright import Proxy, WebSocket, launch

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="ROUTES ARE NOT TESTED: no `chromium` on the PATH"),
]


@dataclass
class Stage:
    proxy: Proxy
    page: playwright.Page


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(browser: playwright.Browser, confdir: Path) -> AsyncIterator[Stage]:
    async with launch(port=0, confdir=confdir) as proxy:
        yield Stage(proxy, await browser.new_page(proxy=proxied_by(proxy)))


@pytest.mark.once("random messages try our own codec")
@given(plans)
@example(Plan(0, 10_000, handles_app=True, handles_server=True))
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_page_and_server_get_just_what_the_route_meant(stage: Stage, plan: Plan) -> None:
    for_page, for_server = expected(plan.app, plan.server), expected(plan.server, plan.app)
    heard: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
    agreed: list[str] = []

    async def serve(connection: ServerConnection) -> None:
        async def say() -> None:
            for step in plan.server:
                await connection.send(step.message)

        saying = asyncio.ensure_future(say())
        heard.set_result([message async for message in connection])
        await saying

    def note(ws: WebSocket) -> None:
        ws.on("close", lambda _: agreed.append((ws.response_headers or {})["sec-websocket-extensions"]))

    stage.proxy.unroute_web_socket("**")
    stage.proxy.route_web_socket("**", plan.handle)
    stage.proxy.once("websocket", note)
    async with serving(serve) as url, connect_page(stage.page, url, Wish()) as page:
        await page.send_all([step.message for step in plan.app])
        assert received(await page.receive_all(size(for_page))) == for_page
        await page.close(1000, "enough")
        assert await page.closed() == (1000, "enough")  # and nothing before it
        assert received(await heard) == for_server
    assert "permessage-deflate" in agreed[0]
    assert "no_context_takeover" not in agreed[0]
